from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from finetuner.errors import DataError, UsageError
from finetuner.evaluation import (
    Comparison,
    ExampleResult,
    Neighbour,
    compare,
    comparison_table,
    example_results,
    render_examples,
)
from finetuner.evaluation.report import summarise


@dataclass(frozen=True)
class Rows:
    """The part of a dataset that a report looks at."""

    contents: Any
    labels: Any
    label_names: tuple[str, ...] = ("cat", "dog")

    def __len__(self):
        return len(self.contents)


BEFORE = {"recall@1": 0.5, "map@r": 0.25, "queries": 1200, "skipped": 3}
AFTER = {"recall@1": 0.75, "map@r": 0.2, "mrr": 0.8, "queries": 1200, "skipped": 3}


def text_of(renderable, width=120):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(renderable)
    return console.export_text()


def test_metrics_are_compared_side_by_side_without_the_counts():
    rows = compare(BEFORE, AFTER)
    assert rows == (
        Comparison("recall@1", 0.5, 0.75),
        Comparison("map@r", 0.25, 0.2),
        Comparison("mrr", None, 0.8),
    )
    assert [row.gain for row in rows] == [0.25, pytest.approx(-0.05), None]


def test_the_table_shows_values_gains_and_numbers_of_queries():
    text = text_of(comparison_table(BEFORE, AFTER))
    assert "recall@1" in text
    assert "+0.250" in text
    assert "-0.050" in text
    assert "1,200 queries, 3 without a relevant item left out" in " ".join(text.split())


# Before, everything lies in a heap; after, cats and dogs stand apart.
PETS = Rows(["tabby", "siamese", "beagle", "poodle"], np.array([0, 0, 1, 1]))
HEAP = np.array([[1, 0], [0, 1], [1, 0.1], [0.1, 1]], dtype=np.float32)
APART = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], dtype=np.float32)


def test_examples_show_neighbours_before_and_after():
    examples = example_results(PETS, None, (HEAP, None), (APART, None), count=4, k=1)
    assert [example.content for example in examples] == PETS.contents
    first = examples[0]
    assert (first.row, first.label) == (0, "cat")
    (old,), (new,) = first.before, first.after
    assert (old.row, old.content, old.label, old.right) == (2, "beagle", "dog", False)
    assert (new.row, new.content, new.label, new.right) == (1, "siamese", "cat", True)
    assert new.similarity == pytest.approx(1 / 1.01**0.5)


def test_a_query_among_its_duplicates_is_not_its_own_neighbour():
    same = np.ones((4, 2), dtype=np.float32)
    for example in example_results(PETS, None, (same, None), (same, None), count=4, k=3):
        assert [n.row for n in example.after] == [n for n in range(4) if n != example.row]


def test_examples_against_an_index_compare_labels_by_name():
    index = Rows(["rex", "tom"], np.array([0, 1]), ("dog", "cat"))
    vectors = np.array([[0, 1], [1, 0]], dtype=np.float32)
    examples = example_results(PETS, index, (HEAP, vectors), (APART, vectors), count=4, k=2)
    assert [n.content for n in examples[0].after] == ["tom", "rex"]
    assert [n.right for n in examples[0].after] == [True, False]


def test_the_draw_depends_on_the_seed_alone():
    def rows(seed, vectors):
        drawn = example_results(PETS, None, (HEAP, None), (vectors, None), count=2, seed=seed)
        return [example.row for example in drawn]

    assert rows(0, APART) == rows(0, HEAP)
    assert len({tuple(rows(seed, APART)) for seed in range(20)}) > 1


def test_queries_whose_label_the_index_lacks_are_not_drawn():
    lonely = replace(PETS, labels=np.array([0, 0, 0, 1]))
    examples = example_results(lonely, None, (HEAP, None), (APART, None), count=9)
    assert [example.row for example in examples] == [0, 1, 2]
    strangers = replace(PETS, labels=np.array([0, 1, 2, 3]), label_names=tuple("abcd"))
    assert example_results(strangers, None, (HEAP, None), (APART, None)) == []


def test_examples_survive_json():
    examples = example_results(PETS, None, (HEAP, None), (APART, None))
    assert msgspec.json.decode(msgspec.json.encode(examples), type=list[ExampleResult]) == examples


def test_rendered_examples_tick_what_is_right_and_take_brackets_literally():
    right = Neighbour(1, "[red] tabby", "cat", 0.9, True)
    wrong = Neighbour(2, "beagle", "dog", 0.8, False)
    example = ExampleResult(0, "[bold]siamese", "cat", (wrong,), (right, wrong))
    text = text_of(render_examples([example]))
    assert "[bold]siamese" in text
    assert "✓ 0.900  cat  [red] tabby" in text
    assert text.count("✗ 0.800  dog  beagle") == 2


@pytest.mark.parametrize(
    ("content", "summary"),
    [
        ("two\n lines ", "two lines"),
        ("x" * 90, "x" * 79 + "…"),
        (Path("a/b.png"), "a/b.png"),
        (b"1234", "4 bytes"),
        (np.zeros((2, 3), dtype=np.float32), "array 2×3 float32"),
    ],
)
def test_a_content_is_summed_up_in_a_line(content, summary):
    assert summarise(content) == summary


def test_an_image_is_summed_up_by_its_size():
    from PIL import Image

    assert summarise(Image.new("RGB", (4, 3))) == "Image 4×3"


def test_examples_that_cannot_be_made_are_errors():
    with pytest.raises(DataError, match="queries: 3 vectors before for 4 rows"):
        example_results(PETS, None, (HEAP[:3], None), (APART, None))
    with pytest.raises(DataError, match="index: 4 vectors after for None rows"):
        example_results(PETS, None, (HEAP, None), (APART, APART))
    with pytest.raises(DataError, match="with labels"):
        example_results(replace(PETS, labels=None), None, (HEAP, None), (APART, None))
    with pytest.raises(UsageError, match="at least 1"):
        example_results(PETS, None, (HEAP, None), (APART, None), count=0)
