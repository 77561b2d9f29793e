"""Callbacks by name, with their options in the text."""

from types import SimpleNamespace

import pytest

from finetuner.builtin.callbacks import EarlyStopping
from finetuner.contracts import CallbackRecord
from finetuner.errors import UnknownNameError, UsageError
from finetuner.plugins import Host, hookimpl
from finetuner.runs.callbacks import named_callback


def finetuner_callbacks():
    yield CallbackRecord("early-stopping", EarlyStopping)


@pytest.fixture
def host():
    plugin = SimpleNamespace(finetuner_callbacks=hookimpl(finetuner_callbacks))
    return Host.discover([], extra=[plugin])


def test_options_stand_behind_the_name(host):
    found = named_callback("early-stopping:patience=2,metric=mrr,min_delta=0.5", host)
    assert (found.patience, found.metric, found.min_delta) == (2, "mrr", 0.5)


def test_a_name_alone_takes_the_defaults(host):
    assert named_callback("early-stopping", host).patience == 3


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("early-stoping", UnknownNameError, "did you mean 'early-stopping'"),
        ("early-stopping:patince=2", UnknownNameError, "did you mean 'patience'"),
        ("early-stopping:patience", UsageError, "'patience' is not OPTION=VALUE"),
        ("early-stopping:", UsageError, "'' is not OPTION=VALUE"),
        ("early-stopping:patience=two", UsageError, "option 'patience' .* is 'two'"),
        ("early-stopping:patience=1.5", UsageError, "option 'patience' .* is 1.5"),
        ("early-stopping:patience=0", UsageError, "patience is 0"),
    ],
)
def test_what_cannot_be_used_is_an_error(host, text, error, words):
    with pytest.raises(error, match=words):
        named_callback(text, host)
