"""Models and training data on their way through a cloud, from the outside."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import finetuner
from finetuner.artifacts import verify_bundle, write_manifest
from finetuner.contracts import InputSpec, Manifest, Preprocessing
from finetuner.errors import ConflictError, NotFoundError, StoreError
from servers.process import Server


@pytest.fixture(params=["moto", "radosgw", "azurite", "fake_gcs"])
def server(request: pytest.FixtureRequest, use: Callable[[Server], Server]) -> Server:
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return use(found)


@pytest.fixture
def store(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FINETUNER_HOME", str(tmp_path / "home"))
    bucket = f"travel-{secrets.token_hex(6)}"
    server.make_bucket(bucket)
    return f"{server.scheme}://{bucket}/models"


def bundle(directory: Path, weights: bytes, recall: float = 0.5) -> Path:
    directory.mkdir()
    (directory / "weights.safetensors").write_bytes(weights)
    inputs = (InputSpec("array", "float32", (None, 4)),)
    metrics = {"after": {"recall@1": recall}}
    write_manifest(
        directory,
        Manifest("shop", Preprocessing("array", inputs), width=2, files=(), metrics=metrics),
    )
    return directory


def finetuner_command(*arguments: str) -> str:
    main = "from finetuner.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", main, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_works(store: str, tmp_path: Path) -> None:
    backbone = np.random.default_rng(0).bytes(3 << 20)
    first = bundle(tmp_path / "a", backbone + b"head")
    second = bundle(tmp_path / "b", backbone + b"other head", recall=0.75)
    address = finetuner_command("push", str(first), store).strip()
    finetuner_command("push", str(second), store, "--force")
    finetuner_command("tag", address, "old")
    listed = json.loads(finetuner_command("ls", store, "--json"))
    assert {row["tag"] for row in listed} == {"latest", "old"}
    told = finetuner_command("diff", f"{store}/shop:old", f"{store}/shop:latest")
    assert "recall@1" in told
    finetuner_command("verify", address)
    pulled = tmp_path / "pulled"
    finetuner_command("pull", f"{store}/shop:old", str(pulled))
    verify_bundle(pulled)
    assert (pulled / "weights.safetensors").read_bytes() == backbone + b"head"
    finetuner_command("rm", f"{store}/shop:old")
    finetuner_command("gc", store, "--now")
    finetuner_command("verify", store, "--all")
    with pytest.raises(NotFoundError):
        finetuner.pull(address, tmp_path / "gone")


def test_what_is_not_there_is_told_with_near_names(store: str, tmp_path: Path) -> None:
    finetuner.push(bundle(tmp_path / "a", b"weights"), store)
    with pytest.raises(NotFoundError, match="did you mean 'shop'") as caught:
        finetuner.pull(f"{store}/shpo", tmp_path / "out" / "pulled")
    assert store in str(caught.value)
    with pytest.raises(NotFoundError, match="did you mean 'latest'"):
        finetuner.pull(f"{store}/shop:lates", tmp_path / "out" / "pulled")
    assert not (tmp_path / "out").exists()


def test_a_bucket_that_is_not_there_is_told(server: Server, tmp_path: Path) -> None:
    store = f"{server.scheme}://no-such-{secrets.token_hex(6)}/models"
    ours = bundle(tmp_path / "a", b"weights")
    missing = r"has no (bucket|container) 'no-such.*mend the URL"
    with pytest.raises(StoreError, match=missing) as caught:
        finetuner.push(ours, store)
    assert store in str(caught.value)
    with pytest.raises(StoreError, match=missing):
        finetuner.pull(f"{store}/shop", tmp_path / "out" / "pulled")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("server", ["radosgw"], indirect=True)
def test_somebody_without_permission_changes_nothing(
    server: Server, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = finetuner.push(bundle(tmp_path / "a", b"ours"), store)
    with monkeypatch.context() as patch:
        for name, value in server.stranger.items():
            patch.setenv(name, value)
        for refused in (
            lambda: finetuner.push(bundle(tmp_path / "b", b"theirs"), store),
            lambda: finetuner.pull(address, tmp_path / "out" / "pulled"),
        ):
            with pytest.raises(StoreError, match="do not permit this: s3:GetObject") as caught:
                refused()
            assert store in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert finetuner.verify_store(store)
    assert [found.artifact_id for found in finetuner.list_artifacts(store, details=True)] == [
        address
    ]


def test_a_tag_that_somebody_moved_meanwhile_is_told(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetuner.artifacts import uploads

    theirs, ours = bundle(tmp_path / "a", b"theirs"), bundle(tmp_path / "b", b"ours")
    seen = uploads.last_number

    def then_moved(*arguments: object) -> int:
        number = seen(*arguments)  # type: ignore[arg-type]
        monkeypatch.setattr(uploads, "last_number", seen)
        finetuner.push(theirs, store)
        return number

    monkeypatch.setattr(uploads, "last_number", then_moved)
    with pytest.raises(ConflictError, match="moved by somebody else meanwhile"):
        finetuner.push(ours, store)
    pulled = finetuner.pull(f"{store}/shop", tmp_path / "pulled")
    assert (pulled / "weights.safetensors").read_bytes() == b"theirs"


FIT = """
import threading, time
import numpy as np
import finetuner, finetuner.runs.pipeline, pyarrow.parquet
from finetuner.builtin.numpy_model import LinearModel

def held():
    return int(open("/proc/self/status").read().split("RssAnon:")[1].split()[0]) / 1024

start, most, over = held(), [0.0], []
def watch():
    while not over:
        most[0] = max(most[0], held() - start)
        time.sleep(0.005)
thread = threading.Thread(target=watch, daemon=True)
thread.start()
pick = np.random.default_rng(0)
model = LinearModel(
    weight=pick.normal(scale=0.02, size=({width}, 4)).astype(np.float32),
    bias=np.zeros(4, np.float32),
    head=pick.normal(size=(4, 3)).astype(np.float32),
)
run = finetuner.fit(
    model, train_data={address!r}, epochs=1, batch_size=16, to_onnx=False, progress=False,
    learning_rate=0.01
)
over.append(1)
thread.join()
print(run.status(), most[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
@pytest.mark.parametrize("server", ["moto"], indirect=True)
def test_a_set_larger_than_the_memory_is_trained_on_from_its_address(store: str) -> None:
    pytest.importorskip("pyarrow")
    width, count = 100_000, 1500
    labels = [number % 4 for number in range(count)]
    points = np.random.default_rng(0).standard_normal((count, width), dtype=np.float32)
    finetuner.push_data("points", (points, labels), store=store, tag="v1")
    script = FIT.format(width=width, address=f"{store}/points:v1")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    state, held = done.stdout.split()
    assert state == "finished"
    assert float(held) < 300  # MB; the set has 600
