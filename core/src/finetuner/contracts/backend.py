"""The contract between core's one trainer and a framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from finetuner.arrays import Array, ArrayNamespace
from finetuner.contracts.graph import ModelGraph
from finetuner.contracts.learning import Objective
from finetuner.contracts.optimization import OptimizerSpec
from finetuner.contracts.plan import AdaptationPlan, PlanOptions
from finetuner.contracts.preprocessing import InputSpec, Preprocessing

if TYPE_CHECKING:
    import numpy as np

Model = Any
"""A model of the framework, as the user knows it."""

EmbeddingModel = Any
"""What ``adapt`` makes of it; opaque to core."""

State = Any
"""Weights, statistics, optimizer state, step count and random key; opaque to core."""

Inputs = Mapping[str, "np.ndarray"]
"""Model inputs by canonical name, batch first."""


@dataclass(frozen=True)
class LoadedModel:
    """A model with what is known about how to feed it.

    ``preprocessing`` is ``None`` for a bare model whose input the data decides.
    ``files`` are those that the preprocessing names (a tokenizer), by bundle name.
    ``defaults`` are plan options that the model's own files ask for (a
    sentence-transformers directory names its pooling); what the user says wins.
    ``data_defaults`` are options for feeding a bare model that it tells itself (its
    ``image_size``, its ``layout``, its ``input_shape``); what the user says wins.
    ``reference`` is the string that loads the same model elsewhere, ``None``
    where there is none.
    """

    model: Model
    backend: str
    preprocessing: Preprocessing | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    data_defaults: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None


@dataclass(frozen=True)
class Batch:
    """One training batch, already cut into chunks of like length.

    ``labels`` (int64) follow the chunks' order; mining is over the whole batch.
    ``key`` seeds random choices inside the step.
    """

    chunks: tuple[Inputs, ...]
    labels: np.ndarray
    key: int = 0

    def __len__(self) -> int:
        return len(self.labels)


class Backend(Protocol):
    """What a framework's plugin provides. Arrays at this border are numpy's.

    ``xp`` is handed to every learning function. ``step`` and ``pullback`` may
    consume the state that they are given: the caller keeps only the one returned.
    """

    name: str
    framework: str
    xp: ArrayNamespace

    def recognises(self, model: object) -> bool:
        """Whether ``model`` is a live object of this framework. Must not import it anew."""

    def load(self, source: object, options: Mapping[str, Any]) -> LoadedModel:
        """A live model, or what a path names. Raises ``ModelError`` where it cannot."""

    def trace(self, model: Model, sample: Inputs) -> ModelGraph:
        """Record the dataflow of one call; the model stays exactly as it was."""

    def adapt(self, model: Model, plan: AdaptationPlan, *, seed: int = 0) -> EmbeddingModel:
        """A new object that gives embeddings; nothing is shared with ``model``."""

    def init(
        self,
        model: EmbeddingModel,
        optimizer: OptimizerSpec,
        *,
        seed: int,
        device: str = "auto",
        precision: str = "auto",
        parameters: Mapping[str, np.ndarray] | None = None,
        dropout: float | None = 0.0,
    ) -> State:
        """A fresh state; ``parameters`` are the objective's learnable ones.

        ``dropout`` is the rate of every dropout that is active in the model while
        it trains. 0.0, the default, turns off all that is random in training
        (stochastic depth too): a backbone that is fine-tuned for an epoch or two
        ends better and each step is cheaper. ``None`` keeps the model's own
        rates. Batch statistics follow the data whatever is chosen, except inside
        frozen layers. Raises ``UsageError`` for a rate outside [0, 1) and for one
        above 0 where the model has no dropout to set.
        """

    def step(
        self, state: State, batch: Batch, objective: Objective
    ) -> tuple[State, dict[str, float]]:
        """One update. Scalars hold at least ``loss``, ``grad_norm``, ``learning_rate``.

        A loss that is not finite leaves the weights as they were.
        """

    def embed(self, state: State, inputs: Inputs) -> np.ndarray:
        """Float32 embeddings B×D in evaluation mode."""

    def pullback(
        self, state: State, inputs: Inputs, embedding_gradients: np.ndarray
    ) -> Mapping[str, np.ndarray]:
        """Gradients by trainable parameter name, given the gradients of the embeddings."""

    def split(self, model: EmbeddingModel, at: str) -> tuple[EmbeddingModel, EmbeddingModel]:
        """Prefix up to and with layer ``at``, and the rest; composed they equal the whole.

        The rest takes the prefix's output as the input ``"prefix"``, beside the
        original inputs. Raises ``ModelError`` where the model cannot be split there.
        """

    def save(self, state: State, directory: Path) -> None:
        """Everything that ``restore`` needs, without pickles; ``OSError`` if the disk is full."""

    def restore(self, state: State, directory: Path) -> State:
        """The saved state, given a fresh one of the same model and optimizer."""

    def save_weights(self, state: State, directory: Path) -> str:
        """Write the embedding model's weights; returns the file's name."""

    def export(self, state: State, path: Path, inputs: Sequence[InputSpec], sample: Inputs) -> None:
        """Write ONNX with exactly these input names, one output ``embedding``, dynamic extents."""

    def devices(self) -> tuple[str, ...]:
        """Devices that can be asked for, best first."""

    def precisions(self, device: str) -> tuple[str, ...]:
        """Precisions that ``device`` trains in, default first."""


__all__ = [
    "Array",
    "Backend",
    "Batch",
    "EmbeddingModel",
    "Inputs",
    "LoadedModel",
    "Model",
    "PlanOptions",
    "State",
]
