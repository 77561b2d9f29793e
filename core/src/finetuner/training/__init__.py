"""The one training loop, its callbacks and checkpoints."""

from finetuner.training.callbacks import (
    Callback,
    EpochEnd,
    EpochRecord,
    Evaluated,
    StepEnd,
    Stop,
    TrainBegin,
    TrainEnd,
)
from finetuner.training.evaluation import embed_all
from finetuner.training.loader import batch_key
from finetuner.training.session import TrainingResult
from finetuner.training.setup import total_steps
from finetuner.training.trainer import Trainer

__all__ = [
    "Callback",
    "EpochEnd",
    "EpochRecord",
    "Evaluated",
    "StepEnd",
    "Stop",
    "TrainBegin",
    "TrainEnd",
    "Trainer",
    "TrainingResult",
    "batch_key",
    "embed_all",
    "total_steps",
]
