"""Callbacks that core brings along."""

from __future__ import annotations

import math

from finetuner.contracts import CallbackRecord
from finetuner.errors import UsageError
from finetuner.training.callbacks import Evaluated, Stop


class EarlyStopping:
    """Ends training when ``metric`` has not risen for ``patience`` epochs.

    An epoch counts as a rise where the metric exceeds the greatest before it by
    more than ``min_delta``. ``metric`` is the trainer's monitored one where none
    is named. It decides from the history alone, so a resumed training stops
    where an undisturbed one does.
    """

    needs_evaluation = True

    def __init__(
        self, patience: int = 3, metric: str | None = None, min_delta: float = 0.0
    ) -> None:
        if patience < 1:
            raise UsageError(f"early stopping: patience is {patience}, give at least 1")
        if not min_delta >= 0:
            raise UsageError(f"early stopping: min_delta is {min_delta}, give at least 0")
        self.patience, self.metric, self.min_delta = patience, metric, min_delta
        self.needs_metrics = () if metric is None else (metric,)

    def on_evaluate(self, event: Evaluated) -> Stop | None:
        metric = self.metric or event.monitor
        assert metric is not None, "the trainer refuses to begin without one"
        best, since = -math.inf, 0
        for record in event.history:
            if record.epoch == 0:
                continue
            risen = record.metrics[metric] > best + self.min_delta
            best, since = (record.metrics[metric], 0) if risen else (best, since + 1)
        if since < self.patience:
            return None
        return Stop(f"{metric} has not risen above {best:.4g} for {since} epochs")


CALLBACKS = (CallbackRecord("early-stopping", EarlyStopping),)
