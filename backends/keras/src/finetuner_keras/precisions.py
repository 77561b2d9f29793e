"""Devices, and the precisions that they train in."""

from __future__ import annotations

from finetuner.errors import UnknownNameError
from finetuner_keras import engines
from finetuner_keras.layers import Layer, named_layers


def devices() -> tuple[str, ...]:
    """What can be asked for, best first; ``"cpu"`` is always there."""
    return engines.current().devices()


def resolve_device(name: str) -> str:
    """A device by name; ``"auto"`` is the best there is, ``"gpu"`` and ``"cuda"`` the first GPU."""
    known = devices()
    if name == "auto":
        return known[0]
    wanted = name.replace("cuda", "gpu")
    if wanted == "gpu" and known[0].startswith("gpu"):
        return known[0]
    if wanted not in known:
        raise UnknownNameError("device", name, known)
    return wanted


def precisions(device: str) -> tuple[str, ...]:
    """What ``device`` trains in, default first.

    Half precision is Keras's ``mixed_bfloat16``: weights, statistics and the loss
    stay float32.
    """
    resolved = resolve_device(device)
    return ("float32", "bfloat16") if resolved == "cpu" else ("bfloat16", "float32")


def resolve_precision(name: str, device: str) -> str:
    """The precision's name, ``"auto"`` replaced by the device's default."""
    known = precisions(device)
    chosen = known[0] if name == "auto" else name
    if chosen not in known:
        raise UnknownNameError("precision", name, known, f" on {device}")
    return chosen


def set_mixed(model: Layer, precision: str) -> None:
    """Let every layer compute in ``precision`` while its variables stay float32."""
    for layer in named_layers(model).values():
        if layer.dtype_policy.name == "float32":
            layer.dtype_policy = f"mixed_{precision}"
