"""The reference pieces, for backends whose framework does not differentiate by itself.

The numpy array namespace; the training half of a backend on numpy arrays, and what that
is made of: gradients of any objective by central differences, and the one definition of
AdamW, SGD and clipping; the graph of a model that is one operation after another, and
what a plan means for such a chain.
"""

from finetuner.builtin import numpy_xp as xp
from finetuner.builtin.chains import ChainStep, chain_graph, check_chain_plan, steps_before
from finetuner.builtin.numpy_gradients import LossGradients, loss_gradients
from finetuner.builtin.numpy_optimizer import Moments, clip, update
from finetuner.builtin.numpy_training import (
    NumpyModel,
    NumpyState,
    NumpyTraining,
    fresh_projection,
)

__all__ = [
    "ChainStep",
    "LossGradients",
    "Moments",
    "NumpyModel",
    "NumpyState",
    "NumpyTraining",
    "chain_graph",
    "check_chain_plan",
    "clip",
    "fresh_projection",
    "loss_gradients",
    "steps_before",
    "update",
    "xp",
]
