"""What importing and using core loads: no training framework, and nothing heavy at first."""

import os
import subprocess
import sys
import textwrap

import pytest

FRAMEWORKS = ("torch", "keras", "tensorflow", "jax", "transformers")


def loaded(script, tmp_path):
    """The top-level modules that are loaded when ``script`` ends, in a process of its own."""
    code = textwrap.dedent(script) + "\nimport sys; print('|'.join(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"FINETUNER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split("|"))


@pytest.mark.parametrize(
    "script",
    [
        "import finetuner",
        "import finetuner.contracts, finetuner.plugins, finetuner.errors, finetuner.arrays",
        "import finetuner.builtin.hooks",
    ],
)
def test_importing_loads_nothing_heavy(tmp_path, script):
    heavy = {*FRAMEWORKS, "numpy", "PIL", "tokenizers", "docarray", "onnxruntime", "pandas", "rich"}
    assert not heavy & loaded(script, tmp_path)


def test_the_version_is_that_of_the_distribution():
    import tomllib
    from pathlib import Path

    import finetuner

    project = Path(__file__).parents[1] / "pyproject.toml"
    assert finetuner.__version__ == tomllib.loads(project.read_text())["project"]["version"]


def test_the_commands_help_loads_no_framework_and_no_numpy(tmp_path):
    script = """
        import contextlib, io
        from finetuner.cli.main import main
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            main(["--help"])
    """
    assert not {*FRAMEWORKS, "numpy", "onnxruntime"} & loaded(script, tmp_path)


def test_a_whole_run_loads_no_framework_that_it_does_not_use(tmp_path):
    script = f"""
        import sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import finetuner
        from test_fit import QUICK, blobs, model
        run = finetuner.fit(model(), blobs(), **QUICK | {{"to_onnx": True}})
        finetuner.encode(finetuner.get_model(run.artifact_id), blobs()[0])
    """
    assert not {*FRAMEWORKS, "docarray", "pandas"} & loaded(script, tmp_path)
