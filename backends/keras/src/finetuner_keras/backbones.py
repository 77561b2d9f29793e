"""Models by name, by file, or as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from finetuner.contracts import LoadedModel
from finetuner.errors import ModelError
from finetuner_keras.inputs import is_keras


def load(source: object, options: Mapping[str, Any]) -> LoadedModel:
    if is_keras(source):
        return LoadedModel(source, "keras")
    raise ModelError("no")
