"""Files are cut where their bytes say, and put together again exactly."""

from __future__ import annotations

import io
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetuner.artifacts.chunking import (
    MAX_CHUNK,
    WHOLE,
    Piece,
    cut_file,
    cut_stream,
    decode_chunks,
    encode_chunks,
    is_cut,
)
from finetuner.contracts import FileEntry
from finetuner.errors import ArtifactError, IntegrityError

MIB = 1 << 20


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def entry_of(data: bytes) -> FileEntry:
    return FileEntry("model.onnx", len(data), sha256(data).hexdigest())


def cut(data: bytes) -> list[Piece]:
    return [piece for piece, _ in cut_stream(io.BytesIO(data), len(data))]


def test_small_files_are_kept_whole() -> None:
    assert not is_cut(WHOLE - 1)
    assert is_cut(WHOLE)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4 * MIB), st.integers(0, 3))
def test_pieces_are_the_file_in_order(size: int, seed: int) -> None:
    data = noise(size, seed)
    pieces = cut(data)
    assert b"".join(data[p.offset : p.offset + p.size] for p in pieces) == data
    assert [p.offset for p in pieces[1:]] == [p.offset + p.size for p in pieces[:-1]]
    for piece in pieces:
        assert piece.sha256 == sha256(data[piece.offset :][: piece.size]).hexdigest()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 3 * MIB), st.binary(min_size=1, max_size=200))
def test_an_insertion_anywhere_leaves_the_other_pieces_alone(place: int, inserted: bytes) -> None:
    data = noise(3 * MIB)
    before = {piece.sha256 for piece in cut(data)}
    after = cut(data[:place] + inserted + data[place:])
    fresh = sum(piece.size for piece in after if piece.sha256 not in before)
    assert fresh <= 5 * 256 * 1024  # two largest pieces, and what it takes to fall in step


def test_bytes_without_features_are_cut_too() -> None:
    pieces = cut(bytes(3 * MIB))
    assert max(piece.size for piece in pieces) <= MAX_CHUNK
    assert len({piece.sha256 for piece in pieces}) <= 2


@pytest.mark.parametrize(
    ("size", "mean"), [(8 * MIB, 64 << 10), (40 * MIB, 512 << 10), (300 * MIB, 4 * MIB)]
)
def test_larger_files_have_larger_pieces(size: int, mean: int) -> None:
    data = noise(min(size, 40 * MIB))
    pieces = [piece for piece, _ in cut_stream(io.BytesIO(data), size)]  # the size said decides
    assert mean / 2 < np.mean([piece.size for piece in pieces]) < 2 * mean
    assert max(piece.size for piece in pieces) <= min(4 * mean, MAX_CHUNK)


def test_a_file_is_verified_while_it_is_cut(tmp_path: Path) -> None:
    data = noise(2 * MIB)
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    found = [(piece, bytes(chunk)) for piece, chunk in cut_file(path, entry_of(data))]
    assert [piece for piece, _ in found] == cut(data)
    assert b"".join(chunk for _, chunk in found) == data
    path.write_bytes(data[:-1] + b"x")
    with pytest.raises(IntegrityError, match=r"model\.onnx is not what its manifest says"):
        list(cut_file(path, entry_of(data)))
    with pytest.raises(ArtifactError, match="cannot be read"):
        list(cut_file(tmp_path / "missing", entry_of(data)))


@given(st.lists(st.tuples(st.integers(1, MAX_CHUNK), st.binary(max_size=4)), max_size=20))
def test_a_list_of_chunks_comes_back(drawn: list[tuple[int, bytes]]) -> None:
    offsets = [sum(size for size, _ in drawn[:i]) for i in range(len(drawn))]
    pieces = tuple(
        Piece(offset, size, sha256(name).hexdigest())
        for offset, (size, name) in zip(offsets, drawn, strict=True)
    )
    entry = FileEntry("model.onnx", sum(size for size, _ in drawn), "0" * 64)
    assert decode_chunks(encode_chunks(pieces), entry, "there") == pieces


ZEROS = "0" * 64


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no list of chunks"),
        (b"[]", "no list of chunks"),
        (b"\xff", "no list of chunks"),
        (b"[" * 100_000, "no list of chunks"),
        (b'{"version": 1}', "no list of chunks"),
        (b'{"version": 2, "chunks": []}', "version 2.*upgrade"),
        (
            f'{{"version": 1, "chunks": [[9, "{ZEROS}"]]}}'.encode(),
            "9 bytes, but .* has 10",
        ),
        (f'{{"version": 1, "chunks": [[-1, "{ZEROS}"]]}}'.encode(), "chunk of -1 bytes"),
        (f'{{"version": 1, "chunks": [[0, "{ZEROS}"]]}}'.encode(), "chunk of 0 bytes"),
        (f'{{"version": 1, "chunks": [[{1 << 40}, "{ZEROS}"]]}}'.encode(), "chunk of 10995"),
        (b'{"version": 1, "chunks": [[10, "../../x"]]}', "malformed digest"),
        (f'{{"version": 1, "chunks": [[10, "{"A" * 64}"]]}}'.encode(), "malformed digest"),
    ],
)
def test_a_list_that_cannot_be_used_is_named(data: bytes, problem: str) -> None:
    with pytest.raises(ArtifactError, match=problem) as caught:
        decode_chunks(data, FileEntry("model.onnx", 10, ZEROS), "store/chunks/x")
    assert "store/chunks/x" in str(caught.value)
