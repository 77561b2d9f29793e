"""The built-in host, a tiny word tokenizer, and pictures on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetuner.contracts import InputSpec, Preprocessing
from finetuner.data import LabeledDataset, load_dataset
from finetuner.plugins.host import Host, default_host

WORDS = ("red", "green", "blue", "shoe", "hat", "coat")


@pytest.fixture(scope="session")
def host() -> Host:
    return default_host()


@pytest.fixture
def load(host: Host) -> Callable[..., LabeledDataset]:
    """``load(data, **keywords)``: ``load_dataset`` with the built-in readers."""

    def call(data: object, **keywords: Any) -> LabeledDataset:
        return load_dataset(data, host, **keywords)

    return call


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words are tokens 3 to 8, ``[CLS]`` is 1 and ``[SEP]`` is 2 at the end, ``[PAD]`` is 0."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    vocabulary = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2}
    vocabulary |= {word: index for index, word in enumerate(WORDS, 3)} | {"[UNK]": 9}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(file))
    return file


@pytest.fixture
def text_spec() -> Callable[..., Preprocessing]:
    """A text spec with the usual three inputs, or those that are named."""

    def make(
        *names: str, max_length: int | None = 16, prefix: str = "", padding_id: int = 0
    ) -> Preprocessing:
        names = names or ("input_ids", "attention_mask", "token_type_ids")
        inputs = tuple(InputSpec(name, "int64", (None, None)) for name in names)
        return Preprocessing(
            "text",
            inputs,
            tokenizer="tokenizer.json",
            max_length=max_length,
            prefix=prefix,
            padding_id=padding_id,
        )

    return make


@pytest.fixture
def save_image(tmp_path: Path) -> Callable[..., Path]:
    """``save_image("cats/a.png", pixels)``: a picture file under ``tmp_path``."""

    def save(name: str, pixels: Any = None, **options: Any) -> Path:
        from PIL import Image

        if pixels is None:
            pixels = np.full((6, 8, 3), len(name), np.uint8)
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
        picture.save(file, **options)
        return file

    return save
