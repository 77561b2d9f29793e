from __future__ import annotations

import logging

import pytest

from finetuner.plugins import Origin, observe
from finetuner.plugins.blame import blame

ORIGIN = Origin("acme", "acme-losses", "1.2", "finetuner_losses")


def test_an_origin_reads_as_words():
    assert str(ORIGIN) == "plugin 'acme' of acme-losses 1.2, hook finetuner_losses"
    assert str(Origin("acme", "acme-losses")) == "plugin 'acme' of acme-losses"


def test_blame_notes_the_origin_once_and_lets_the_error_through():
    with pytest.raises(KeyError) as caught, blame(ORIGIN), blame(ORIGIN):
        raise KeyError("x")
    assert caught.value.__notes__ == [f"raised in {ORIGIN}"]


def test_blame_leaves_an_interruption_alone():
    with pytest.raises(KeyboardInterrupt) as caught, blame(ORIGIN):
        raise KeyboardInterrupt
    assert not hasattr(caught.value, "__notes__")


def test_an_observer_s_result_is_given_back():
    assert observe(lambda a, *, b: a + b, ORIGIN, 1, b=2) == 3


def test_an_observer_that_raises_is_logged_and_passed_over(caplog):
    def tracker():
        raise OSError("server gone")

    with caplog.at_level(logging.WARNING, "finetuner.plugins"):
        assert observe(tracker, ORIGIN) is None
    assert "acme-losses" in caplog.text
    assert "server gone" in caplog.text


def test_an_observer_without_origin_is_named_by_itself(caplog):
    def tracker():
        raise OSError

    observe(tracker, None)
    assert "tracker" in caplog.text


def test_an_observer_cannot_swallow_an_interruption():
    def tracker():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        observe(tracker, ORIGIN)
