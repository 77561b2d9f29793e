"""What is special to a store in a directory."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuner.artifacts import LocalStore, local_store
from finetuner.errors import ConflictError, NotFoundError, StoreError, UsageError


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def files(store: LocalStore) -> list[str]:
    """Every file below the root, temporary ones too."""
    return sorted(
        str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("file:///models/shop", "/models/shop"),
        ("file://localhost/models", "/models"),
        ("file:///my%20models/", "/my models"),
        ("/models", "/models"),
    ],
)
def test_urls_name_directories(url: str, root: str) -> None:
    assert LocalStore.from_url(url).root == Path(root)


def test_relative_paths_are_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert LocalStore.from_url("./models").root == tmp_path / "models"
    assert LocalStore.from_url("file://models").root == tmp_path / "models"
    assert LocalStore.from_url("~/models").root == Path("/home/me/models")


@pytest.mark.parametrize("url", ["file://", "file:///", "", "file:///a%00b", "s3://bucket"])
def test_urls_that_name_no_directory(url: str) -> None:
    with pytest.raises(UsageError, match="file://"):
        LocalStore.from_url(url)


def test_its_url_opens_it_again(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "my models%20")
    assert LocalStore.from_url(store.url).root == store.root


def test_opening_and_looking_make_no_directory(local: LocalStore) -> None:
    assert list(local.list()) == []
    with pytest.raises(NotFoundError):
        local.get("a")
    assert not local.root.exists()


def test_a_put_leaves_nothing_but_the_object(local: LocalStore) -> None:
    local.put("a/b", io.BytesIO(b"1"))
    local.put("a/c", io.BytesIO(b"1"), if_absent=True)
    with pytest.raises(ConflictError):
        local.put("a/c", io.BytesIO(b"2"), if_absent=True)
    assert files(local) == ["a/b", "a/c"]


def test_objects_are_not_executable(local: LocalStore) -> None:
    local.put("a", io.BytesIO(b"#!/bin/sh"))
    assert (local.root / "a").stat().st_mode & 0o111 == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("if_absent", [False, True])
def test_a_full_disk_keeps_the_old_object(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch, code: int, if_absent: bool
) -> None:
    local.put("old", io.BytesIO(b"old"))

    def full(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(local_store.os, "fsync", full)
    key = "new" if if_absent else "old"
    with pytest.raises(StoreError, match=rf"{key}: .*make room") as caught:
        local.put(key, io.BytesIO(b"new"), if_absent=if_absent)
    assert os.strerror(code) in str(caught.value)
    assert files(local) == ["old"]
    assert local.get("old").read() == b"old"


FULL_DISK = """
    import io, os, subprocess, sys
    from pathlib import Path
    from finetuner.artifacts import LocalStore
    from finetuner.errors import StoreError

    root = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(root)], check=True)
    store = LocalStore(root / "store")
    store.put("a", io.BytesIO(b"old"))
    try:
        store.put("a", io.BytesIO(bytes(1 << 20)))
    except StoreError as error:
        print(error)
    found = sorted(path.name for path in store.root.rglob("*") if path.is_file())
    print(found, store.get("a").read())
"""


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    space = ["unshare", "--user", "--map-root-user", "--mount"]
    root = tmp_path / "tiny"
    root.mkdir()
    probe = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(root)]
    try:
        allowed = subprocess.run([*space, *probe], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("mounting a small file system is not permitted here")
    done = subprocess.run(
        [*space, sys.executable, "-c", textwrap.dedent(FULL_DISK), str(root)],
        capture_output=True,
        text=True,
        check=True,
    )
    message, state = done.stdout.strip().splitlines()
    assert "No space left on device" in message
    assert "make room" in message
    assert state == "['a'] b'old'"


def test_a_writer_that_was_killed_is_invisible(local: LocalStore) -> None:
    local.put("a", io.BytesIO(b"1"))
    (local.root / ".tmp").mkdir(exist_ok=True)
    (local.root / ".tmp" / "1-dead").write_bytes(b"half")
    assert [info.key for info in local.list()] == ["a"]


def test_other_files_in_the_directory_are_not_objects(local: LocalStore) -> None:
    local.put("a", io.BytesIO(b"1"))
    (local.root / "my notes.txt").write_text("x")
    (local.root / ".git").mkdir()
    (local.root / ".git" / "config").write_text("x")
    assert [info.key for info in local.list()] == ["a"]


def test_links_are_not_followed(local: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    local.put("a", io.BytesIO(b"1"))
    (local.root / "link").symlink_to(tmp_path / "secret")
    assert [info.key for info in local.list()] == ["a"]
    for call in (local.get, local.stat, local.delete):
        with pytest.raises(NotFoundError):
            call("link")
    local.put("link", io.BytesIO(b"own"))
    assert (tmp_path / "secret").read_text() == "secret"
    assert local.get("link").read() == b"own"


def test_a_file_system_without_hard_links_is_refused(
    local: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(local_store.os, "link", refuse)
    local.put("a", io.BytesIO(b"1"))
    with pytest.raises(StoreError, match="no hard links"):
        local.put("b", io.BytesIO(b"1"), if_absent=True)
    assert files(local) == ["a"]


def test_a_store_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    store = LocalStore(tmp_path / "file")
    with pytest.raises(StoreError, match="cannot write"):
        store.put("a", io.BytesIO(b"1"))
    with pytest.raises(StoreError, match="cannot list"):
        list(store.list())
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="Permission denied"):
        LocalStore(tmp_path / "store").put("a", io.BytesIO(b"1"))


segments = st.sampled_from(["a", "b", "a.b", "a-b", "a0", "_"])


@settings(max_examples=40, deadline=None)
@given(
    st.sets(st.lists(segments, min_size=2, max_size=2).map("/".join), max_size=6),
    st.text("ab./-0", max_size=4),
    st.text("ab./-0", max_size=4),
)
def test_listing_is_that_of_a_flat_space(
    tmp_path_factory: pytest.TempPathFactory, keys: set[str], prefix: str, after: str
) -> None:
    store = LocalStore(tmp_path_factory.mktemp("flat"))
    for key in keys:
        path = store.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    expected = sorted(key for key in keys if key.startswith(prefix) and key > after)
    assert [info.key for info in store.list(prefix, after)] == expected
