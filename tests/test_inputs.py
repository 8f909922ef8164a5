"""Files, folders, patterns, lists and standard input become inputs, in order and lazily."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from minimix import inputs
from minimix.errors import InputError
from minimix.inputs import PICTURE_ENDINGS, count_inputs, find_inputs
from tests.cli import environment

# Formats that Pillow only recognises, or draws by starting a program.
NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}


def names(*named, **options):
    return [item.name for item in find_inputs(named, **options)]


def failure(item):
    with pytest.raises(InputError) as caught:
        item.open()
    return str(caught.value)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with pictures, other files, hidden ones and folders in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIMIX_OFFLINE", raising=False)
    files = "b.png a.JPG notes.txt model.h5 .hidden.png sub/c.webp .git/d.png sub/deep/e[1].tiff"
    for name in files.split():
        path = tmp_path / "pics" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_importing_inputs_costs_nothing_but_errors():
    probe = (
        "import sys, minimix.inputs; print(*(m for m in sys.modules if m.startswith('minimix')))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            probe + "; assert not {'PIL', 'numpy', 'requests'} & set(sys.modules)",
        ],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == {
        *("minimix", "minimix.errors", "minimix.inputs", "minimix.limits", "minimix.network"),
        "minimix.streams",
    }


def test_a_file_is_itself_whatever_its_ending(folder):
    (item,) = find_inputs(["pics/notes.txt"])
    assert item.name == "pics/notes.txt" and item.open() == Path("pics/notes.txt")


def test_a_folder_gives_its_pictures_sorted_without_hidden_names(folder):
    expected = ["a.JPG", "b.png", "sub/c.webp", "sub/deep/e[1].tiff"]
    assert names("pics") == [str(Path("pics", name)) for name in expected]


def test_a_folder_that_is_named_hidden_is_walked(folder):
    assert names("pics/.git") == [str(Path("pics/.git/d.png"))]


def test_a_pattern_gives_what_a_shell_would(folder):
    assert names("pics/*.png") == ["pics/b.png"]
    assert names("pics/s*") == names("pics/sub")
    assert names("pics/**/*.webp") == ["pics/sub/c.webp"]


def test_an_existing_file_wins_over_the_pattern_that_its_name_is(folder):
    assert names("pics/sub/deep/e[1].tiff") == ["pics/sub/deep/e[1].tiff"]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("nope.jpg", "nope.jpg: no such file"),
        ("x" * 300, "cannot be reached: File name too long"),
        ("pics/b.png/c.png", "cannot be reached: Not a directory"),
        ("empty", "empty: no picture in this folder"),
        ("*.nope", r"\*.nope: no file matches this pattern"),
        ("ftp://host/a.jpg", "ftp:// is refused; only http and https"),
        ("file:///etc/passwd", "file:// is refused; only http and https"),
    ],
)
def test_what_cannot_be_found_is_one_failing_input_among_the_others(folder, named, message):
    first, second, third = find_inputs(["pics/b.png", named, "pics/a.JPG"])
    assert (first.name, third.name) == ("pics/b.png", "pics/a.JPG")
    assert second.name == named
    with pytest.raises(InputError, match=message):
        second.open()


def test_a_folder_that_cannot_be_listed_is_a_failing_input(folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    *found, last = find_inputs(["pics"])
    assert [item.name for item in found] == [str(Path("pics", n)) for n in ("a.JPG", "b.png")]
    assert "cannot be listed: Permission denied" in failure(last)


def test_files_are_found_only_when_their_turn_comes(folder):
    found = find_inputs(["pics/b.png", "late"])
    assert next(found).name == "pics/b.png"
    (folder / "late").mkdir()
    (folder / "late" / "f.png").touch()
    assert [item.name for item in found] == [str(Path("late/f.png"))]


def test_endings_are_those_that_pillow_opens():
    registered = Image.registered_extensions()  # fills Image.OPEN too
    readable = {ending for ending, kind in registered.items() if kind in Image.OPEN}
    others = {ending for ending in readable if registered[ending] in NO_PICTURES}
    assert {".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".gif"} <= PICTURE_ENDINGS
    assert readable - PICTURE_ENDINGS == others
    # What this Pillow lacks, a newer or an older one has.
    assert PICTURE_ENDINGS - readable <= {".mpo", ".avif", ".avifs", ".qoi", ".pfm", ".jp2"}


def test_the_count_is_known_where_every_name_is_one_input(folder):
    assert count_inputs(["pics/b.png", "nope", "-", "http://host/a?b=*"]) == 4
    assert count_inputs(["pics"]) is None
    assert count_inputs(["pics/*.png"]) is None


def listed(path, content):
    path.write_bytes(content)
    return names(listed=str(path))


def test_a_list_holds_a_path_a_line(folder):
    assert listed(folder / "l", b"a.jpg\n\n b c.png \nd.png") == ["a.jpg", " b c.png ", "d.png"]
    assert listed(folder / "l", b"\xef\xbb\xbfa.jpg\r\nb.jpg\r\n") == ["a.jpg", "b.jpg"]
    assert listed(folder / "l", b"only.jpg") == ["only.jpg"]


def test_a_list_with_nuls_may_hold_line_breaks_in_its_paths(folder):
    assert listed(folder / "l", b"a\nb.jpg\0c.jpg\0") == ["a\nb.jpg", "c.jpg"]


def test_a_list_may_name_folders_and_takes_patterns_and_dashes_literally(folder):
    content = b"pics/sub/deep\npics/*.png\n-\n"
    deep = str(Path("pics/sub/deep/e[1].tiff"))
    assert listed(folder / "l", content) == [deep, "pics/*.png", "-"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    entries=st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=8),
    separator=st.sampled_from([b"\0", b"\n"]),
    chunk=st.integers(1, 40),
)
def test_any_list_comes_back_whatever_the_chunks_it_arrives_in(
    folder, monkeypatch, entries, separator, chunk
):
    # Without the other separator, and nothing that a list's first or last bytes may mean.
    plain = [b"p" + e.translate(None, b"\0\n\r") for e in entries]
    monkeypatch.setattr(inputs, "_LIST_CHUNK_BYTES", chunk)
    found = listed(folder / "l", b"".join(e + separator for e in plain))
    assert [os.fsencode(name) for name in found] == plain


@pytest.mark.parametrize(
    ("content", "message"), [(None, "No such file"), (b"", "empty"), (b"\n\n", "empty")]
)
def test_a_list_that_is_missing_or_empty_is_one_failing_input(folder, content, message):
    if content is not None:
        (folder / "list").write_bytes(content)
    (item,) = find_inputs([], listed="list")
    assert item.name == "list"
    assert message in failure(item)


@pytest.fixture
def stdin(tmp_path, monkeypatch):
    """A function that makes bytes this process's standard input."""
    opened = []

    def feed(content):
        path = tmp_path / "stdin"
        path.write_bytes(content)
        opened.append(path.open())
        monkeypatch.setattr(sys, "stdin", opened[-1])

    yield feed
    for stream in opened:
        stream.close()


def test_a_dash_is_the_bytes_on_standard_input(stdin):
    stdin(b"picture")
    (item,) = find_inputs(["-"])
    opened = item.open()
    assert item.name == opened.name == "-" and opened.read() == b"picture"


def test_standard_input_can_be_the_list(stdin):
    stdin(b"a.jpg\nb.jpg\n")
    assert names("first.jpg", listed="-") == ["first.jpg", "a.jpg", "b.jpg"]


def test_standard_input_is_bounded(stdin, monkeypatch):
    monkeypatch.setattr(inputs, "MAX_BYTES", 10)
    stdin(b"x" * 10)
    assert len(next(find_inputs(["-"])).open().read()) == 10
    stdin(b"x" * 11)
    assert "more than 10 bytes" in failure(next(find_inputs(["-"])))


def test_a_terminal_is_no_picture(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    assert "-: standard input is no file or pipe" in failure(next(find_inputs(["-"])))


def test_an_endless_list_is_read_as_it_is_needed(folder):
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, b"a.jpg\nb.jpg\nc.j")
        found = find_inputs([], listed=f"/dev/fd/{read_end}")
        assert [item.name for item in islice(found, 2)] == ["a.jpg", "b.jpg"]
        found.close()
    finally:
        os.close(write_end)
        os.close(read_end)
