from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from finetuner.data.readers import folder
from finetuner.errors import DataError, UnknownNameError


def test_each_subfolder_is_a_class(save_image: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("dog/b.png", "cat/deep/c.jpg", "cat/a.png"):
        save_image(name)
    rows = folder.read(tmp_path, {})
    assert rows.labels == ["cat", "cat", "dog"]
    assert [path.name for path in rows.contents] == ["a.png", "c.jpg", "b.png"]
    assert rows.origins == [str(path) for path in rows.contents]
    assert rows.modality == "image"


def test_a_folder_of_images_has_no_labels(save_image: Callable[..., Path]) -> None:
    path = save_image("a.png")
    rows = folder.read(path.parent, {})
    assert (rows.contents, rows.labels) == ([path], None)


def test_hidden_names_and_files_beside_the_classes_are_left_out(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("cat/a.png", ".cache/b.png"):
        save_image(name)
    (tmp_path / "cat/.DS_Store").write_text("")
    (tmp_path / "README.md").write_text("")
    assert len(folder.read(str(tmp_path), {}).contents) == 1


def test_any_other_file_of_a_class_counts_as_an_image_to_be_checked(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    save_image("cat/a.png")
    (tmp_path / "cat/notes.txt").write_text("x")
    assert len(folder.read(tmp_path, {}).contents) == 2


def test_images_beside_classes_an_empty_class_and_an_empty_folder(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="is empty: it has no images"):
        folder.read(tmp_path, {})
    save_image("cat/a.png")
    (tmp_path / "dog").mkdir()
    with pytest.raises(DataError, match=r"class folder .*dog is empty"):
        folder.read(tmp_path, {})
    save_image("dog/a.png")
    save_image("loose.png")
    with pytest.raises(DataError, match=r"loose\.png lies beside the class folders"):
        folder.read(tmp_path, {})


def test_a_class_may_be_a_link_but_a_link_inside_one_is_an_error(
    save_image: Callable[..., Path], tmp_path: Path
) -> None:
    elsewhere = save_image("stock/cat/a.png").parent
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/cat").symlink_to(elsewhere)
    assert folder.read(tmp_path / "shop", {}).labels == ["cat"]
    (elsewhere / "more").symlink_to(elsewhere)
    with pytest.raises(DataError, match=r"more is a link to a folder, which is not followed"):
        folder.read(tmp_path / "shop", {})


def test_a_folder_takes_no_options(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="option of the reader 'folder' 'label'"):
        folder.read(tmp_path, {"label": "x"})
    assert folder.matches(str(tmp_path))
    assert not folder.matches(tmp_path / "none")
