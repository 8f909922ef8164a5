"""Layouts of data sets: those that are recognised, and those that are refused before any work."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimix.errors import UsageError
from minimix.labels import imagenet_classes, imagenet_wnids
from minimix.workflows.validation.classes import Classes, resolve
from minimix.workflows.validation.layout import recognise

TINY = Classes("tiny", ("panda", "polar bear", "köttur"))
IMAGENET = Classes("mixnet-s", imagenet_classes(), imagenet_wnids())
PANDA, FOX = ("n02510455", 388), ("n02119022", 277)


@pytest.fixture
def make(tmp_path):
    """Makes empty files, whose endings are all that a layout looks at; returns their folder."""

    def files(*names):
        for name in names:
            path = tmp_path / "val" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / "val"

    return files


@pytest.fixture
def write(tmp_path):
    def text(name, content):
        (tmp_path / name).write_text(content, encoding="utf-8")
        return tmp_path / name

    return text


def found(layout, folder):
    """Paths from the folder on, and the true class."""
    return {os.path.relpath(p.path, folder): p.truth for p in layout.pictures}


def numbered(*numbers):
    return [f"ILSVRC2012_val_{n:08d}.JPEG" for n in numbers]


@pytest.mark.parametrize(
    ("classes", "names", "way"),
    [
        (IMAGENET, (PANDA[0], FOX[0]), "synset"),
        (IMAGENET, ("388", "277"), "index"),
        (IMAGENET, ("0388", "0277"), "index"),
        (IMAGENET, ("giant panda", "red fox"), "name"),
        (IMAGENET, ("Giant_Panda", "Red_fox"), "name"),
    ],
)
def test_class_folders_are_recognised_by_synset_index_and_name(make, classes, names, way):
    panda, fox = names
    folder = make(f"{panda}/1.jpg", f"{panda}/deep/2.png", f"{fox}/1.JPEG", f"{fox}/notes.txt",
                  f"{fox}/.hidden.jpg")  # fmt: skip
    layout = recognise(folder, classes)
    assert layout.description == f"2 class folders named by {way}"
    assert found(layout, folder) == {
        f"{panda}/1.jpg": (388,),
        f"{panda}/deep/2.png": (388,),
        f"{fox}/1.JPEG": (277,),
    }


def test_folders_that_are_links_are_followed(make, tmp_path):
    folder = make("panda/1.png")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "2.png").touch()
    (folder / "köttur").symlink_to(tmp_path / "far")
    assert found(recognise(folder, TINY), folder) == {"panda/1.png": (0,), "köttur/2.png": (2,)}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), r"no such folder"),
        (("notes.txt",), r"no pictures; expected class folders"),
        (("1.jpg", "2.jpg"), r"2 flat files and no labels; give --labels val\.txt"),
        (("1.jpg", "panda/1.jpg"), r"1 picture \(first: 1\.jpg\) beside 1 folder with .*'panda'"),
        (("1.jpg",), r"1 flat file and no labels"),
        (("panda/1.jpg", "cat/1.jpg"), r"1 of 2 are no name of tiny's 3 classes: 'cat'"),
        (("a/1.jpg", "b/1.jpg"), r"none is a class of tiny by index or name; found 'a', 'b'"),
        (("1/1.jpg", "2/1.jpg", "3/1.jpg"), r"'3'. They look counted from 1"),
        (("n02510455/1.jpg",), r"They are ImageNet's; give --model mixnet-s"),
        (("panda/1.jpg", "Panda/1.jpg"), r"'Panda' and 'panda' are both class 0 \(panda\)"),
        (("val/panda/1.jpg", "train/panda/1.jpg"), r"In .*train they are: name that folder"),
    ],
)
def test_wrong_class_folders_are_refused_with_the_reason(make, tmp_path, names, message):
    make(*names)
    with pytest.raises(UsageError, match=message):
        recognise(tmp_path / "val", TINY)


def test_folders_that_mean_two_things_are_refused(make):
    digits = Classes("digits", ("1", "0", "2"))
    with pytest.raises(
        UsageError, match=r"'0' is class 0 \(1\) by index and class 1 \(0\) by name"
    ):
        recognise(make("0/a.png", "1/a.png", "2/a.png"), digits)


def test_folders_that_mean_the_same_in_two_ways_are_fine(make):
    digits = Classes("digits", ("0", "1", "2"))
    folder = make("0/a.png", "2/a.png")
    assert found(recognise(folder, digits), folder) == {"0/a.png": (0,), "2/a.png": (2,)}


def test_a_label_file_nearby_is_named(make, write):
    folder = make("a.jpg")
    file = write("val.txt", "")
    with pytest.raises(UsageError, match=f"give --labels {file}"):
        recognise(folder, TINY)


SPELLINGS = {
    "spaces": "a 1.jpg polar bear\nb.jpg panda\n",
    "index": "a 1.jpg 1\nb.jpg 0",
    "tabs": "a 1.jpg\tpolar_bear\nb.jpg\tPANDA\n",
    "crlf and bom": "\ufeffa 1.jpg 1\r\nb.jpg 0\r\n\r\n",
    "paths": "val/a 1.jpg 1\nval/b.jpg 0",
    "windows paths": "val\\a 1.jpg 1\nval\\b.jpg 0",
    "no endings": "a 1 1\nb 0",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_flat_files_have_labels_in_several_spellings(make, write, spelling):
    folder = make("a 1.jpg", "b.jpg")
    layout = recognise(folder, TINY, write("labels.txt", SPELLINGS[spelling]))
    assert layout.description == "files with labels in labels.txt"
    assert found(layout, folder) == {"a 1.jpg": (1,), "b.jpg": (0,)}


@pytest.mark.parametrize(
    "content",
    [
        "file,label\na.jpg,polar bear\nb.jpg,panda",
        "a.jpg,1\nb.jpg,0",
        '"a.jpg","polar bear"\nb.jpg,panda',
    ],
)
def test_a_table_with_commas_may_have_a_heading(make, write, content):
    folder = make("a.jpg", "b.jpg")
    layout = recognise(folder, TINY, write("labels.csv", content))
    assert found(layout, folder) == {"a.jpg": (1,), "b.jpg": (0,)}


def test_kaggle_s_table_of_boxes_is_understood(make, write):
    folder = make(*numbered(1, 2))
    content = (
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000002,n02510455 115 49 448 294 n02510455 91 42 330 432 \n"
        "ILSVRC2012_val_00000001,n02119022 1 2 3 4 \n"
    )
    layout = recognise(folder, IMAGENET, write("LOC_val_solution.csv", content))
    assert found(layout, folder) == dict(zip(numbered(1, 2), [(277,), (388,)], strict=True))


def test_files_of_one_name_are_told_apart_by_their_paths(make, write):
    folder = make("x/1.jpg", "y/1.jpg")
    layout = recognise(folder, TINY, write("l.txt", "x/1.jpg 0\ny/1.jpg 2"))
    assert found(layout, folder) == {"x/1.jpg": (0,), "y/1.jpg": (2,)}
    with pytest.raises(UsageError, match="only 0 of 1 file found in"):
        recognise(folder, TINY, write("l.txt", "1.jpg 0"))


def test_a_labelled_file_that_is_not_there_is_an_input_that_will_fail(make, write):
    folder = make("a.jpg", "b.jpg")
    layout = recognise(folder, TINY, write("l.txt", "a.jpg 0\ngone.jpg 1\nb.jpg 2"))
    assert found(layout, folder) == {"a.jpg": (0,), "gone.jpg": (1,), "b.jpg": (2,)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"is empty"),
        ("a.jpg 0\nb.jpg 3", r"1 of 2 are no index of tiny's 3 classes: '3'"),
        ("a.jpg 0", r"1 of 2 pictures without a label in .* \(first: b\.jpg\)"),
        ("a.jpg 0\nb.jpg 1\na.jpg 2", r"a\.jpg has two labels, 0 and 2"),
        ("x.jpg 0\ny.jpg 1\nb.jpg 1", r"only 1 of 3 files found in .*first that is not: x\.jpg"),
        ("0 a.jpg\n1 b.jpg", r"none is a class|are no"),
        ("a.jpg,0\nb.jpg", r"line 2: expected a file and a label"),
        ("0\n1\n2", r"3 labels without file names for 2 pictures"),
        ("panda, 0.jpg\n1, b.jpg", r"none is a class .*found '0.jpg', 'b.jpg'"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_the_reason(make, write, content, message):
    with pytest.raises(UsageError, match=message):
        recognise(make("a.jpg", "b.jpg"), TINY, write("l.txt", content))


def test_labels_without_names_follow_the_order_of_names(make, write):
    folder = make("b.jpg", "a.jpg")
    layout = recognise(folder, TINY, write("l.txt", "köttur\npolar bear"))
    assert layout.description == "files in order of l.txt"
    assert found(layout, folder) == {"a.jpg": (2,), "b.jpg": (1,)}
    deep = make("deep/c.jpg")
    with pytest.raises(UsageError, match="in several folders; their order is unclear"):
        recognise(deep, TINY, write("l.txt", "0\n1\n2"))


def test_numbers_by_order_are_indices_where_the_classes_are_not_imagenet_s(make, write):
    folder = make("a.jpg", "b.jpg", "c.jpg")
    layout = recognise(folder, TINY, write("l.txt", "2\n1\n1\n"))
    assert found(layout, folder) == {"a.jpg": (2,), "b.jpg": (1,), "c.jpg": (1,)}
    with pytest.raises(UsageError, match=r"They look counted from 1"):
        recognise(folder, TINY, write("l.txt", "3\n1\n2\n"))
    with pytest.raises(UsageError, match=r'ids of ImageNet.s devkit.*Indices.*"NAME LABEL"'):
        recognise(folder, IMAGENET, write("l.txt", "2\n1\n1\n"))


def test_a_comma_separates_only_behind_a_picture(make, write):
    classes = Classes("traffic", ("bus, coach", "tram"))
    folder = make("a.jpg", "b.jpg")
    expected = {"a.jpg": (0,), "b.jpg": (1,)}
    for content in ("bus, coach\ntram\n", "a.jpg bus, coach\nb.jpg tram\n"):
        assert found(recognise(folder, classes, write("l.txt", content)), folder) == expected
    names = "file, label\na.jpg, tram\nb.jpg, tram\n"
    assert found(recognise(folder, classes, write("l.txt", names)), folder)["a.jpg"] == (1,)


def test_numbered_files_have_the_label_of_their_number_even_if_some_are_missing(make, write):
    folder = make(*numbered(1, 3))
    layout = recognise(folder, IMAGENET, write("l.txt", f"{PANDA[0]}\n{FOX[0]}\n{FOX[0]}\n"))
    assert found(layout, folder) == dict(zip(numbered(1, 3), [(388,), (277,)], strict=True))
    with pytest.raises(UsageError, match=r"has 2 labels, and none for .*00000003"):
        recognise(folder, IMAGENET, write("l.txt", f"{PANDA[0]}\n{FOX[0]}"))


def test_devkit_ids_need_the_mapping_that_the_user_gives(make, write):
    folder = make(*numbered(1, 2, 3))
    truth = write("ILSVRC2012_validation_ground_truth.txt", "2\n1\n2\n")
    with pytest.raises(UsageError, match=r"an order of their own. Give --devkit-map FILE"):
        recognise(folder, IMAGENET, truth)
    for content in (f"1 {FOX[0]} fox\n2 {PANDA[0]} panda", f"{FOX[0]},1\n{PANDA[0]},2\n"):
        layout = recognise(folder, IMAGENET, truth, write("map.txt", content))
        assert list(found(layout, folder).values()) == [(388,), (277,), (388,)]
    with pytest.raises(UsageError, match="'2' is no id in"):
        recognise(folder, IMAGENET, truth, write("map.txt", f"1 {FOX[0]}"))
    with pytest.raises(UsageError, match='line 1: expected "id synset"'):
        recognise(folder, IMAGENET, truth, write("map.txt", "one fox"))
    with pytest.raises(UsageError, match="give --labels too"):
        recognise(folder, IMAGENET, None, truth)


def test_real_labels_may_be_several_or_none(make, write):
    folder = make(*numbered(1, 2, 3))
    layout = recognise(folder, IMAGENET, write("real.json", "[[388, 1], [], [277]]"))
    assert list(found(layout, folder).values()) == [(388, 1), (277,)]
    assert layout.left_out == 1 and not layout.is_single


@pytest.mark.parametrize(
    ("content", "names", "message"),
    [
        ("[[1]", numbered(1), "not JSON"),
        ("{}", numbered(1), "expected ReaL's labels, a list of lists of indices below 1,000"),
        ("[[1000]]", numbered(1), "indices below 1,000"),
        ("[[true]]", numbered(1), "indices below 1,000"),
        ("[[]]", numbered(1), "leaves out every picture"),
        ("[[1]]", ["a.jpg"], "for ILSVRC2012_val_"),
        ("[[1]]", numbered(2), "has 1 label, and none for"),
    ],
)
def test_what_is_no_real_label_file_is_refused(make, write, content, names, message):
    with pytest.raises(UsageError, match=message):
        recognise(make(*names), IMAGENET, write("real.json", content))


def test_a_label_file_that_is_not_there_is_refused_with_what_is_not_shipped(make, tmp_path):
    with pytest.raises(
        UsageError, match=r"real\.json and the devkit's ids are not part of minimix"
    ):
        recognise(make("a.jpg"), IMAGENET, tmp_path / "real.json")


def test_bytes_that_are_no_text_are_no_labels(make, tmp_path):
    (tmp_path / "l.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read as UTF-8"):
        recognise(make("a.jpg"), TINY, tmp_path / "l.txt")


@given(st.lists(st.integers(0, 999), min_size=1, max_size=20, unique=True))
def test_every_way_names_the_same_classes(indices):
    ways = {
        "synset": imagenet_wnids().__getitem__,
        "index": str,
        "name": imagenet_classes().__getitem__,
    }
    for way, spell in ways.items():
        read = resolve([spell(n) for n in indices], IMAGENET, "words")
        assert read == (way, {spell(n): n for n in indices})
