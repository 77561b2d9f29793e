"""Search digits in production: finetuner-core[cpu] alone, no training framework."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import finetuner

FRAMEWORKS = ("tensorflow", "keras", "jax", "torch")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".demo"))
    parser.add_argument("pictures", nargs="*", type=Path, help="those that were kept, by default")
    arguments = parser.parse_args()

    index = arguments.home / "digits"
    model = finetuner.get_model((index / "artifact").read_text(), home=arguments.home)
    vectors, labels = np.load(index / "vectors.npy"), np.load(index / "labels.npy")
    pictures = arguments.pictures or sorted(index.glob("*.png"))

    similarities = finetuner.encode(model, pictures) @ vectors.T
    if loaded := [name for name in FRAMEWORKS if name in sys.modules]:
        raise SystemExit(f"encoding has imported {', '.join(loaded)}")
    installed = [name for name in FRAMEWORKS if find_spec(name)]
    print(f"\nin production ({', '.join(installed) or 'no framework'} installed, none imported):")
    for picture, row in zip(pictures, similarities, strict=True):
        nearest = np.argsort(-row)[:5]
        found = "  ".join(f"{labels[near]} ({row[near]:.3f})" for near in nearest)
        print(f"  {picture.name:<12} is nearest to  {found}")


if __name__ == "__main__":
    main()
