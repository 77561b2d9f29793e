"""Core's adapters and freezing policies."""

from __future__ import annotations

from finetuner.adaptation.freezing import (
    freeze_backbone,
    freeze_first,
    freeze_none,
    freeze_until,
)
from finetuner.builtin.transformers_models import TRANSFORMERS_ADAPTERS
from finetuner.contracts.records import AdapterRecord, FreezingRecord

FREEZING: tuple[FreezingRecord, ...] = (
    FreezingRecord("none", freeze_none, "none: everything trains"),
    FreezingRecord("backbone", freeze_backbone, "backbone: only what the plan adds trains"),
    FreezingRecord("first", freeze_first, "first:F: the first fraction F of the depth is frozen"),
    FreezingRecord("until", freeze_until, "until:LAYER: all up to and with LAYER is frozen"),
)

ADAPTERS: tuple[AdapterRecord, ...] = TRANSFORMERS_ADAPTERS
