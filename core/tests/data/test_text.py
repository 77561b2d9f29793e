from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetuner.contracts import Preprocessing
from finetuner.data.text import TextTokenizer, Tokens, read_tokenizer
from finetuner.errors import ArtifactError, UsageError

MakeSpec = Callable[..., Preprocessing]


def test_texts_become_flat_ids_and_offsets(tokenizer_file: Path, text_spec: MakeSpec) -> None:
    tokens = TextTokenizer(text_spec(), tokenizer_file).tokenize(["red shoe", "hat", "pink hat"])
    assert tokens.ids.tolist() == [1, 3, 6, 2, 1, 7, 2, 1, 9, 7, 2]
    assert tokens.ids.dtype == np.int32
    assert tokens.offsets.tolist() == [0, 4, 7, 11]
    assert tokens.lengths.tolist() == [4, 3, 4]
    assert len(tokens) == 3


def test_padding_is_on_the_right_and_masked(tokenizer_file: Path, text_spec: MakeSpec) -> None:
    spec = text_spec(padding_id=5)
    tokens = TextTokenizer(spec, tokenizer_file).tokenize(["red shoe", "hat"])
    inputs = tokens.padded(np.array([1, 0, 1]), 5, spec)
    assert list(inputs) == ["input_ids", "attention_mask", "token_type_ids"]
    assert inputs["input_ids"].tolist() == [[1, 7, 2, 5, 5], [1, 3, 6, 2, 5], [1, 7, 2, 5, 5]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 0, 0]]
    # The tokenizer file gives its last token the type 1.
    assert inputs["token_type_ids"].tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 1, 0, 0]]
    assert {values.dtype for values in inputs.values()} == {np.dtype(np.int64)}


def test_only_the_inputs_of_the_spec_are_made(tokenizer_file: Path, text_spec: MakeSpec) -> None:
    spec = text_spec("input_ids")
    tokens = TextTokenizer(spec, tokenizer_file).tokenize(["hat"])
    assert tokens.types is None
    assert list(tokens.padded(np.array([0]), 3, spec)) == ["input_ids"]


def test_max_length_counts_special_tokens(tokenizer_file: Path, text_spec: MakeSpec) -> None:
    tokenizer = TextTokenizer(text_spec(max_length=4), tokenizer_file)
    assert tokenizer.limit == 4
    assert tokenizer.tokenize(["red green blue hat"]).ids.tolist() == [1, 3, 4, 2]
    with pytest.raises(UsageError, match="max_length is 2, but the tokenizer adds 2"):
        TextTokenizer(text_spec(max_length=2), tokenizer_file)


def test_without_max_length_the_file_decides(
    tokenizer_file: Path, text_spec: MakeSpec, tmp_path: Path
) -> None:
    free = TextTokenizer(text_spec(max_length=None), tokenizer_file)
    assert free.limit is None
    assert len(free.tokenize(["hat " * 50]).ids) == 52
    own = read_tokenizer(tokenizer_file)
    own.enable_truncation(5, direction="left")
    own.enable_padding(length=9)
    own.save(str(tmp_path / "own.json"))
    file_rules = TextTokenizer(text_spec(max_length=None), tmp_path / "own.json")
    assert file_rules.tokenize(["red green blue hat"]).ids.tolist() == [1, 4, 5, 7, 2]
    shorter = TextTokenizer(text_spec(max_length=4), tmp_path / "own.json")
    assert shorter.tokenize(["red green blue hat"]).ids.tolist() == [1, 5, 7, 2]


def test_the_prefix_comes_first(tokenizer_file: Path, text_spec: MakeSpec) -> None:
    tokenizer = TextTokenizer(text_spec(prefix="red "), tokenizer_file)
    assert tokenizer.tokenize(["hat"]).ids.tolist() == [1, 3, 7, 2]


def test_no_text_at_all(tokenizer_file: Path, text_spec: MakeSpec) -> None:
    spec = text_spec()
    tokens = TextTokenizer(spec, tokenizer_file).tokenize([])
    assert len(tokens) == 0
    assert tokens.padded(np.arange(0), 1, spec)["input_ids"].shape == (0, 1)


def test_padding_never_truncates(tokenizer_file: Path, text_spec: MakeSpec) -> None:
    spec = text_spec()
    tokens = TextTokenizer(spec, tokenizer_file).tokenize(["red shoe"])
    with pytest.raises(UsageError, match="4 tokens does not fit the length 3"):
        tokens.padded(np.array([0]), 3, spec)


def test_a_broken_tokenizer_file_is_named(tmp_path: Path, text_spec: MakeSpec) -> None:
    bad = tmp_path / "tokenizer.json"
    with pytest.raises(ArtifactError, match="cannot be read"):
        TextTokenizer(text_spec(), bad)
    for content in (b"{", b"{}", b"\xff\xfe"):
        bad.write_bytes(content)
        with pytest.raises(ArtifactError, match="is not a tokenizer"):
            TextTokenizer(text_spec(), bad)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(data=st.data(), texts=st.lists(st.lists(st.integers(1, 9), max_size=9), min_size=1))
def test_the_ragged_cache_gives_back_every_row(
    data: st.DataObject, texts: list[list[int]], text_spec: MakeSpec
) -> None:
    flat = np.array([token for text in texts for token in text], dtype=np.int32)
    tokens = Tokens(flat, np.cumsum([0, *map(len, texts)]))
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=12))
    inputs = tokens.padded(np.array(rows, dtype=np.int64), 9, text_spec())
    for place, row in enumerate(rows):
        padding = [0] * (9 - len(texts[row]))
        assert inputs["input_ids"][place].tolist() == texts[row] + padding
        assert inputs["attention_mask"][place].tolist() == [1] * len(texts[row]) + padding
