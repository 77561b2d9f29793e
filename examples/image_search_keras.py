"""Fine-tune a small Keras model on handwritten digits; measure on digits it has not seen.

The model has learned, without labels, how far a picture is turned. Seven digits with
labels train it and the other three measure: what improves is the embedding, not a memory
of classes. ``nearest_digit.py`` then searches with it where no framework is installed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import keras
import numpy as np
from digits import Digits, split
from keras import layers
from PIL import Image

import finetuner

QUERIES = 2
"""Pictures of each unseen digit that are searched with; the others are searched."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path(".demo"))
    parser.add_argument("--seed", type=int, default=0, help="of training and of the held-out set")
    parser.add_argument("--per-digit", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    arguments = parser.parse_args()

    train, unseen = split(arguments.seed, arguments.per_digit)
    run = finetuner.fit(
        pretrained(train[0], arguments.seed),
        train_data=train,
        eval_data=unseen,
        backend="keras",
        epochs=2,
        learning_rate=3e-4,
        seed=arguments.seed,
        store=(arguments.home / "store").absolute().as_uri(),
        home=arguments.home,
    )
    if arguments.json:
        print(json.dumps(run.metrics()))
    else:
        seen = ", ".join(map(str, np.unique(train[1])))
        print(f"measured on the digits {', '.join(map(str, np.unique(unseen[1])))}, never seen")
        print(f"in training on {seen}, with Keras on {keras.backend.backend()}\n")
        run.display_metrics()
        print(f"\npushed as {run.artifact_id}")
    save_index(arguments.home, run.artifact_id, unseen)


def pretrained(images: list[Image.Image], seed: int) -> keras.Model:
    """A convolutional network that has learned, without labels, how far a picture is turned.

    Spyros Gidaris et al., Unsupervised Representation Learning by Predicting Image
    Rotations (2018).
    """
    keras.utils.set_random_seed(seed)
    upright = np.stack([np.asarray(image) for image in images])[..., None] / 255
    turned = np.concatenate([np.rot90(upright, turns, axes=(1, 2)) for turns in range(4)])
    turns = np.repeat(np.arange(4), len(upright))
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(turned, turns, epochs=2, batch_size=64, verbose=0)
    return model


def save_index(home: Path, artifact_id: str, digits: Digits) -> None:
    """Pull the model, and write vectors and a few queries for ``nearest_digit.py``."""
    model = finetuner.get_model(artifact_id, home=home)
    vectors, labels = finetuner.encode(model, digits[0]), digits[1]
    index = home / "digits"
    index.mkdir(parents=True, exist_ok=True)
    for old in index.glob("*.png"):
        old.unlink()
    queries = [r for digit in np.unique(labels) for r in np.flatnonzero(labels == digit)[:QUERIES]]
    for row in queries:
        digits[0][row].save(index / f"{labels[row]}-{row}.png")
    np.save(index / "vectors.npy", np.delete(vectors, queries, axis=0))
    np.save(index / "labels.npy", np.delete(labels, queries))
    (index / "artifact").write_text(artifact_id)


if __name__ == "__main__":
    main()
