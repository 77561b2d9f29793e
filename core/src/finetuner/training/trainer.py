"""The one training loop, for every framework."""

from __future__ import annotations

from dataclasses import dataclass

from finetuner.training.session import Session, TrainingResult
from finetuner.training.setup import TrainingSetup


@dataclass(frozen=True)
class Trainer(TrainingSetup):
    """Trains what its setup says and keeps checkpoints in ``directory``."""

    def fit(self) -> TrainingResult:
        """Train to the end.

        Raises ``UsageError`` for what cannot begin, and ``TrainingError`` naming
        epoch and step where the loss is no longer finite. An interrupt from the
        keyboard writes a checkpoint and is raised again.
        """
        return Session(self).run()
