from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from finetuner.contracts import InputSpec, Preprocessing, Step, TransformRecord
from finetuner.data import Preprocessor, preprocess
from finetuner.errors import ArtifactError, DataError, UnknownNameError, UsageError

MakeSpec = Callable[..., Preprocessing]

TEXTS = ["red shoe", "hat", "red green blue hat coat", "blue", "pink"]
RANDOM = np.random.default_rng(0)
PIXELS = [RANDOM.integers(0, 256, (9 + i, 12, 3), dtype=np.uint8) for i in range(5)]


def image_spec(*extents: int | None, steps: Sequence[Step] | None = None) -> Preprocessing:
    if steps is None:
        steps = (
            Step("resize", {"size": 8}),
            Step("center-crop", {"size": 6}),
            Step("scale"),
            Step("normalize", {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 0.5]}),
            Step("layout", {"order": "channels-first"}),
        )
    shape = (None, *(extents or (3, 6, 6)))
    return Preprocessing("image", (InputSpec("image", "float32", shape),), tuple(steps))


def array_spec(*extents: int | None, dtype: str = "float32", steps: Any = ()) -> Preprocessing:
    return Preprocessing("array", (InputSpec("array", dtype, (None, *extents)),), tuple(steps))


class TestText:
    def test_production_and_training_see_the_same_tokens(
        self, tokenizer_file: Path, text_spec: MakeSpec
    ) -> None:
        run = Preprocessor(text_spec(), {"tokenizer.json": tokenizer_file})
        batch = run.batch(TEXTS)
        assert batch["input_ids"].shape == (5, 7)
        chunks, rows = run.encode(TEXTS).chunks(np.arange(5), 2)
        at = 0
        for chunk in chunks:
            for name, values in chunk.items():
                for place, value in enumerate(values):
                    expected = batch[name][rows[at + place]]
                    width = min(len(value), len(expected))
                    assert value[:width].tolist() == expected[:width].tolist()
                    assert not value[width:].any()
                    assert not expected[width:].any()
                    assert value.dtype == expected.dtype
            at += len(chunk["input_ids"])

    def test_buckets_stay_within_max_length(
        self, tokenizer_file: Path, text_spec: MakeSpec
    ) -> None:
        run = Preprocessor(text_spec(max_length=5), {"tokenizer.json": tokenizer_file})
        ((chunk,), _) = run.encode(TEXTS).chunks(np.arange(5), 1)
        assert chunk["input_ids"].shape == (5, 5)

    def test_no_texts(self, tokenizer_file: Path, text_spec: MakeSpec) -> None:
        run = Preprocessor(text_spec(), {"tokenizer.json": tokenizer_file})
        assert run.batch([])["input_ids"].shape == (0, 1)
        assert len(run.encode([])) == 0

    def test_a_spec_that_cannot_be_run(self, tokenizer_file: Path, text_spec: MakeSpec) -> None:
        files = {"tokenizer.json": tokenizer_file}
        with pytest.raises(UnknownNameError, match=r"text input 'input_id'.*'input_ids'"):
            Preprocessor(text_spec("input_id"), files)
        with pytest.raises(UsageError, match="needs the input 'input_ids'"):
            Preprocessor(text_spec("attention_mask"), files)
        with pytest.raises(UsageError, match=r"'tokenizer\.json' was not given"):
            Preprocessor(text_spec())
        with pytest.raises(UsageError, match="needs a tokenizer"):
            Preprocessor(Preprocessing("text", text_spec().inputs))
        stepped = Preprocessing("text", text_spec().inputs, (Step("scale"),))
        with pytest.raises(UsageError, match="text has no steps"):
            Preprocessor(stepped, files)
        with pytest.raises(UsageError, match="padding_id is 4294967296"):
            Preprocessor(text_spec(padding_id=2**32), files)
        with pytest.raises(ArtifactError):
            Preprocessor(text_spec(), {"tokenizer.json": tokenizer_file / "none"})

    def test_text_has_no_augmentation(self, tokenizer_file: Path, text_spec: MakeSpec) -> None:
        run = Preprocessor(text_spec(), {"tokenizer.json": tokenizer_file})
        with pytest.raises(UsageError, match="none for text"):
            run.encode(TEXTS, augmentation=[Step("random-flip")])


class TestImages:
    def test_the_steps_by_hand(self) -> None:
        pixels = np.zeros((8, 10, 3), np.uint8)
        pixels[:, 2:8] = (255, 51, 0)
        (image,) = Preprocessor(image_spec()).batch([pixels])["image"]
        # The shorter side is 8 already; the crop takes rows 1 to 6 and columns 2 to 7.
        expected = np.array([(1 - 0.5) / 0.5, (0.2 - 0.5) / 0.25, (0 - 0.5) / 0.5])
        np.testing.assert_allclose(image, np.broadcast_to(expected[:, None, None], (3, 6, 6)))
        assert image.dtype == np.float32

    @pytest.mark.parametrize("workers", [0, 2])
    def test_production_and_training_see_the_same_pixels(
        self, workers: int, save_image: Callable[..., Path]
    ) -> None:
        run = Preprocessor(image_spec())
        forms = [PIXELS[0], Image.fromarray(PIXELS[1]), save_image("a.png", PIXELS[2])]
        forms += [save_image("b.png", PIXELS[3]).read_bytes(), str(save_image("c.png", PIXELS[4]))]
        batch = run.batch(forms)["image"]
        assert batch.tolist() == run.batch(PIXELS)["image"].tolist()
        encoded = run.encode(forms, workers=workers)
        for _ in range(2):  # decoded, then from memory
            chunks, rows = encoded.chunks(np.array([3, 1, 4]), 2)
            joined = np.concatenate([chunk["image"] for chunk in chunks])
            assert joined.tolist() == batch[rows].tolist()

    def test_small_pictures_are_decoded_once(
        self, save_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = save_image("a.png", PIXELS[0])
        encoded = Preprocessor(image_spec()).encode([file])
        first = encoded.chunks(np.array([0]), 1)[0][0]["image"]
        file.unlink()
        assert encoded.chunks(np.array([0]), 1)[0][0]["image"].tolist() == first.tolist()
        monkeypatch.setattr(preprocess, "_KEPT_BYTES", 6 * 6 * 3 - 1)
        file = save_image("a.png", PIXELS[0])
        encoded = Preprocessor(image_spec()).encode([file])
        encoded.chunks(np.array([0]), 1)
        file.unlink()
        with pytest.raises(DataError, match=r"no image at .*a\.png"):
            encoded.chunks(np.array([0]), 1)

    def test_augmentation_is_for_training_and_frozen_by_seed_epoch_and_row(self) -> None:
        run = Preprocessor(image_spec())
        jitter = [Step("color-jitter", {"brightness": 1.0})]

        def seen(seed: int, epoch: int | None, rows: Sequence[int]) -> list[Any]:
            encoded = run.encode([PIXELS[0], PIXELS[0]], augmentation=jitter, seed=seed, workers=2)
            return encoded.chunks(np.array(rows), 1, epoch=epoch)[0][0]["image"].tolist()

        base = seen(1, 0, [0, 1])
        assert base == seen(1, 0, [0, 1])
        assert base == seen(1, 0, [1, 0])[::-1]
        assert len({str(seen(*case, [0])) for case in ((1, 0), (1, 1), (2, 0))}) == 3
        assert base[0] != base[1]
        assert seen(1, None, [0]) == run.batch([PIXELS[0]])["image"].tolist()

    def test_augmentation_comes_before_the_steps(self) -> None:
        run = Preprocessor(image_spec())
        encoded = run.encode([PIXELS[0]], augmentation=[Step("random-flip", {"p": 1.0})])
        flipped = run.batch([np.ascontiguousarray(PIXELS[0][:, ::-1])])["image"]
        assert encoded.chunks(np.array([0]), 1, epoch=0)[0][0]["image"].tolist() == flipped.tolist()

    def test_gray_input_and_background(self) -> None:
        steps = (Step("to-gray"), Step("scale"), Step("layout", {"order": "channels-first"}))
        gray = Preprocessor(image_spec(1, None, None, steps=steps))
        assert gray.batch([PIXELS[0]])["image"].shape == (1, 1, 9, 12)
        clear = np.zeros((1, 1, 4), np.uint8)
        steps = (Step("to-rgb", {"background": [255, 255, 255]}), Step("scale"))
        onto_white = Preprocessor(image_spec(1, 1, 3, steps=steps))
        assert onto_white.batch([clear])["image"].tolist() == [[[[1.0, 1.0, 1.0]]]]
        plain = Preprocessor(image_spec(1, 1, 3, steps=(Step("scale"),)))
        assert plain.batch([clear])["image"].tolist() == [[[[0.0, 0.0, 0.0]]]]

    def test_a_result_of_another_shape_is_named_by_row(self) -> None:
        run = Preprocessor(image_spec(3, 7, 6))
        with pytest.raises(
            DataError, match=r"row 0 has the shape \(3, 6, 6\).*'image' takes 3×7×6"
        ):
            run.batch([PIXELS[0]])

    def test_an_unreadable_image_is_named(self) -> None:
        with pytest.raises(DataError, match=r"no image at none\.png"):
            Preprocessor(image_spec()).encode(["none.png"]).chunks(np.array([0]), 1)

    def test_a_foreign_step(self) -> None:
        def invert(image: Any) -> np.ndarray:
            return 255 - np.asarray(image)

        steps = {"invert": TransformRecord("invert", invert)}
        run = Preprocessor(image_spec(1, 1, 3, steps=(Step("invert"),)), None, steps)
        pixel = np.array([[[0, 255, 1]]], np.uint8)
        assert run.batch([pixel])["image"].tolist() == [[[[255, 0, 254]]]]


class TestArrays:
    def test_production_and_training_see_the_same_numbers(self) -> None:
        run = Preprocessor(array_spec(3, steps=[Step("normalize", {"mean": 1, "std": 2})]))
        contents = np.arange(12.0).reshape(4, 3)
        batch = run.batch(contents)["array"]
        assert batch.tolist() == ((contents - 1) / 2).tolist()
        assert batch.dtype == np.float32
        (chunk,), rows = run.encode(contents).chunks(np.array([3, 0, 2]), 2)
        assert chunk["array"].tolist() == batch[rows].tolist()

    def test_lists_of_numbers_and_an_empty_batch(self) -> None:
        run = Preprocessor(array_spec(2))
        assert run.batch([[1, 2], [3, 4]])["array"].tolist() == [[1, 2], [3, 4]]
        assert run.batch([])["array"].shape == (0, 2)

    def test_the_dtype_of_the_spec(self) -> None:
        run = Preprocessor(array_spec(2, dtype="int64"))
        assert run.batch(np.ones((1, 2)))["array"].dtype == np.int64

    def test_another_shape_is_named_by_row(self) -> None:
        run = Preprocessor(array_spec(3))
        with pytest.raises(DataError, match=r"row 1 has the shape \(2,\)"):
            run.batch([np.zeros(3), np.zeros(2)])

    def test_steps_for_images_do_not_apply(self) -> None:
        with pytest.raises(UsageError, match="'resize' works on an image"):
            Preprocessor(array_spec(3, steps=[Step("resize", {"size": 3})])).batch(np.zeros((1, 3)))


@pytest.mark.parametrize(
    ("spec", "contents", "problem"),
    [
        (image_spec(), [3.5], "row 0 is a float, but the model takes image"),
        (array_spec(2), ["a"], "row 0 is a str, but the model takes array"),
        (array_spec(2), [np.zeros(2), {"a": 1}], "row 1 is a dict, but the model takes array"),
    ],
)
def test_contents_of_another_modality_are_named_by_row(
    spec: Preprocessing, contents: list[Any], problem: str
) -> None:
    for use in (Preprocessor(spec).batch, Preprocessor(spec).encode):
        with pytest.raises(DataError, match=problem):
            use(contents)


def test_one_text_instead_of_a_list(tokenizer_file: Path, text_spec: MakeSpec) -> None:
    run = Preprocessor(text_spec(), {"tokenizer.json": tokenizer_file})
    with pytest.raises(UsageError, match="put it in a list"):
        run.batch("red shoe")
    with pytest.raises(DataError, match="row 1 is a bytes, but the model takes text"):
        run.batch(["red", b"shoe"])


def test_an_image_or_array_has_one_input() -> None:
    wanted = InputSpec("image", "float32", (None, 3, 6, 6))
    for inputs in ((), (wanted, wanted)):
        with pytest.raises(UsageError, match="has one input"):
            Preprocessor(Preprocessing("image", inputs))
