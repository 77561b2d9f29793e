"""``file://``: a store in a directory, safe for several writers on one file system."""

from __future__ import annotations

import errno
import io
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO
from urllib.parse import quote, unquote

from finetuner.artifacts.digests import BLOCK
from finetuner.artifacts.keys import check_key, is_segment
from finetuner.artifacts.streams import RangeReader, range_length
from finetuner.contracts import ObjectInfo
from finetuner.errors import ConflictError, NotFoundError, StoreError, UsageError

_TEMPORARY = ".tmp"
"""Where objects grow before they get their names; no key can begin with a dot."""

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not block
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class LocalStore:
    """Objects as files below ``root``, which is made by the first ``put``.

    An object appears under its name only when all its bytes are on the disk. A
    writer that dies leaves a file in ``.tmp`` and nothing else.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).expanduser().absolute()
        self.url = f"file://{quote(str(self.root))}"

    @classmethod
    def from_url(cls, url: str) -> LocalStore:
        """``file:///absolute``, ``file://relative`` (to the working directory) or a plain path."""
        scheme, separator, rest = url.partition("://")
        if separator and scheme.lower() != "file":
            raise UsageError(f"{url!r} is not a file:// URL")
        path = unquote(rest) if separator else url
        if separator and path.startswith("localhost/"):
            path = path.removeprefix("localhost")
        if not path.strip("/") or "\0" in path:
            raise UsageError(f"{url!r} names no directory: use file:///path/to/store")
        return cls(path)

    def put(self, key: str, stream: BinaryIO, *, if_absent: bool = False) -> None:
        target = self._path(key)
        temporary = self.root / _TEMPORARY / f"{os.getpid()}-{secrets.token_hex(8)}"
        with self._errors("write", key):
            try:
                temporary.parent.mkdir(parents=True, exist_ok=True)
                _write(temporary, stream)
                target.parent.mkdir(parents=True, exist_ok=True)
                if if_absent:
                    self._link(temporary, target, key)
                else:
                    os.replace(temporary, target)
                _sync_directory(target.parent)
            finally:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def get(self, key: str, start: int = 0, end: int | None = None) -> BinaryIO:
        length = range_length(start, end)
        with self._errors("read", key):
            descriptor = os.open(self._path(key), _READ)
            if not S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise NotFoundError(f"there is nothing at {self.url}/{key}")
            source = os.fdopen(descriptor, "rb", buffering=0)
            source.seek(start)
        reader = RangeReader(source, length, f"{self.url}/{key}")
        return io.BufferedReader(reader, BLOCK)

    def stat(self, key: str) -> ObjectInfo:
        with self._errors("look at", key):
            status = os.lstat(self._path(key))
        if not S_ISREG(status.st_mode):
            raise NotFoundError(f"there is nothing at {self.url}/{key}")
        return ObjectInfo(key, status.st_size, status.st_mtime)

    def list(self, prefix: str = "", after: str = "") -> Iterator[ObjectInfo]:
        # Straight to where the keys are: a look at one tag costs nothing by the others.
        base = prefix[: prefix.rfind("/") + 1]
        directory, parts = self.root, base.split("/")[:-1]
        for part in parts:
            directory /= part
        if all(map(is_segment, parts)) and not self._through_link(directory):
            yield from self._walk(directory, base, prefix, after)

    def delete(self, key: str) -> None:
        self.stat(key)
        with self._errors("delete", key):
            self._path(key).unlink()

    def tidy(self, before: float) -> int:
        """Remove the files of writers that died; bytes freed."""
        freed = 0
        with self._errors("list", _TEMPORARY), suppress(FileNotFoundError):
            for path in (self.root / _TEMPORARY).iterdir():
                with suppress(FileNotFoundError):
                    status = path.lstat()
                    if status.st_mtime < before:
                        path.unlink()
                        freed += status.st_size
        return freed

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _through_link(self, directory: Path) -> bool:
        """Whether the way from the root to ``directory`` leads over a symbolic link."""
        while directory != self.root:
            if directory.is_symlink():
                return True
            directory = directory.parent
        return False

    def _link(self, temporary: Path, target: Path, key: str) -> None:
        try:
            os.link(temporary, target)  # the one call that fails if the name is taken
        except FileExistsError:
            raise ConflictError(f"{self.url}/{key} is already there") from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            raise StoreError(
                f"{self.url}: this file system has no hard links ({error.strerror}), without "
                "which two writers could overwrite each other: use another directory"
            ) from error

    def _walk(self, directory: Path, base: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """Objects below ``directory`` in the order of their whole keys."""
        for name, entry in self._entries(directory):
            key = base + name
            if name.endswith("/"):
                relevant = key.startswith(prefix) or prefix.startswith(key)
                if relevant and (after < key or after.startswith(key)):
                    yield from self._walk(Path(entry.path), key, prefix, after)
            elif key.startswith(prefix) and key > after:
                with suppress(FileNotFoundError):  # deleted while we looked
                    status = entry.stat(follow_symlinks=False)
                    yield ObjectInfo(key, status.st_size, status.st_mtime)

    def _entries(self, directory: Path) -> Sequence[tuple[str, os.DirEntry[str]]]:
        with self._errors("list", str(directory.relative_to(self.root))):
            try:
                with os.scandir(directory) as entries:
                    known = [entry for entry in entries if is_segment(entry.name)]
            except FileNotFoundError:
                return []
            except NotADirectoryError:
                if directory == self.root:
                    raise
                return []
        # A directory sorts as its keys do: "a.b" comes before "a/b".
        named = [
            (entry.name + "/" * entry.is_dir(follow_symlinks=False), entry)
            for entry in known
            if not entry.is_symlink()
        ]
        return sorted(named, key=lambda pair: pair[0])

    @contextmanager
    def _errors(self, doing: str, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            if doing in ("write", "list"):
                raise StoreError(f"cannot {doing} {self.url}/{key}: {error}") from error
            raise NotFoundError(f"there is nothing at {self.url}/{key}") from None
        except OSError as error:
            if error.errno == errno.ELOOP:  # a link where an object should be
                raise NotFoundError(f"there is nothing at {self.url}/{key}") from None
            advice = "make room and do it again" if error.errno in _FULL else "check the path"
            raise StoreError(
                f"cannot {doing} {self.url}/{key}: {error.strerror or error}; "
                f"the store is as it was: {advice}"
            ) from error


def _write(path: Path, stream: BinaryIO) -> None:
    """The whole stream as a new file, on the disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(stream, file, BLOCK)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
