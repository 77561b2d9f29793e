"""PyTorch's fused attention, switched off while a model is read from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Run ``nn.TransformerEncoder`` layer by layer, on plain tensors.

    In evaluation mode its fast path hides its operations, fails on fake tensors,
    and with a padding mask hands nested tensors from layer to layer, which no
    pooling can read.
    """
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)
