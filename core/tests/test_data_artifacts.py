"""Training data in stores, from the outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import finetuner
from finetuner.errors import ArtifactError, NotFoundError, UsageError

pytest.importorskip("pyarrow")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FINETUNER_HOME", str(tmp_path / "home"))
    return f"file://{tmp_path}/store"


def test_what_was_pushed_is_the_same_data_elsewhere(store: str, tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("text,label\nred,a\nred hat,a\nblue,b\nblue hat,b\n")
    address = finetuner.push_data("shop", str(tmp_path / "shop.csv"), store=store)
    found = finetuner.pull_data(address)
    assert list(found.contents) == ["red", "red hat", "blue", "blue hat"]
    assert found.label_names == ("a", "b")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 0, 1, 1]
    pulled = finetuner.pull(f"{store}/shop", tmp_path / "pulled")
    assert sorted(path.name for path in pulled.iterdir()) == ["manifest.json", "rows-00000.parquet"]


def test_without_a_store_it_goes_home(store: str, tmp_path: Path) -> None:
    address = finetuner.push_data("shop", (["red", "blue"], ["a", "b"]))
    assert address.startswith((tmp_path / "home" / "store").as_uri())


def test_a_push_of_the_same_rows_is_the_same_content(store: str) -> None:
    rows = (["red", "blue"] * 100, ["a", "b"] * 100)
    finetuner.push_data("shop", rows, store=store)
    finetuner.push_data("copy", rows, store=store)
    sizes = [artifact.bytes for artifact in finetuner.list_artifacts(store, details=True)]
    assert finetuner.verify_store(store) == sizes[0] == sizes[1]


def test_models_and_data_sets_are_told_apart(store: str) -> None:
    address = finetuner.push_data("shop", (["red", "blue"], ["a", "b"]), store=store)
    with pytest.raises(ArtifactError, match=r"of a data set, not of a model.*train_data"):
        finetuner.get_model(address)
    with pytest.raises(NotFoundError, match="did you mean 'shop'"):
        finetuner.pull_data(f"{store}/shpo")


def test_a_secret_in_a_url_is_refused_and_not_repeated(store: str) -> None:
    for url in ("s3://user:hunter2@bucket/x", "az://c/x?sv=1&sig=hunter2"):
        with pytest.raises(UsageError, match="has a password or key in it") as caught:
            finetuner.push_data("shop", (["red"], ["a"]), store=url)
        assert "hunter2" not in str(caught.value)
        with pytest.raises(UsageError, match="has a password or key in it"):
            finetuner.fit("model", train_data=f"{url}/shop")


FIT = """
import numpy as np
import finetuner
from finetuner.builtin.numpy_model import LinearModel

pick = np.random.default_rng(0)
width = {width}
model = LinearModel(
    weight=pick.normal(scale=0.02, size=(width, 4)).astype(np.float32),
    bias=np.zeros(4, np.float32),
    head=pick.normal(size=(4, 3)).astype(np.float32),
)
{before}
run = finetuner.fit(
    model, train_data={address!r}, epochs=1, batch_size=16, to_onnx=False, progress=False,
    learning_rate=0.01
)
print(run.status(), run.config.train_data)
{after}
"""


def trained(address: str, width: int, before: str = "", after: str = "", options: str = "") -> str:
    script = FIT.format(address=address, width=width, before=before, after=after)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def rows(count: int, width: int) -> tuple[np.ndarray, list[int]]:
    labels = [number % 4 for number in range(count)]
    points = np.random.default_rng(0).standard_normal((count, width), dtype=np.float32)
    points[:, 0] += 5 * np.array(labels)
    return points, labels


def test_a_run_trains_from_an_address(store: str) -> None:
    address = finetuner.push_data("points", rows(80, 6), store=store, tag="v1")
    assert trained(f"{store}/points:v1", 6) == f"finished {store}/points:v1"
    assert trained(address, 6) == f"finished {address}"


WATCHED = """
import threading, time
import finetuner.runs.pipeline, pyarrow.parquet

def held():
    words = open("/proc/self/status").read().split("RssAnon:")[1].split()
    return int(words[0]) / 1024

start, most, over = held(), [0.0], []
def watch():
    while not over:
        most[0] = max(most[0], held() - start)
        time.sleep(0.005)
thread = threading.Thread(target=watch, daemon=True)
thread.start()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is told by /proc")
def test_a_set_is_trained_on_without_holding_it_in_memory(store: str) -> None:
    width, count = 100_000, 1500
    address = finetuner.push_data("large", rows(count, width), store=store)
    words = trained(address, width, WATCHED, "over.append(1); thread.join(); print(most[0])")
    state, _, held = words.split()
    assert state == "finished"
    assert float(held) < 300  # MB; the set has 600
