"""What a model is, as far as its class and library tell."""

from __future__ import annotations

import json
import sys

import keras

from finetuner_keras.layers import Layer


def facts_of(model: Layer) -> dict[str, object]:
    """Class, library, version, the Keras backend that runs, and configuration as JSON values.

    ``config`` is the model's own ``get_config()`` where it has one of JSON values.
    """
    library = type(model).__module__.partition(".")[0]
    version = getattr(sys.modules.get(library), "__version__", None)
    return {
        "class": type(model).__name__,
        "library": library,
        "version": None if version is None else str(version),
        "keras_backend": keras.backend.backend(),
        "config": _config(model),
    }


def _config(model: Layer) -> dict[str, object]:
    if hasattr(model, "layers") and getattr(model, "inputs", None):
        return {}  # a graph's configuration is the graph
    try:
        config: dict[str, object] = json.loads(json.dumps(model.get_config()))
    except Exception:
        return {}
    return config
