"""Cutting an embedding model in two at a layer."""

from __future__ import annotations

from dataclasses import replace

from finetuner.errors import UnknownNameError
from finetuner_keras.apply import EmbeddingModel
from finetuner_keras.copying import copy_model


def split(model: EmbeddingModel, at: str) -> tuple[EmbeddingModel, EmbeddingModel]:
    """Prefix and rest, each with weights of its own. ``at`` is a layer of the backbone.

    The rest is the whole model with the layer's output given: what leads to that
    layer alone is dead code, which a compiled step does not contain; what flows
    past it is computed from the original inputs. Raises ``UnknownNameError`` where
    there is no such layer.
    """
    if at not in model.layers or not at:
        raise UnknownNameError("layer", at, (name for name in model.layers if name))
    prefix, rest = (
        replace(model, backbone=copy_model(model.backbone), at=at, part=part)
        for part in ("prefix", "rest")
    )
    return prefix, rest
