"""Losses: ``f(xp, pairs, **options)`` gives a scalar, or a scalar and scalars to report.

``pairs`` is a :class:`~finetuner.contracts.PairBatch`. The share ``active`` that
these report says how much of the batch still drives the gradient.
"""

from finetuner.learning.losses.contrastive import check_contrastive, contrastive
from finetuner.learning.losses.nt_xent import check_nt_xent, nt_xent
from finetuner.learning.losses.sup_con import check_sup_con, sup_con
from finetuner.learning.losses.triplet_margin import (
    check_triplet_margin,
    narrow_triplet_margin,
    triplet_margin,
)

__all__ = [
    "check_contrastive",
    "check_nt_xent",
    "check_sup_con",
    "check_triplet_margin",
    "contrastive",
    "narrow_triplet_margin",
    "nt_xent",
    "sup_con",
    "triplet_margin",
]
