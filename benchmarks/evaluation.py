"""Leave-one-out retrieval of 100,000 vectors of width 384: peak memory, and time against BLAS.

The peak is that of a whole process, interpreter, vectors and all. The time is
compared with the bare matrix product that gives the similarities, block by block,
on 10,000 vectors and one thread: what is left is the search and the metrics.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402  (threads are counted when numpy is imported)
from _harness import Row, paired, report  # noqa: E402

WIDTH, PER_CLASS = 384, 100
LARGE, SMALL = 100_000, 10_000


def corpus(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes of a hundred around random centres, overlapping so that ranks matter."""
    random = np.random.default_rng(0)
    labels = np.arange(rows) % (rows // PER_CLASS)
    vectors = random.standard_normal((rows, WIDTH), dtype=np.float32)
    vectors *= 4
    vectors += random.standard_normal((rows // PER_CLASS, WIDTH), dtype=np.float32)[labels]
    return vectors, labels


def measure(rows: int) -> dict[str, float]:
    """Seconds and peak memory of this process in MB, with one of the metrics."""
    import resource

    from finetuner.evaluation import evaluate

    vectors, labels = corpus(rows)
    begin = time.perf_counter()
    metrics = evaluate(vectors, labels)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak": peak, "map@r": metrics["map@r"]}


def products(vectors: np.ndarray, block: int) -> None:
    """The similarities alone."""
    for start in range(0, len(vectors), block):
        np.matmul(vectors[start : start + block], vectors.T)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return 0
    command = [sys.executable, __file__, "--measure", str(LARGE)]
    large = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    from finetuner.evaluation import evaluate
    from finetuner.evaluation.search import BLOCK_BYTES

    vectors, labels = corpus(SMALL)
    block = BLOCK_BYTES // (4 * SMALL)
    ratio = paired(
        lambda: evaluate(vectors, labels), lambda: products(vectors, block), arguments.pairs
    )
    rows = [
        Row(f"peak memory of {LARGE:,} x {WIDTH} (MB)", large["peak"], 1000, "lower"),
        Row(f"seconds of {LARGE:,} x {WIDTH}, one thread", large["seconds"], None, "lower"),
        Row(f"time over the product alone, {SMALL:,} x {WIDTH}", ratio, 2.0, "lower"),
    ]
    return report(rows, json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
