"""Bad input is named by row; good input becomes integers and names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from finetuner.contracts import ReaderRecord, Rows
from finetuner.data import LabeledDataset, load_dataset
from finetuner.errors import DataError, UnknownNameError, UsageError
from finetuner.plugins import Host, hookimpl

Load = Callable[..., LabeledDataset]

TEXTS = ["red shoe", "red hat", "blue shoe", "blue hat"]
COLOURS = ["red", "red", "blue", "blue"]


def test_texts_and_labels(load: Load) -> None:
    data = load((TEXTS, COLOURS))
    assert data.modality == "text"
    assert list(data.contents) == TEXTS
    assert data.labels is not None
    assert data.labels.dtype == np.int64
    assert data.labels.tolist() == [1, 1, 0, 0]
    assert data.label_names == ("blue", "red")
    assert data.skipped == 0


@pytest.mark.parametrize("data", [[], ([], []), (np.zeros((0, 3)), np.zeros(0))])
def test_empty_data(load: Load, data: object) -> None:
    with pytest.raises(DataError, match="empty"):
        load(data)


def test_one_class(load: Load) -> None:
    with pytest.raises(DataError, match=r"all 2 rows have the label 'a'.*two classes"):
        load((["x", "y"], ["a", "a"]))


def test_fewer_than_two_classes_with_two_items(load: Load) -> None:
    with pytest.raises(DataError, match="of 3 classes 1 has two items"):
        load((["x", "y", "z", "w"], ["a", "a", "b", "c"]))
    with pytest.raises(DataError, match="of 2 classes none has two items"):
        load((["x", "y"], ["a", "b"]))


def test_data_to_evaluate_on_may_have_any_classes_and_names_of_its_own(load: Load) -> None:
    data = load((["x", "y"], ["q", "p"]), trainable=False)
    assert data.label_names == ("p", "q")


def test_a_missing_label_is_named_by_row(load: Load) -> None:
    with pytest.raises(DataError, match="row 2 has no label"):
        load((TEXTS, ["red", "red", None, "blue"]))


def test_a_label_that_is_no_scalar_is_named_by_row(load: Load) -> None:
    with pytest.raises(DataError, match="row 3 has a label of type list"):
        load((TEXTS, [1, 1, 2, [2, 3]]))


def test_missing_labels_are_an_error_only_where_labels_are_needed(load: Load) -> None:
    with pytest.raises(DataError, match="has no labels"):
        load(TEXTS)
    assert load(TEXTS, require_labels=False).labels is None


def test_labels_are_left_out_where_they_are_not_needed(load: Load) -> None:
    data = load((TEXTS, ["red", None, [], "red"]), require_labels=False)
    assert (data.labels, data.label_names) == (None, ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "row 1 holds an empty text"),
        (" \n", "row 1 holds an empty text"),
        ("a\udce4", "row 1 holds a text that is not valid Unicode"),
    ],
)
def test_texts_that_cannot_be_used_are_named_by_row(load: Load, text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        load((["x", text, "y", "z"], COLOURS))


def test_contents_of_mixed_modality_are_named_by_row(load: Load) -> None:
    with pytest.raises(DataError, match="row 1 is a bytes, but row 0 is a str"):
        load((["a", b"b"], [0, 1]))
    with pytest.raises(DataError, match="row 1 is a ndarray, but row 0 is a bytes"):
        load(([b"b", np.zeros(3)], [0, 1]))


def test_ragged_arrays_are_named_by_row(load: Load) -> None:
    with pytest.raises(DataError, match=r"row 1 has the shape \(3,\), but row 0 has \(2,\)"):
        load(([[1, 2], [1, 2, 3]], [0, 1]))
    with pytest.raises(DataError, match="row 0 is ragged"):
        load(([[[1], [1, 2]], [[1], [1]]], [0, 1]))
    with pytest.raises(DataError, match=r"row 1 has the shape \(2, 2\)"):
        load(([np.zeros((2, 3)), np.zeros((2, 2))], [0, 1]))


def test_a_value_that_is_not_finite_is_named_by_row(load: Load) -> None:
    for value in (np.nan, np.inf, -np.inf, 1e300):
        with pytest.raises(DataError, match="row 1 holds a NaN or an infinity"):
            load((np.array([[0.0], [value]]), [0, 1]))


def test_an_array_needs_a_row_per_item(load: Load) -> None:
    with pytest.raises(DataError, match=r"shape \(4,\)"):
        load((np.arange(4), COLOURS))


def test_labels_must_be_as_many_as_contents_and_one_each(load: Load) -> None:
    with pytest.raises(DataError, match="4 contents, but 3 labels"):
        load((TEXTS, COLOURS[:3]))
    with pytest.raises(DataError, match=r"labels have shape \(4, 2\).*argmax"):
        load((TEXTS, np.eye(2)[[0, 0, 1, 1]]))


def test_an_unreadable_image_is_named_with_its_path(
    load: Load, save_image: Callable[..., Path]
) -> None:
    good = save_image("good.png")
    bad = good.with_name("bad.png")
    bad.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"row 1: .*bad\.png cannot be read .*skip_unreadable"):
        load(([good, bad, good, good, good], [0, 0, 0, 1, 1]))
    with pytest.raises(DataError, match=r"row 0: there is no image at .*none\.png"):
        load(([good.with_name("none.png"), good], [0, 1]))


def test_unreadable_images_are_skipped_and_counted_on_request(
    load: Load, save_image: Callable[..., Path]
) -> None:
    good = save_image("good.png")
    bad = good.with_name("bad.png")
    bad.write_bytes(good.read_bytes()[:40])
    data = load(([good, bad, good, good, good], [7, 0, 7, 1, 1]), skip_unreadable=True)
    assert data.skipped == 1
    assert data.labels is not None
    assert [data.label_names[label] for label in data.labels] == ["7", "7", "1", "1"]
    assert [data.origin(row) for row in range(4)] == ["row 0", "row 2", "row 3", "row 4"]


def test_skipping_is_not_offered_where_a_row_that_is_missing_would_shift_the_others(
    load: Load, save_image: Callable[..., Path]
) -> None:
    good = save_image("good.png")
    with pytest.raises(DataError, match=r"row 1: there is no image at none\.png$"):
        load([good, Path("none.png")], require_labels=False)


def test_a_path_is_named_once(load: Load, save_image: Callable[..., Path]) -> None:
    folder = save_image("cat/good.png").parent
    bad = folder / "bad.png"
    bad.write_bytes(b"no image")
    with pytest.raises(DataError) as found:
        load(folder.parent)
    assert str(found.value).count("bad.png") == 1


def test_nothing_readable_is_an_error_even_when_skipping(load: Load) -> None:
    with pytest.raises(DataError, match="none of the 2 images"):
        load(([b"x", b"y"], [0, 1]), skip_unreadable=True)


def test_the_first_unreadable_of_many_images_is_found(
    load: Load, save_image: Callable[..., Path]
) -> None:
    data = save_image("good.png").read_bytes()
    contents = [data] * 300
    contents[123] = data[:50]
    with pytest.raises(DataError, match="row 123: "):
        load((contents, [0, 1] * 150))
    assert load((contents, [0, 1] * 150), skip_unreadable=True).skipped == 1


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tiff"])
def test_an_image_cut_short_is_found_before_training(
    load: Load, save_image: Callable[..., Path], suffix: str
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = save_image(f"a.{suffix}", pixels).read_bytes()
    assert load([data], require_labels=False).modality == "image"
    with pytest.raises(DataError, match="row 0: an image of"):
        load([data[: len(data) * 2 // 3]], require_labels=False)


def test_a_data_set_passes_through(load: Load) -> None:
    data = load((TEXTS, COLOURS))
    assert load(data) is data
    assert load(data, require_labels=False).labels is None
    with pytest.raises(DataError, match=r"one class|all 2 rows"):
        load(data.subset([0, 1]))
    with pytest.raises(DataError, match="no labels"):
        load(load(TEXTS, require_labels=False))
    with pytest.raises(UsageError, match="'delimiter' does not apply"):
        load(data, options={"delimiter": ";"})


def test_a_name_that_is_not_there_says_so(load: Load, tmp_path: Path) -> None:
    for path in ("nowhere.csv", tmp_path / "nowhere", tmp_path / "nowhere.tsv"):
        with pytest.raises(DataError, match=r"nowhere.* is not there"):
            load(path)
    with pytest.raises(DataError, match=r"'nowhere' is read as one text.*folder"):
        load("nowhere")


def test_a_file_of_no_known_kind_is_not_taken_for_a_text(load: Load, tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("red\nblue\n")
    for path in (notes, str(notes)):
        with pytest.raises(DataError, match=r"notes\.txt' is neither a folder.*list of texts"):
            load(path, require_labels=False)
    assert load("notes", require_labels=False).contents == ["notes"]


def test_columns_without_a_label_are_listed(load: Load, tmp_path: Path) -> None:
    table = tmp_path / "shop.csv"
    table.write_text("text,intent,id\nred,a,1\nblue,b,2\n")
    with pytest.raises(DataError, match=r"none of its columns \('text', 'intent', 'id'\).*label="):
        load(table)


def test_nothing_where_a_content_is_expected_is_named_by_row(load: Load) -> None:
    with pytest.raises(DataError, match=r"row 1 holds nothing \(None\): fill it or leave"):
        load((["a", None, "c", "d"], [0, 0, 1, 1]))
    with pytest.raises(DataError, match=r"row 0 holds nothing"):
        load([None, "a"], require_labels=False)


def test_rows_of_objects_are_refused_with_the_way_to_convert_them(load: Load) -> None:
    with pytest.raises(DataError, match=r"row 0 holds object, not numbers: .*astype\('float32'\)"):
        load((np.ones((4, 2), object), COLOURS))


@pytest.mark.parametrize("data", [3, {"a": 1}, object(), [("a", 1)], ("a", "b")])
def test_data_of_no_known_form_lists_the_forms(load: Load, data: object) -> None:
    with pytest.raises(UsageError, match="is not recognised: give a docarray DocList"):
        load(data)


@pytest.mark.parametrize("data", [TEXTS, (TEXTS, COLOURS), np.zeros((2, 2))])
def test_an_option_that_does_not_apply_is_an_error(load: Load, data: object) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown option of the reader .* 'delimiter'"):
        load(data, options={"delimiter": ";"}, require_labels=False)


def host_of(*records: ReaderRecord) -> Host:
    def finetuner_readers() -> Iterator[ReaderRecord]:
        yield from records

    return Host.discover([], extra=[SimpleNamespace(finetuner_readers=hookimpl(finetuner_readers))])


def test_a_reader_is_chosen_by_name_where_two_recognise_the_data() -> None:
    def reader(name: str) -> ReaderRecord:
        return ReaderRecord(name, lambda data: True, lambda data, _: Rows([name], None, "text"))

    host = host_of(reader("one"), reader("two"))
    with pytest.raises(UsageError, match=r"'one' and 'two' both recognise.*reader=NAME"):
        load_dataset(object(), host, require_labels=False)
    chosen = load_dataset(object(), host, options={"reader": "two"}, require_labels=False)
    assert list(chosen.contents) == ["two"]
    with pytest.raises(UnknownNameError, match=r"unknown reader 'tow'.*'two'"):
        load_dataset(object(), host, options={"reader": "tow"}, require_labels=False)


def test_a_reader_that_loses_count_is_found_out() -> None:
    host = host_of(ReaderRecord("bad", lambda _: True, lambda *_: Rows(["a", "b"], [1], "text")))
    with pytest.raises(DataError, match="2 contents, but 1 labels"):
        load_dataset(object(), host)
