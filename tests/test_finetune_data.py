"""A folder by class: what is found in it, and what is refused before any work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minimix.errors import UsageError
from minimix.workflows.finetuning.data import gather


def lay(folder, *names):
    """Files of these names, each with other bytes."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return folder


def test_class_folders_are_walked_in_order_and_hidden_names_left_out(tmp_path):
    names = ["b/2.png", "b/1.jpg", "a/deep/er/1.png", "a/0.png", "a/.0.png", "a/note.txt"]
    lay(tmp_path, *names, ".git/1.png", "readme.txt")
    found = gather(tmp_path)
    assert found.labels == ("a", "b") and found.classes == (0, 0, 1, 1)
    assert found.counts == [2, 2] and found.repeated == ()
    relative = [Path(item.name).relative_to(tmp_path).as_posix() for item in found.inputs]
    assert relative == ["a/0.png", "a/deep/er/1.png", "b/1.jpg", "b/2.png"]


def test_numbers_are_classes_in_numeric_order(tmp_path):
    lay(tmp_path, *(f"{k}/{n}.png" for k in (10, 2, 0) for n in range(2)))
    assert gather(tmp_path).labels == ("0", "2", "10")


def test_links_to_class_folders_are_followed(tmp_path):
    lay(tmp_path / "elsewhere", "1.png", "2.png")
    lay(tmp_path / "here", "a/1.png", "a/2.png")
    (tmp_path / "here" / "b").symlink_to(tmp_path / "elsewhere")
    assert gather(tmp_path / "here").counts == [2, 2]


def test_the_same_picture_twice_in_a_class_is_one(tmp_path):
    lay(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (tmp_path / "a" / "3.png").write_bytes(b"a/1.png")
    found = gather(tmp_path)
    assert found.counts == [2, 2]
    assert found.repeated == ((str(tmp_path / "a/3.png"), str(tmp_path / "a/1.png")),)


def test_the_same_picture_in_two_classes_is_refused_with_both_names(tmp_path):
    lay(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    (tmp_path / "b" / "3.png").write_bytes(b"a/2.png")
    with pytest.raises(UsageError, match=r"1 picture lies in two classes.*a.2\.png = .*b.3\.png"):
        gather(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no class folders; expected"),
        (["1.png", "2.png"], r"2 pictures \(first: 1.png\) and no class folders"),
        (["a/1.png", "b/1.png", "0.png"], r"1 picture \(first: 0.png\) beside 2 class folders"),
        (["a/1.png", "0.png"], r"1 picture \(first: 0.png\) beside 1 class folder;"),
        (["a/1.png", "a/2.png"], r"one class folder \('a'\); expected two or more"),
        (["x/a/1.png", "x/b/1.png"], "one class folder .* In .*x there are 2: name that"),
        (["a/1.png", "a/2.png", "b/1.png"], "a class needs 2 pictures that differ; 'b' has one"),
        (["a/1.png", "a/2.png", "b/note.txt"], "b: no picture in this folder.* Add pictures"),
        (["train/a/1.png", "val/a/2.png"], "'train', 'val' look like parts of a data set"),
        (["A_b/1.png", "a b/2.png"], "'A_b' and 'a b' differ only in case"),
    ],
)
def test_what_is_no_folder_of_classes_is_refused(tmp_path, names, message):
    lay(tmp_path, *names)
    with pytest.raises(UsageError, match=message):
        gather(tmp_path)


@pytest.mark.parametrize("file", ["manifest.json", "lock"])
def test_kept_work_is_no_class(tmp_path, file):
    lay(tmp_path, "a/1.png", "a/2.png", "b/1.png", "b/2.png", f"n.h5.parts/{file}")
    assert gather(tmp_path).labels == ("a", "b")


def test_a_folder_that_is_only_called_like_kept_work_is_a_class(tmp_path):
    lay(tmp_path, "a/1.png", "a/2.png", "old.parts/1.png", "old.parts/2.png")
    assert gather(tmp_path).labels == ("a", "old.parts")


def test_no_folder_is_refused_and_a_file_is_called_a_file(tmp_path):
    with pytest.raises(UsageError, match="nope: no such folder"):
        gather(tmp_path / "nope")
    with pytest.raises(UsageError, match=r"1\.png: is a file; expected a folder"):
        gather(lay(tmp_path, "1.png") / "1.png")


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text_is_refused(tmp_path):
    for name in (b"a", b"\xff"):
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        folder.mkdir()
        (folder / "1.png").write_bytes(name)
    with pytest.raises(UsageError, match="is no text for a label"):
        gather(tmp_path)
