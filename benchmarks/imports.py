"""How long ``import finetuner`` and ``finetuner --help`` take, as whole processes.

The bare interpreter is timed alternately and taken off the import's time; the
help is what a user waits for, interpreter and all.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from _harness import Row, report

PAIRS = 30


def seconds(*command: str) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    python = sys.executable
    command = str(Path(python).with_name("finetuner"))
    for _ in range(3):
        seconds(command, "--help")
    pairs = [
        (seconds(python, "-c", "import finetuner"), seconds(python, "-c", "pass"))
        for _ in range(PAIRS)
    ]
    importing = median(ours - bare for ours, bare in pairs)
    helping = median(seconds(command, "--help") for _ in range(PAIRS))
    rows = [
        Row("import finetuner (ms)", 1000 * importing, 150, "lower"),
        Row("finetuner --help (ms)", 1000 * helping, 300, "lower"),
    ]
    return report(rows, json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
