"""Answer a typed query in production: finetuner-core[cpu] alone, no training framework."""

from __future__ import annotations

import argparse
import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import finetuner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path(".demo"))
    parser.add_argument("query")
    arguments = parser.parse_args()

    index = arguments.home / "index"
    model = finetuner.get_model((index / "artifact").read_text(), home=arguments.home)
    vectors = np.load(index / "vectors.npy")
    rows = json.loads((index / "rows.json").read_text())

    similarity = vectors @ finetuner.encode(model, [arguments.query])[0]
    torch = "installed" if find_spec("torch") else "not installed"
    print(f"\nin production (torch is {torch}): {arguments.query!r}")
    for row in np.argsort(-similarity)[:5]:
        print(f"  {similarity[row]:.3f}  {rows[row]['service']:<22} {rows[row]['text'][:90]}")


if __name__ == "__main__":
    main()
