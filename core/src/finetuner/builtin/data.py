"""Core's readers and preprocessing steps."""

from __future__ import annotations

from finetuner.data.readers import READERS
from finetuner.data.steps import STEPS

TRANSFORMS = STEPS

__all__ = ["READERS", "TRANSFORMS"]
