"""Devices, and the precisions that they train in."""

from __future__ import annotations

import torch

from finetuner.errors import UnknownNameError


def devices() -> tuple[str, ...]:
    """What can be asked for, best first; ``"cpu"`` is always there."""
    return (*(f"cuda:{index}" for index in range(torch.cuda.device_count())), "cpu")


def resolve_device(name: str) -> torch.device:
    """A device by name; ``"auto"`` is the best there is and ``"cuda"`` the first GPU."""
    known = devices()
    if name == "auto":
        return torch.device(known[0])
    if name == "cuda" and known[0].startswith("cuda"):
        return torch.device(known[0])
    if name not in known:
        raise UnknownNameError("device", name, known)
    return torch.device(name)


def precisions(device: str) -> tuple[str, ...]:
    """What ``device`` trains in, default first.

    Half precision is autocast: weights, statistics and the loss stay float32.
    """
    resolved = resolve_device(device)
    if resolved.type == "cpu":
        return ("float32", "bfloat16")
    with torch.cuda.device(resolved):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    return ("bfloat16", "float16", "float32") if native else ("float16", "float32")


def resolve_precision(name: str, device: torch.device) -> torch.dtype | None:
    """The dtype to autocast to on ``device``, or ``None`` for plain float32."""
    known = precisions(str(device))
    chosen = known[0] if name == "auto" else name
    if chosen not in known:
        raise UnknownNameError("precision", name, known, f" on {device}")
    return None if chosen == "float32" else getattr(torch, chosen)
