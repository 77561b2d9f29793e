"""Surgical fine-tuning: one block of the depth trains, all others stay."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from finetuner.contracts import FreezeDecision, ModelGraph
from finetuner.errors import UsageError


def surgical(
    graph: ModelGraph, argument: str | None, measure: Callable[[], Mapping[str, float]]
) -> FreezeDecision:
    """Freeze everything but the K-th of N equal blocks of the depth; the argument is ``K/N``.

    Which block serves best depends on what changed: the first where inputs look different,
    the last where labels mean something else. Lee et al., "Surgical Fine-Tuning Improves
    Adaptation to Distribution Shifts" (2023).
    """
    block, blocks = _block(argument)
    depth = graph.depth
    if blocks > len(depth):
        raise UsageError(
            f"freeze='surgical:{argument}' parts the depth in {blocks}, but the embedding needs "
            f"{len(depth)} layers with parameters only: use a smaller N"
        )
    first, end = len(depth) * (block - 1) // blocks, len(depth) * block // blocks
    return FreezeDecision(frozen=depth[:first] + depth[end:])


def _block(argument: str | None) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", argument or "")
    block, blocks = map(int, found.groups()) if found else (0, 0)
    if not 1 <= block <= blocks:
        raise UsageError(
            f"freeze='surgical:{argument or ''}' needs a block and their number, as in "
            "'surgical:2/3' for the second of three"
        )
    return block, blocks
