"""Which pairs of a batch are of one class."""

from __future__ import annotations

from finetuner.arrays import Array, ArrayNamespace


def pairs_of(
    xp: ArrayNamespace, labels: Array, reference_labels: Array, is_self: Array
) -> tuple[Array, Array]:
    """Masks A×R of the positive and of the negative pairs; an anchor's own place is neither."""
    same = xp.expand_dims(labels, axis=1) == xp.expand_dims(reference_labels, axis=0)
    return same & ~is_self, ~same & ~is_self
