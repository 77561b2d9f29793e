"""Digests against hashlib and the published test vectors."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from finetuner.artifacts.digests import (
    VerifyingReader,
    digest_bytes,
    digest_file,
    digest_range,
    verify_file,
)
from finetuner.errors import ArtifactError, IntegrityError

# FIPS 180-4 examples
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_digests_are_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert digest_bytes(b"") == EMPTY
    assert digest_bytes(b"abc") == ABC
    assert digest_file(path) == (ABC, 3)


@pytest.mark.parametrize(("data", "sha256"), [(b"", EMPTY), (b"abc", ABC)])
def test_right_bytes_pass_through(data: bytes, sha256: str) -> None:
    with VerifyingReader(io.BytesIO(data), len(data), sha256, "x") as stream:
        assert stream.read() == data


def test_a_changed_byte_is_named_with_both_digests() -> None:
    reader = VerifyingReader(io.BytesIO(b"abd"), 3, ABC, "model.onnx")
    with pytest.raises(IntegrityError) as caught:
        reader.read()
    assert "model.onnx" in str(caught.value)
    assert ABC in str(caught.value)
    assert digest_bytes(b"abd") in str(caught.value)


def test_a_reader_that_stops_at_the_expected_size_never_gets_the_last_wrong_block() -> None:
    reader = VerifyingReader(io.BytesIO(b"abd"), 3, ABC, "x")
    assert reader.read(2) == b"ab"
    with pytest.raises(IntegrityError):
        reader.read(1)


@pytest.mark.parametrize("data", [b"ab", b"abcd", b""])
def test_another_size_is_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError, match="bytes where 3 were expected"):
        VerifyingReader(io.BytesIO(data), 3, ABC, "x").read()


def test_an_endless_stream_is_refused_as_soon_as_it_is_too_long() -> None:
    class Endless(io.RawIOBase):
        total = 0

        def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
            self.total += len(buffer)
            return len(buffer)

    source = Endless()
    with pytest.raises(IntegrityError):
        VerifyingReader(source, 10, ABC, "x").read()  # type: ignore[arg-type]
    assert source.total < 1 << 20


def test_a_reader_into_a_buffer_never_gets_the_last_wrong_block_either() -> None:
    buffer = bytearray(4)
    with pytest.raises(IntegrityError):
        VerifyingReader(io.BytesIO(b"abd"), 3, ABC, "x").readinto(buffer)
    assert buffer == bytes(4)


def test_a_source_that_can_only_be_read_is_read() -> None:
    class Plain:
        def __init__(self) -> None:
            self.left = b"abc"

        def read(self, size: int = -1) -> bytes:
            found, self.left = self.left[:size], self.left[size:]
            return found

    assert VerifyingReader(Plain(), 3, ABC, "x").read() == b"abc"  # type: ignore[arg-type]


def test_without_a_digest_the_size_alone_is_looked_at() -> None:
    assert VerifyingReader(io.BytesIO(b"abd"), 3, None, "x").read() == b"abd"
    with pytest.raises(IntegrityError, match=r"x is not .*: at least 4 bytes where 3 were exp"):
        VerifyingReader(io.BytesIO(b"abcd"), 3, None, "x").read()


def test_a_stretch_of_a_file_has_a_digest(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"..abc..")
    assert digest_range(tmp_path / "x", 2, 3) == ABC


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="model"):
        verify_file(tmp_path / "missing", 3, ABC, "model")


def test_an_error_while_reading_is_named() -> None:
    class Broken(io.RawIOBase):
        def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
            raise OSError("disk fell off")

    with pytest.raises(ArtifactError, match=r"model.*disk fell off"):
        VerifyingReader(Broken(), 3, ABC, "model").read()  # type: ignore[arg-type]
