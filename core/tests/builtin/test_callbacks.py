"""Early stopping, from histories written out."""

from __future__ import annotations

import pytest

from finetuner.builtin.callbacks import CALLBACKS, EarlyStopping
from finetuner.errors import UsageError
from finetuner.training import EpochRecord, Evaluated


def told(values: list[float], metric: str = "map@r") -> Evaluated:
    """What is told after the last of these; the first is the one before training."""
    history = tuple(
        EpochRecord(epoch, epoch, 1.0, 1, 1.0, {metric: value})
        for epoch, value in enumerate(values)
    )
    return Evaluated(len(values) - 1, len(values) - 1, {metric: values[-1]}, "map@r", history)


@pytest.mark.parametrize(
    ("values", "patience", "min_delta", "stops"),
    [
        ([0.1, 0.2, 0.3], 1, 0.0, False),
        ([0.1, 0.3, 0.2], 1, 0.0, True),
        ([0.1, 0.3, 0.3], 1, 0.0, True),
        ([0.1, 0.3, 0.2], 2, 0.0, False),
        ([0.1, 0.3, 0.2, 0.25], 2, 0.0, True),
        ([0.1, 0.3, 0.2, 0.31], 2, 0.0, False),
        ([0.1, 0.3, 0.2, 0.31], 2, 0.05, True),
        # What it was before training is no reason to stop after the first epoch.
        ([0.9, 0.3], 1, 0.0, False),
    ],
)
def test_it_stops_when_nothing_rises_any_more(values, patience, min_delta, stops):
    answer = EarlyStopping(patience, min_delta=min_delta).on_evaluate(told(values))
    assert (answer is not None) is stops


def test_another_metric_may_be_watched():
    answer = EarlyStopping(1, "mrr").on_evaluate(told([0.1, 0.5, 0.4], "mrr"))
    assert answer is not None
    assert answer.reason == "mrr has not risen above 0.5 for 1 epochs"


def test_options_without_sense_are_refused():
    with pytest.raises(UsageError, match="patience is 0"):
        EarlyStopping(0)
    with pytest.raises(UsageError, match="min_delta is -1"):
        EarlyStopping(min_delta=-1)


def test_it_is_found_by_its_name():
    assert [record.name for record in CALLBACKS] == ["early-stopping"]
    assert isinstance(CALLBACKS[0].build(patience=2), EarlyStopping)
