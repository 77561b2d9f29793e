"""YAML as people write it."""

import pytest

from finetuner.errors import UsageError
from finetuner.runs.yaml_text import read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-2E5", -2e5),
        ("1.5e+3", 1500.0),
        (".5e1", 5.0),
        ("1e4x", "1e4x"),
        ("e4", "e4"),
        ("3", 3),
        ("true", True),
        ("a: [1e-4, b]", {"a": [1e-4, "b"]}),
    ],
)
def test_a_number_with_an_exponent_is_a_number(text, value):
    assert read_yaml(text) == value


@pytest.mark.parametrize("text", ["a: [", "2026-02-31", "!!python/object/apply:os.system [ls]"])
def test_what_is_no_plain_yaml_is_an_error(text):
    with pytest.raises(UsageError, match="not YAML"):
        read_yaml(text)
