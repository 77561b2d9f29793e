"""The entry point is light, and loads the backend when asked."""

from __future__ import annotations

import subprocess
import sys

from finetuner_torch.hooks import finetuner_backends


def test_looking_at_the_records_imports_no_torch():
    code = (
        "import sys; from finetuner_torch import hooks; "
        "list(hooks.finetuner_backends()), list(hooks.finetuner_backbones()); "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_record_loads_the_backend():
    (record,) = finetuner_backends()
    backend = record.load()
    assert (
        (record.name, record.framework) == (backend.name, backend.framework) == ("torch", "torch")
    )
