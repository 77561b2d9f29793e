"""Banking77 with all-MiniLM-L6-v2: one epoch with ``fit``'s defaults, mean of three seeds.

Trains on ``train.csv`` (10,003 texts, 77 intents) and measures leave-one-out on
``test.csv`` (3,080 texts). The peer is sentence-transformers' trainer with its
batch-hard soft-margin triplet loss, batch 64, learning rate 5e-5. Defaults were
chosen on a split of ``train.csv`` (``--develop`` measures on such a split).
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

from _harness import Row, report

import finetuner

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from minilm import model_directory

TARGET = 0.70

Rows = tuple[list[str], list[str]]


def read(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["category"] for row in rows]


def development(rows: Rows, share: int = 5) -> tuple[Rows, Rows]:
    """Every fifth text of each intent to measure on, the others to train on."""
    counts: dict[str, int] = {}
    parts: tuple[Rows, Rows] = (([], []), ([], []))
    for text, label in zip(*rows, strict=True):
        counts[label] = counts.get(label, 0) + 1
        texts, labels = parts[counts[label] % share == 0]
        texts.append(text)
        labels.append(label)
    return parts


def ours(train: Rows, test: Rows, seed: int, **options: object) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as home:
        begin = time.perf_counter()
        run = finetuner.fit(
            model_directory(),
            train_data=train,
            eval_data=test,
            epochs=1,
            seed=seed,
            to_onnx=False,
            home=home,
            progress=False,
            **options,
        )
        metrics = run.metrics()
        seen = run.result().examples_seen
        after = metrics["after"]
        print(
            f"seed {seed}: MAP@R {after['map@r']:.4f}, recall@1 {after['recall@1']:.4f}, "
            f"{seen} examples seen, {time.perf_counter() - begin:.0f} s",
            file=sys.stderr,
        )
        return metrics


def peer(train: Rows, test: Rows) -> dict[str, float]:
    """One epoch of sentence-transformers, measured with the same metrics."""
    import numpy as np
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        losses,
    )
    from sentence_transformers.training_args import BatchSamplers

    from finetuner.evaluation import evaluate

    model = SentenceTransformer(model_directory())
    numbers = {label: number for number, label in enumerate(sorted(set(train[1])))}
    data = Dataset.from_dict({"text": train[0], "label": [numbers[label] for label in train[1]]})
    with tempfile.TemporaryDirectory() as output:
        SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=output,
                num_train_epochs=1,
                per_device_train_batch_size=64,
                learning_rate=5e-5,
                batch_sampler=BatchSamplers.GROUP_BY_LABEL,
                report_to="none",
                save_strategy="no",
                seed=0,
            ),
            train_dataset=data,
            loss=losses.BatchHardSoftMarginTripletLoss(model),
        ).train()
    vectors = model.encode(test[0], normalize_embeddings=True)
    return evaluate(vectors, np.asarray(test[1]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/banking77"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--develop", action="store_true", help="measure on a split of train.csv")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"skipped: no Banking77 at {arguments.data} (give --data)", file=sys.stderr)
        return 0
    train = read(arguments.data / "train.csv")
    train, test = (
        development(train) if arguments.develop else (train, read(arguments.data / "test.csv"))
    )
    runs = [ours(train, test, seed) for seed in range(arguments.seeds)]
    before, after = runs[0]["before"], [metrics["after"] for metrics in runs]
    rows = [
        Row("MAP@R untouched", before["map@r"], None, "higher"),
        Row("MAP@R after one epoch", mean(a["map@r"] for a in after), TARGET, "higher"),
        Row("recall@1 untouched", before["recall@1"], None, "higher"),
        Row("recall@1 after one epoch", mean(a["recall@1"] for a in after), None, "higher"),
    ]
    if not arguments.no_peer:
        theirs = peer(train, test)
        rows.append(Row("MAP@R sentence-transformers", theirs["map@r"], None, "higher"))
    return report(rows, json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
