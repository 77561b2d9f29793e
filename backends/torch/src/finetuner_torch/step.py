"""One training step, embeddings and gradients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
import torch

from finetuner.contracts import Batch, Inputs, Objective
from finetuner_torch import xp
from finetuner_torch.state import OBJECTIVE, State


def step(state: State, batch: Batch, objective: Objective) -> tuple[State, dict[str, float]]:
    """Forward in chunks, the objective over the whole batch in float32, one update.

    Where the loss or its gradient is not finite, weights and optimizer stay as they
    were and ``loss`` is nan; only float16's loss scaling takes an infinite gradient
    as a matter of course, skips the update and goes on with a lower scale. The
    statistics of batch normalisation have moved all the same.
    """
    rate = _set_learning_rate(state)
    state.enter(training=True)
    state.optimizer.zero_grad(set_to_none=True)
    with state.own_random():
        loss, extras = _loss(state, batch, objective)
        torch.autograd.backward(loss if state.scaler is None else state.scaler.scale(loss))
    if state.scaler is not None:
        state.scaler.unscale_(state.optimizer)
    norm = _clip(state)
    names = ("loss", "grad_norm", *extras)
    scalars = dict(zip(names, _values(loss, norm, *extras.values()), strict=True))
    scalars["learning_rate"] = rate
    finite = math.isfinite(scalars["loss"]) and (
        state.scaler is not None or math.isfinite(scalars["grad_norm"])
    )
    if finite:
        _update(state)
        state.step += 1
    if state.scaler is not None:
        state.scaler.update()
    return state, scalars if finite else scalars | {"loss": math.nan}


def embed(state: State, inputs: Inputs) -> np.ndarray:
    """Embeddings in evaluation mode, computed and returned in float32."""
    state.enter(training=False)
    with torch.no_grad():
        embeddings = state.model(**to_tensors(inputs, state.device))
    array: np.ndarray = embeddings.float().cpu().numpy()
    return array


def pullback(
    state: State, inputs: Inputs, embedding_gradients: np.ndarray
) -> dict[str, np.ndarray]:
    """Gradients of the model's trainable parameters, at what ``embed`` gives."""
    state.enter(training=False)
    trained = {n: p for n, p in state.trained.items() if not n.startswith(OBJECTIVE)}
    embeddings = state.model(**to_tensors(inputs, state.device))
    gradients = torch.autograd.grad(
        embeddings,
        list(trained.values()),
        torch.as_tensor(embedding_gradients, dtype=embeddings.dtype, device=state.device),
        allow_unused=True,
        materialize_grads=True,
    )
    return {name: gradient.cpu().numpy() for name, gradient in zip(trained, gradients, strict=True)}


def to_tensors(inputs: Inputs, device: torch.device) -> dict[str, torch.Tensor]:
    """Numpy inputs on ``device``; floating ones in float32, integers as they are."""
    return {name: _to_tensor(array, device) for name, array in inputs.items()}


def _to_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    if not (array.flags.writeable and array.flags.c_contiguous):
        array = np.array(array, order="C")
    tensor = torch.from_numpy(array)
    if tensor.is_floating_point():
        tensor = tensor.float()
    return tensor.to(device, non_blocking=True)


def _loss(
    state: State, batch: Batch, objective: Objective
) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
    half = state.half
    with nullcontext() if half is None else torch.autocast(state.device.type, half):
        parts = [state.model(**to_tensors(chunk, state.device)) for chunk in batch.chunks]
    embeddings = parts[0] if len(parts) == 1 else torch.cat(parts)
    labels = _to_tensor(batch.labels, state.device)
    return objective(xp, embeddings.float(), labels, state.parameters, batch.key)


def _set_learning_rate(state: State) -> float:
    rate = state.spec.learning_rate * state.spec.schedule.factor(state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate


def _update(state: State) -> None:
    if state.scaler is None:
        state.optimizer.step()
    else:
        state.scaler.step(state.optimizer)


def _clip(state: State) -> torch.Tensor:
    """Clip the gradients to the spec's norm; returns the norm that they had."""
    parameters = state.trained.values()
    if state.spec.clip_norm is not None:
        return torch.nn.utils.clip_grad_norm_(parameters, state.spec.clip_norm)
    return torch.nn.utils.get_total_norm(p.grad for p in parameters if p.grad is not None)


def _values(*scalars: torch.Tensor) -> list[float]:
    """All scalars in one transfer: each would make the host wait for the device."""
    values: list[float] = torch.stack(
        [torch.as_tensor(s, device=scalars[0].device).detach().float() for s in scalars]
    ).tolist()
    return values
