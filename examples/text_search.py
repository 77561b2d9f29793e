"""Fine-tune all-MiniLM-L6-v2 to tell what a cloud operation belongs to.

Trains on some services and measures on services that it has never seen, so that
what improves is the embedding and not a memory of the answers. Then pulls the
model back from the store and saves vectors for ``answer.py``, which searches
them where no training framework is installed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from minilm import model_directory
from operations import split

import finetuner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=Path(".demo"))
    parser.add_argument("--seed", type=int, default=0, help="of training and of the held-out set")
    parser.add_argument("--per-service", type=int, default=20, help="texts a service")
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    arguments = parser.parse_args()

    train, held_out = split(arguments.seed, per_service=arguments.per_service)
    if not arguments.json:
        print(
            f"{len(train[0])} operations of {len(set(train[1]))} services to train on, "
            f"{len(held_out[0])} of {len(set(held_out[1]))} other services to measure on\n"
        )
    run = finetuner.fit(
        model_directory(),
        train_data=train,
        eval_data=held_out,
        epochs=1,
        seed=arguments.seed,
        model_options={"max_length": 64},
        store=(arguments.home / "store").absolute().as_uri(),
        home=arguments.home,
    )
    if arguments.json:
        print(json.dumps(run.metrics()))
    else:
        run.display_metrics()
        run.display_examples()
        print(f"\npushed as {run.artifact_id}")

    model = finetuner.get_model(run.artifact_id, home=arguments.home)
    index = arguments.home / "index"
    index.mkdir(parents=True, exist_ok=True)
    np.save(index / "vectors.npy", finetuner.encode(model, held_out[0]))
    rows = [{"text": text, "service": label} for text, label in zip(*held_out, strict=True)]
    (index / "rows.json").write_text(json.dumps(rows))
    (index / "artifact").write_text(run.artifact_id)


if __name__ == "__main__":
    main()
