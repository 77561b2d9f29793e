"""A training on PyTorch that is killed and resumed ends with the bits of one that never was."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

SCRIPT = """
    import sys
    from pathlib import Path
    import numpy as np
    import torch
    from torch import nn

    torch.set_num_threads(1)
    from finetuner.contracts import AdaptationPlan, FreezeDecision, OptimizerSpec, Schedule, Tap
    from finetuner.testing.objectives import Contrast
    from finetuner.training import Trainer
    from finetuner_torch.backend import TorchBackend

    class Rows:
        lengths = None
        values = np.random.default_rng(0).normal(size=(16, 6)).astype(np.float32)

        def __len__(self):
            return 16

        def chunks(self, rows, count, *, epoch=None):
            parts = np.array_split(rows, count)
            return tuple({"input": self.values[part]} for part in parts), rows

    class Sampler:
        def epoch(self, epoch):
            return list(np.random.default_rng(epoch).permutation(16).reshape(2, 8))

        def steps(self, epoch):
            return 2

    class Talks:
        def on_step_end(self, event):
            print(event.step, flush=True)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 4))
    plan = AdaptationPlan(
        framework="torch", model="Sequential", inputs=("input",), output="0", head=(),
        taps=(Tap("3"),), features=None, pooling=None, width=4, output_dim=3, normalize=True,
        freeze=FreezeDecision(), layers=(), reasons=(),
    )
    backend = TorchBackend()
    spec = OptimizerSpec(learning_rate=0.01, schedule=Schedule("cosine", 3, 80))
    objective = Contrast({"scale": np.array(2.0, np.float32)})
    state = backend.init(
        backend.adapt(model, plan, seed=1), spec, seed=5, device="cpu", dropout=None,
        parameters=objective.parameters,
    )
    directory = Path(sys.argv[1])
    result = Trainer(
        backend, state, Rows(), np.arange(16) % 2, Sampler(), objective, epochs=40, seed=3,
        directory=directory, callbacks=[Talks()], checkpoint_every=3, resume=True, progress=False,
    ).fit()
    found = {**dict(result.state.model.named_parameters()),
             **dict(result.state.model.named_buffers())}
    np.savez(directory / "weights.npz", **{n: t.detach().numpy() for n, t in found.items()})
"""


def run(directory: Path, kill_after: int | None) -> None:
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if kill_after is not None:
            assert process.stdout is not None
            for _ in itertools.islice(process.stdout, kill_after):
                pass
            os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=120)
    assert process.returncode == (0 if kill_after is None else -signal.SIGKILL)


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_killed_and_resumed_gives_the_same_bits(tmp_path):
    """With dropout, batch statistics and a learnable parameter of the objective."""
    run(tmp_path / "killed", 8)
    run(tmp_path / "killed", None)
    run(tmp_path / "whole", None)
    with (
        np.load(tmp_path / "killed/weights.npz") as one,
        np.load(tmp_path / "whole/weights.npz") as other,
    ):
        assert set(one.files) == set(other.files)
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
