"""One training step, embeddings and gradients.

A step is one function of tensors, written once. It is made of pieces compiled by
themselves: the forward pass of a chunk, once for each shape; the objective; the
update. Where all chunks are of one shape that does not change, the step is
compiled as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from finetuner.contracts import Batch, Inputs, Objective, OptimizerSpec
from finetuner_keras import engines, xp
from finetuner_keras.apply import EmbeddingModel
from finetuner_keras.engines import Tensor, Tensors
from finetuner_keras.optimizer import Moments, clip, numbers, update
from finetuner_keras.state import OBJECTIVE, State

Result = tuple[dict[str, Tensor], dict[str, Tensor], Moments, dict[str, Tensor]]


def step(state: State, batch: Batch, objective: Objective) -> tuple[State, dict[str, float]]:
    """Forward in chunks, the objective over the whole batch in float32, one update.

    Where the loss or its gradient is not finite, weights and moments stay as they
    were and ``loss`` is nan; the statistics of batch normalisation have moved all
    the same.
    """
    engine = engines.current()
    values = numbers(state.spec, state.step)
    with engine.on_device(state.device):
        run = _runner(state, batch, objective)
        state.trained, state.rest, state.moments, tensors = run(
            state.trained,
            state.rest,
            state.moments,
            [to_tensors(chunk) for chunk in batch.chunks],
            engine.to_tensor(np.asarray(batch.labels)),
            engine.to_tensor(np.asarray(values, np.float32)),
            engine.to_tensor(_seeds(state, len(batch.chunks))),
            engine.to_tensor(np.asarray(batch.key, np.uint32)),
        )
        scalars = engine.to_floats(tensors)
    scalars["learning_rate"] = values[0]
    if not (math.isfinite(scalars["loss"]) and math.isfinite(scalars["grad_norm"])):
        return state, scalars | {"loss": math.nan}
    state.step += 1
    return state, scalars


def embed(state: State, inputs: Inputs) -> np.ndarray:
    """Embeddings in evaluation mode, computed and returned in float32."""
    engine = engines.current()
    with engine.on_device(state.device):
        run = _compiled(state, "embed", lambda: partial(_embed, state.model), static_shapes=False)
        return engine.to_numpy(run(state.weights, to_tensors(inputs))).astype(np.float32)


def pullback(
    state: State, inputs: Inputs, embedding_gradients: np.ndarray
) -> dict[str, np.ndarray]:
    """Gradients of the model's trainable parameters, at what ``embed`` gives."""
    engine = engines.current()
    with engine.on_device(state.device):
        run = _compiled(state, "pullback", lambda: partial(_pullback, state.model))
        own = {n: t for n, t in state.trained.items() if not n.startswith(OBJECTIVE)}
        slope = engine.to_tensor(np.asarray(embedding_gradients, np.float32))
        found = run(own, state.rest, to_tensors(inputs), slope)
        return {name: engine.to_numpy(gradient) for name, gradient in found.items()}


def to_tensors(inputs: Inputs) -> dict[str, Tensor]:
    """Numpy inputs as tensors; floating ones in float32, integers as they are."""
    engine = engines.current()
    return {name: engine.to_tensor(_plain(np.asarray(array))) for name, array in inputs.items()}


def _plain(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _embed(model: EmbeddingModel, weights: Tensors, inputs: Tensors) -> Tensor:
    return model(weights, inputs)[0]


def _pullback(
    model: EmbeddingModel, own: Tensors, rest: Tensors, inputs: Tensors, slope: Tensor
) -> dict[str, Tensor]:
    def product(own: Tensors) -> tuple[Tensor, tuple[()]]:
        return ops.sum(model({**rest, **own}, inputs)[0] * slope), ()

    return engines.current().value_and_gradients(product, own)[1]


def _runner(state: State, batch: Batch, objective: Objective) -> Callable[..., Result]:
    """The step's function: whole for the shape that came first, else made of its pieces."""
    shapes = [tuple((name, array.shape) for name, array in chunk.items()) for chunk in batch.chunks]
    first = state.compiled.setdefault("shapes", shapes)
    if not _same(state.compiled.get("objective"), objective):
        state.compiled["objective"] = objective
        for key in ("judge", "whole"):
            state.compiled.pop(key, None)
    run = partial(
        _step,
        _compiled(state, "forward", lambda: partial(_forward, state.learner, state.modes)),
        _compiled(state, "judge", lambda: partial(_judge, objective)),
        _compiled(state, "update", lambda: partial(_update, state.spec, state.model.factors)),
    )
    if len(set(shapes)) == 1 and shapes == first:
        return _compiled(state, "whole", lambda: run)
    return run


def _same(one: object, other: object) -> bool:
    """Whether two objectives compute the same: they are one, or equal values."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except ValueError:  # arrays do not compare to a truth value
        return False


def _compiled(
    state: State, key: str, make: Callable[[], Any], *, static_shapes: bool = True
) -> Callable[..., Any]:
    if key not in state.compiled:
        state.compiled[key] = engines.current().compile(make(), static_shapes)
    return state.compiled[key]


def _step(
    forward: Callable[..., Any],
    judge: Callable[..., Any],
    change: Callable[..., Any],
    trained: Tensors,
    rest: Tensors,
    moments: Moments,
    chunks: list[Tensors],
    labels: Tensor,
    values: Tensor,
    seeds: Tensor,
    key: Tensor,
) -> Result:
    def loss_of(trained: Tensors) -> tuple[Tensor, Any]:
        own = {n: t for n, t in trained.items() if not n.startswith(OBJECTIVE)}
        learned = {
            n.removeprefix(OBJECTIVE): t for n, t in trained.items() if n.startswith(OBJECTIVE)
        }
        now, parts = dict(rest), []
        for index, chunk in enumerate(chunks):
            part, moved = forward(own, now, chunk, seeds[index])
            now.update(moved)
            parts.append(part)
        loss, extras = judge(parts, labels, learned, key)
        return loss, (now, extras)

    (loss, (now, extras)), gradients = engines.current().value_and_gradients(loss_of, trained)
    new, kept, norm = change(trained, gradients, moments, values, loss)
    now = {name: ops.stop_gradient(tensor) for name, tensor in now.items()}
    return new, now, kept, {"loss": loss, "grad_norm": norm, **extras}


def _forward(
    model: Any,
    modes: Mapping[str, bool],
    own: Tensors,
    rest: Tensors,
    chunk: Tensors,
    seeds: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    return model({**rest, **own}, chunk, modes, seeds)


def _judge(
    objective: Objective, parts: list[Tensor], labels: Tensor, learned: Tensors, key: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    embeddings = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=0)
    loss, extras = objective(xp, embeddings, labels, learned, key)
    return ops.cast(loss, "float32"), {
        name: ops.stop_gradient(ops.cast(value, "float32")) for name, value in extras.items()
    }


def _update(
    spec: OptimizerSpec,
    factors: Mapping[str, float],
    trained: Tensors,
    gradients: Tensors,
    moments: Moments,
    values: Tensor,
    loss: Tensor,
) -> tuple[dict[str, Tensor], Moments, Tensor]:
    """The update, or everything as it was where loss or gradient is not finite."""
    clipped, norm = clip(gradients, spec.clip_norm)
    new, kept = update(spec, factors, values, trained, clipped, moments)
    finite = ops.logical_and(ops.isfinite(loss), ops.isfinite(norm))
    chosen = {name: ops.where(finite, new[name], trained[name]) for name in new}
    moved = {
        kind: {name: ops.where(finite, now[name], moments[kind][name]) for name in now}
        for kind, now in kept.items()
    }
    return chosen, moved, norm


def _seeds(state: State, chunks: int) -> np.ndarray:
    """A seed for each chunk and random generator, from the state's seed and step alone.

    The last of a chunk is for what draws without a generator.
    """
    sequence = np.random.SeedSequence([state.seed % 2**63, state.step])
    shape = chunks, len(state.learner.seeds) + 1, 2
    return (sequence.generate_state(math.prod(shape)) % 2**31).reshape(shape).astype(np.int64)
