"""Miners: ``f(xp, distances, labels, reference_labels, is_self, key, **options)``.

``distances`` and ``is_self`` are A×R, labels A and R. A miner yields
:class:`~finetuner.contracts.Triplets` or :class:`~finetuner.contracts.PairWeights`
and passes no gradient: the loss looks the distances up again.
"""

from finetuner.learning.miners.batch_all import batch_all, check_batch_all
from finetuner.learning.miners.hard import easy_hard, hard
from finetuner.learning.miners.semi_hard import semi_hard

__all__ = ["batch_all", "check_batch_all", "easy_hard", "hard", "semi_hard"]
