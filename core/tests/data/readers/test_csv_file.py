from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from finetuner.contracts import Rows
from finetuner.data.readers import csv_file
from finetuner.errors import DataError, UnknownNameError, UsageError


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Rows]:
    """``read(body, **options)``: the rows of a file ``shop.csv`` with that text in it."""

    def call(body: str | bytes, /, name: str = "shop.csv", **options: object) -> Rows:
        file = tmp_path / name
        file.write_bytes(body if isinstance(body, bytes) else body.encode())
        assert csv_file.matches(file)
        return csv_file.read(file, options)

    return call


def test_usual_names_make_a_header_in_any_order_and_case(read: Callable[..., Rows]) -> None:
    rows = read("Label,id,Text\nshoe,1,red one\nhat,2,blue one\n")
    assert (rows.contents, rows.labels) == (["red one", "blue one"], ["shoe", "hat"])
    assert rows.modality == "text"
    assert rows.origins == ["row 2 of shop.csv", "row 3 of shop.csv"]


def test_without_a_header_the_first_column_is_the_content(read: Callable[..., Rows]) -> None:
    rows = read("red one, shoe\nblue one,shoe \n")
    assert (rows.contents, rows.labels) == (["red one", "blue one"], ["shoe", "shoe"])
    assert rows.origins == ["row 1 of shop.csv", "row 2 of shop.csv"]


def test_one_column_has_no_labels(read: Callable[..., Rows]) -> None:
    assert read("red\nblue\n").labels is None
    assert read("text\nred\n").contents == ["red"]


def test_columns_by_name(read: Callable[..., Rows]) -> None:
    rows = read("title,text,kind\na,b,c\n", text="title", label="kind")
    assert (rows.contents, rows.labels) == (["a"], ["c"])


def test_columns_by_number_without_a_header(read: Callable[..., Rows]) -> None:
    rows = read("1,red,shoe\n2,blue,hat\n", text=1, label=2)
    assert (rows.contents, rows.labels) == (["red", "blue"], ["shoe", "hat"])


def test_the_header_can_be_said_to_be_there_or_not(read: Callable[..., Rows]) -> None:
    assert read("utterance,intent\na,b\n", header=True).contents == ["a"]
    assert read("text,label\na,b\n", header=False).contents == ["text", "a"]


def test_a_first_row_that_may_be_either_is_an_error(read: Callable[..., Rows]) -> None:
    with pytest.raises(UsageError, match=r"'utterance', 'intent'.*header=True or header=False"):
        read("utterance,intent\na,x\nb,x\nc,y\nd,y\n")


@pytest.mark.parametrize("other", [";", "\t", "|"])
def test_another_delimiter_is_named_and_not_guessed(read: Callable[..., Rows], other: str) -> None:
    body = "text,label\nred,a\nblue,b\n".replace(",", other)
    with pytest.raises(
        UsageError, match=r"each holds .*: say which it is in csv_options, as delimiter="
    ):
        read(body)
    assert read(body, delimiter=other).contents == ["red", "blue"]
    assert read(body, delimiter=",").contents == body.split("\n")[:3]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"delimiter": "\n"}, r"delimiter is '\\n': give one character"),
        ({"delimiter": '"'}, "delimiter is '\"': give one character"),
        ({"encoding": 3}, "encoding is 3: give its name"),
    ],
)
def test_options_that_cannot_be(
    read: Callable[..., Rows], options: dict[str, object], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        read("text,label\nred,a\n", **options)


def test_a_long_text_is_read_and_the_limit_of_others_stays(read: Callable[..., Rows]) -> None:
    before = csv.field_size_limit()
    text = "red " * 50_000
    assert read(f"text,label\n{text},a\n").contents == [text]
    assert csv.field_size_limit() == before


def test_quotes_line_breaks_and_blank_lines(read: Callable[..., Rows]) -> None:
    rows = read('text,label\n"a, ""b""\nc",x\n\n ,\nd,y\n')
    assert rows.contents == ['a, "b"\nc', "d"]
    assert rows.origins[-1] == "row 5 of shop.csv"


def test_delimiters(read: Callable[..., Rows]) -> None:
    assert read("a,b\tx\n", name="shop.tsv").contents == ["a,b"]
    assert read("a,b;x\n", delimiter=";").contents == ["a,b"]
    with pytest.raises(UsageError, match="one character"):
        read("a", delimiter=";;")


def test_encodings(read: Callable[..., Rows]) -> None:
    assert read("\ufefftext,label\nä,x\n").contents == ["ä"]
    assert read("ä,x\n".encode("latin-1"), encoding="latin-1").contents == ["ä"]
    with pytest.raises(UsageError, match="encoding is 'latin-7000'"):
        read("a", encoding="latin-7000")


def test_a_wrong_encoding_names_file_and_row(read: Callable[..., Rows]) -> None:
    with pytest.raises(DataError, match=r"row 3 of shop\.csv is not utf-8: .* 0xe4.*encoding="):
        read("text,label\na,x\nä,y\n".encode("latin-1"))


def test_a_row_of_another_width_is_named(read: Callable[..., Rows]) -> None:
    with pytest.raises(DataError, match=r"row 3 of shop\.csv has 3 cells, but row 1 has 2"):
        read("text,label\na,x\nb,c,y\n")


def test_an_empty_file(read: Callable[..., Rows]) -> None:
    for text in ("", "\n\n", "text,label\n"):
        with pytest.raises(DataError, match=r"shop\.csv is empty"):
            read(text)


def test_images_are_found_beside_the_file(read: Callable[..., Rows], tmp_path: Path) -> None:
    rows = read("image,label\npics/a.png,x\nfile:///b.png,y\n")
    assert rows.modality == "image"
    assert rows.contents == [tmp_path / "pics/a.png", "file:///b.png"]


def test_a_column_of_image_names_is_images_without_being_asked(read: Callable[..., Rows]) -> None:
    assert read("a.png,x\nb.JPG,y\n").modality == "image"
    assert read("a.png,x\nsee b.jpg now,y\n").modality == "text"
    assert read("a.png,x\n", text=0, label=1).modality == "text"
    assert read("a,x\n", image=0, label=1).modality == "image"


def test_an_unknown_option_is_offered_near_names(read: Callable[..., Rows]) -> None:
    with pytest.raises(UnknownNameError, match=r"'delimeter'.*'delimiter'"):
        read("a,b\n", delimeter=";")


def test_an_unknown_column_is_offered_near_names(read: Callable[..., Rows]) -> None:
    with pytest.raises(UnknownNameError, match=r"column of shop\.csv 'titel'.*'title'"):
        read("title,label\na,b\n", text="titel")
    with pytest.raises(UsageError, match=r"column 5 was asked of shop\.csv, which has 2"):
        read("a,b\n", text=5)


def test_contradicting_options(read: Callable[..., Rows]) -> None:
    with pytest.raises(UsageError, match="both text= and image="):
        read("a,b\n", text=0, image=1)
    with pytest.raises(UsageError, match="header=False"):
        read("a,b\n", text="a", header=False)
    with pytest.raises(UsageError, match="header is 'maybe'"):
        read("a,b\n", header="maybe")


def test_an_unclear_choice_names_columns_and_options(read: Callable[..., Rows]) -> None:
    with pytest.raises(UsageError, match=r"columns: 'a', 'b', 'label'.*text= or image="):
        read("a,b,label\n1,2,3\n")
    with pytest.raises(UsageError, match=r"'label', 'class' .* could all be the label"):
        read("text,label,class\n1,2,3\n")
    with pytest.raises(UsageError, match="text= or image="):
        read("1,2,3\n4,5,6\n")


def test_only_existing_files_of_the_right_suffix_match(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for name in (tmp_path / "a.txt", tmp_path / "a.csv", "a.csv", 3, None, ["a.csv"]):
        assert not csv_file.matches(name)
