"""Artifacts in stores: bytes of a second push, 10,000 artifacts, kills, and rates beside peers.

Without ``--s3`` everything runs against ``file://`` stores in a temporary directory.
``--s3 s3://BUCKET/PREFIX`` adds the transfers to an object store beside boto3's transfer
manager and the aws CLI, whichever of them is installed, as whole processes in turns;
the endpoint and credentials are found as those tools find them (``AWS_ENDPOINT_URL``,
``AWS_ACCESS_KEY_ID``, …). The figure of a kill row is the number of things found wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from _harness import Row, interval, paired, report, seconds
from _peers import peers, process

from finetuner.artifacts import (
    Count,
    LocalStore,
    collect_garbage,
    list_artifacts,
    open_store,
    pull,
    push,
    verify_artifacts,
    verify_bundle,
    write_manifest,
)
from finetuner.artifacts.keys import blob_key, manifest_key, ref_key
from finetuner.artifacts.threads import parallel
from finetuner.contracts import InputSpec, Manifest, Preprocessing
from finetuner.errors import FinetunerError
from finetuner.plugins.host import default_host

ARTIFACTS = 10_000
MIB = 1 << 20


def manifest(name: str) -> Manifest:
    inputs = (InputSpec("array", "float32", (None, 4)),)
    return Manifest(name, Preprocessing("array", inputs), width=2, files=())


def noise(size: int, seed: int) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def write_bundle(directory: Path, files: dict[str, bytes], name: str = "shop") -> Path:
    directory.mkdir(parents=True)
    for path, data in files.items():
        (directory / path).write_bytes(data)
    write_manifest(directory, manifest(name))
    return directory


def tuned(width: int, layers: int, head: int) -> dict[str, np.ndarray]:
    """Weights of a frozen backbone with a projection that was trained."""
    weights = {}
    for layer in range(layers):
        draw = np.random.default_rng(layer)
        for name, shape in (("attention", (4, width, width)), ("mlp", (8, width, width))):
            weights[f"encoder.{layer}.{name}"] = draw.standard_normal(shape, dtype=np.float32)
            weights[f"encoder.{layer}.{name}.bias"] = draw.standard_normal(width, dtype=np.float32)
    trained = np.random.default_rng(1000 + head)
    weights["projection"] = trained.standard_normal((width, 128), dtype=np.float32)
    return weights


def as_safetensors(weights: dict[str, np.ndarray], note: str) -> bytes:
    from safetensors.numpy import save

    return save(weights, metadata={"run": note})


def as_onnx(weights: dict[str, np.ndarray], note: str) -> bytes:
    """An ONNX file with the weights as its initializers, and a note before them."""
    from onnx import helper, numpy_helper

    nodes = [helper.make_node("Identity", [name], [f"{name}.out"]) for name in weights]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, note, [], [], tensors)
    model = helper.make_model(graph, producer_name=note)
    return bytes(model.SerializeToString())


def second_push(room: Path) -> list[Row]:
    """Share of the bytes that a second fine-tuning of a frozen backbone sends."""
    rows = []
    for label, width, layers in (("10 MB", 192, 6), ("85 MB", 384, 12), ("340 MB", 768, 12)):
        for kind, encode in (("onnx", as_onnx), ("safetensors", as_safetensors)):
            place = room / f"{label}-{kind}".replace(" ", "")
            store = LocalStore(place / "store")
            name = "model.onnx" if kind == "onnx" else "weights.safetensors"
            for number in range(2):
                data = encode(tuned(width, layers, number), f"run-{number}")
                bundle = write_bundle(place / str(number), {name: data}, f"run-{number}")
                count = Count()
                push(bundle, store, f"run-{number}", watcher=count)
            share = count.moved / (count.moved + count.found)
            rows.append(Row(f"second push, {kind} of {label}: share sent", share, 0.15, "lower"))
            shutil.rmtree(place)
    return rows


def fill(store: LocalStore, bundle: Path) -> None:
    """Artifacts in a store, as pushes would leave them, without waiting for the disk."""
    raw = json.loads((bundle / "manifest.json").read_bytes())
    for number in range(ARTIFACTS):
        data = json.dumps(raw | {"name": f"model-{number}", "created": str(number)}).encode()
        digest = sha256(data).hexdigest()
        ref = {"manifest": digest, "nonce": f"{number:032x}", "created": "2026-01-01T00:00:00"}
        for key, content in (
            (manifest_key(digest), data),
            (blob_key(digest), data),
            (ref_key(f"model-{number}", "latest", 1), json.dumps(ref).encode()),
        ):
            path = store.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def many_artifacts(room: Path, pairs: int) -> list[Row]:
    bundle = write_bundle(room / "small", {"model.onnx": noise(100_000, 0)})
    full, empty = LocalStore(room / "full"), LocalStore(room / "empty")
    fill(full, bundle)
    os.sync()  # or the first pushes would wait for all that was written
    listing = min(seconds(lambda: list_artifacts(full)) for _ in range(3))
    detailed = seconds(lambda: list_artifacts(full, details=True))

    def pushed(store: LocalStore) -> Callable[[], object]:
        return lambda: push(bundle, store, "shop", force=True)

    ratio = paired(pushed(full), pushed(empty), pairs)
    return [
        Row(f"ls of {ARTIFACTS:,} artifacts, seconds", listing, 2.0, "lower"),
        Row(f"ls --long of {ARTIFACTS:,} artifacts, seconds", detailed, None, "lower"),
        Row("push into them / into an empty store", ratio, 1.1, "lower"),
    ]


def forked(work: Callable[[], object], patience: float) -> bool:
    """Whether ``work`` came to its end in a child that is killed after ``patience`` seconds."""
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    end = time.monotonic() + patience
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def kills(room: Path, count: int, size: int) -> list[Row]:
    """Pushes and pulls killed at random moments, and what is wrong afterwards."""
    store, draw = LocalStore(room / "store"), random.Random(0)
    bundles = [
        write_bundle(
            room / f"b{number}",
            {"weights.safetensors": noise(size, number), "README.md": b"# x\n"},
            f"run-{number}",
        )
        for number in range(4)
    ]
    push(bundles[0], store, "shop")
    sending = seconds(lambda: push(bundles[0], LocalStore(room / "timed"), "shop"))
    fetching = seconds(lambda: pull(f"{store.url}/shop", room / "timed-out", lambda url: store))
    finished = problems = killed = number = 0
    while killed < count:
        number += 1
        if number % 2:
            target = room / f"pulled-{number}"
            fetch = partial(pull, f"{store.url}/shop", target, lambda url: store)
            done = forked(fetch, draw.uniform(0, fetching))
            problems += _wrong(partial(verify_bundle, target), done or target.exists())
            shutil.rmtree(target, ignore_errors=True)
        else:
            weights = room / "next" / "weights.safetensors"
            shutil.rmtree(room / "next", ignore_errors=True)
            write_bundle(room / "next", {weights.name: noise(size, 100 + number)}, "next")
            send = partial(push, room / "next", store, "shop", force=True)
            done = forked(send, draw.uniform(0, sending))
        finished += done
        killed += not done
        problems += _wrong(partial(verify_artifacts, store), True)
        if number % 10 == 0:
            problems += _wrong(partial(collect_garbage, store), True)
    for number, bundle in enumerate(bundles):
        problems += _wrong(lambda b=bundle, n=number: push(b, store, f"run-{n}"), True)
    collect_garbage(store, now=True)
    problems += _wrong(lambda: verify_artifacts(store), True)
    again = LocalStore(room / "again")
    for number, bundle in enumerate(bundles):
        push(bundle, again, f"run-{number}")
    latest = pull(f"{store.url}/shop", room / "last", lambda url: store)
    push(latest, again, "shop")
    collect_garbage(again, now=True)
    left, expected = _content(store), _content(again)
    return [
        Row(f"{count} pushes and pulls killed: things wrong", problems, 0, "lower"),
        Row("others that came to their end before the kill", finished, None, "lower"),
        Row("bytes beyond what is referenced, after gc --now", left - expected, 0, "lower"),
    ]


def _content(store: LocalStore) -> int:
    """Bytes of all files below the store's root that are content, hidden ones among them."""
    kept = ("refs", "probe")
    return sum(
        path.stat().st_size
        for path in store.root.rglob("*")
        if path.is_file() and path.relative_to(store.root).parts[0] not in kept
    )


def _wrong(work: Callable[[], object], asked: bool) -> int:
    if not asked:
        return 0
    try:
        work()
    except FinetunerError as error:
        print(f"wrong: {error}", file=sys.stderr)
        return 1
    return 0


def memory(room: Path, size: int) -> list[Row]:
    """Peak memory of processes that push and pull a large bundle."""
    bundle = large_bundle(room, size)
    store = f"file://{room / 'memory'}"
    rows = []
    for what, command in (
        ("push", _ours("push", str(bundle), store)),
        ("pull", _ours("pull", f"{store}/big", str(room / "memory-out"))),
    ):
        _, peak = process(command)
        rows.append(Row(f"{what} of {size // MIB} MiB to file://, peak MB", peak, 200, "lower"))
    shutil.rmtree(room / "memory-out")
    return rows


def large_bundle(room: Path, size: int) -> Path:
    bundle = room / "big"
    if not bundle.exists():
        half = size // 2 // MIB
        bundle.mkdir()
        for number, name in enumerate(("model.onnx", "weights.safetensors")):
            with (bundle / name).open("wb") as file:
                for block in range(half):
                    file.write(noise(MIB, number * half + block))
        write_manifest(bundle, manifest("big"))
    return bundle


def _ours(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from finetuner.cli.main import main; main()", *arguments]


def empty(url: str) -> None:
    """Delete all below ``url``: a server may keep its objects in memory."""
    store = open_store(url, default_host())
    keys = [info.key for info in store.list()]
    for _ in parallel(store.delete, keys):
        pass
    time.sleep(5)  # a server frees what was deleted a little later


def object_store(room: Path, url: str, size: int, pairs: int) -> list[Row]:
    """Rate against the fastest peer, pairwise as processes, and peak memory."""
    bundle = large_bundle(room, size)
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    out = room / "object-out"
    ratios: dict[str, list[float]] = {"push": [], "pull": []}
    peaks = {"push": 0.0, "pull": 0.0}
    for number in range(pairs):
        place = f"{prefix}/{time.time_ns()}" if prefix else str(time.time_ns())
        ours = (
            _ours("push", str(bundle), f"s3://{bucket}/{place}/ours"),
            _ours("pull", f"s3://{bucket}/{place}/ours/big", str(out)),
        )
        known = {"ours": ours, **peers(bundle, out, bucket, place)}
        names = sorted(known, reverse=bool(number % 2))
        for step, what in enumerate(("push", "pull")):
            times = {}
            for name in names:
                shutil.rmtree(out, ignore_errors=True)
                if name != "ours":
                    out.mkdir()
                times[name], peak = process(known[name][step])
                if name == "ours":
                    peaks[what] = max(peaks[what], peak)
                print(f"{what} {name}: {times[name]:.2f} s", file=sys.stderr)
            best = min(spent for name, spent in times.items() if name != "ours")
            ratios[what].append(best / times["ours"])
        empty(f"s3://{bucket}/{place}")
    rows = [
        Row(f"{what} of {size // MIB} MiB, rate / fastest peer", interval(found), 0.8, "higher")
        for what, found in ratios.items()
    ]
    return rows + [
        Row(f"{what} of {size // MIB} MiB to {url}, peak MB", peak, 200, "lower")
        for what, peak in peaks.items()
    ]


@contextlib.contextmanager
def rooms(base: Path) -> Iterator[Callable[[str], Path]]:
    """Directories by name, each removed when the next one is made."""
    made: list[Path] = []

    def room(name: str) -> Path:
        while made:
            shutil.rmtree(made.pop(), ignore_errors=True)
        made.append(base / name)
        made[-1].mkdir()
        return made[-1]

    yield room


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int, default=30, help="of pushes of a small bundle")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large bundle")
    parser.add_argument("--s3", help="s3://BUCKET/PREFIX of a server to transfer to")
    parser.add_argument("--s3-pairs", type=int, default=3)
    parser.add_argument("--only", action="append", help="second, many, kills, memory, s3")
    options = parser.parse_args()
    size = options.size * MIB
    parts: dict[str, Callable[[Path], list[Row]]] = {
        "second": second_push,
        "many": lambda room: many_artifacts(room, options.pairs),
        "kills": lambda room: kills(room, options.kills, 16 * MIB),
        "memory": lambda room: memory(room, size),
    }
    if options.s3:
        parts["s3"] = lambda room: object_store(room, options.s3, size, options.s3_pairs)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="finetuner-store-") as base, rooms(Path(base)) as room:
        for name, part in parts.items():
            if not options.only or name in options.only:
                rows += part(room(name))
    return report(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
