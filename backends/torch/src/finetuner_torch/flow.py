"""A recording's data operations and what made each of their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from finetuner_torch.lineage import Lineage
from finetuner_torch.recorder import RawOperation


@dataclass(frozen=True)
class Flow:
    """Data operations with the look-ups that telling their kinds needs."""

    lineage: Lineage
    parameter_shapes: Mapping[str, tuple[int, ...]]
    outputs: frozenset[int]

    @cached_property
    def producer(self) -> dict[int, RawOperation]:
        """The operation that made each value."""
        return {v: operation for operation in self.lineage.operations for v in operation.outputs}

    def back(self, operation: RawOperation) -> Iterator[RawOperation]:
        """The operations that made what it reads."""
        for value in self.lineage.data(operation):
            if value in self.producer:
                yield self.producer[value]
