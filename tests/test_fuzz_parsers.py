"""All parsers of outside bytes on damaged files: one good error, or a valid result.

``tests/fuzz`` does it by the hundred thousand, and led by coverage; here are a few, the inputs that
once broke the rule, and the rule itself.
"""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from minimix import inputs
from minimix.errors import InputError, MinimixError, UsageError, brief
from minimix.explorer.record import Record
from minimix.hub.partial import PartialFile
from minimix.images import open_image
from minimix.workflows.batching.sources import from_line
from minimix.workflows.batching.tar_shards import MAX_HEADER_BYTES, members_of
from minimix.workflows.resuming.parts import is_product, open_parts
from minimix.workflows.validation.labels import labelled_layout
from minimix.zoo import parse_block
from tests.fuzz import guided, parser_rule, seeds_texts
from tests.fuzz.mutations import MAX_FILE_BYTES, mangled
from tests.fuzz.parsers import PARSERS
from tests.fuzz.rule import BrokenRuleError
from tests.fuzz.samples import FILE_NAME, Row, single
from tests.fuzz.seeds import make_input, seeds_of
from tests.pictures import encoded, picture, pixels

ROOT = Path(__file__).resolve().parents[1]
rows = pytest.mark.parametrize("row", PARSERS, ids=lambda row: row.container)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the files of a Hypothesis test; each example replaces them."""
    return tmp_path_factory.mktemp("parsers")


@rows
def test_valid_files_are_accepted(row: Row, folder: Path) -> None:
    for seed in seeds_of(row.container):
        assert sum(map(len, seed.files.values())) <= MAX_FILE_BYTES
        outcome = row.examine(row.store(folder, seed.files), seed.files, {}, deep=True)
        assert outcome.kind == ("accepted" if seed.is_valid else "refused"), outcome
        if seed.pieces:
            assert seed.assemble(seed.pieces) == seed.files


@rows
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.randoms(use_true_random=False))
def test_a_damaged_file_gives_one_good_error_or_a_valid_result(
    row: Row, folder: Path, random: Any
) -> None:
    _, files = mangled(random, seeds_of(row.container))
    row.examine(row.store(folder, files), files, {}, deep=False)


@pytest.mark.parametrize("name", ["block-string", "labels-csv", "kernel-code"])
def test_an_input_is_the_same_in_every_run(name: str) -> None:
    (row,) = (row for row in PARSERS if row.container == name)
    inputs = [make_input(row, 3, index)[1] for index in range(40)]
    assert inputs == [make_input(row, 3, index)[1] for index in range(40)]
    assert len({tuple(files.items()) for files in inputs}) > 30


# --- inputs that broke it: pictures -----------------------------------------------------------


def taken(call: Callable[[], Any]) -> int:
    """The most bytes that Python made room for during a call, which may be refused."""
    tracemalloc.start()
    try:
        try:
            call()
        except MinimixError as error:
            assert "MemoryError" not in str(error)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_picture_that_states_gigabytes_is_given_no_room_for_them(tmp_path: Path) -> None:
    data = bytearray(encoded(Image.fromarray(picture(16, 16))))
    place = data.rindex(b"IDAT") - 4
    data[place : place + 4] = (2**31 - 1).to_bytes(4, "big")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert taken(lambda: open_image(path)) < 2**24


def test_a_recording_that_states_gigabytes_is_given_no_room_for_them(tmp_path: Path) -> None:
    (seed,) = seeds_of("recording")
    data = bytearray(seed.files[FILE_NAME])
    place = data.index(b"PK\1\2") + 20
    data[place : place + 4] = (2**31 - 1).to_bytes(4, "little")
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    assert taken(lambda: Record.load(path)) < 2**24


def test_an_icon_of_indexed_colours_is_the_picture_that_it_holds() -> None:
    """Pillow gives a picture without its palette, of which its own questions fail."""
    indexed = Image.fromarray(picture(128, 128)).convert("P")
    content = encoded(indexed)
    entry = b"ic07" + struct.pack(">I", 8 + len(content)) + content
    icon = b"icns" + struct.pack(">I", 8 + len(entry)) + entry
    np.testing.assert_array_equal(pixels(icon), pixels(content))


def test_a_picture_that_cannot_be_converted_is_an_input_error(monkeypatch: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise IndexError("no such band")

    monkeypatch.setattr(Image.Image, "convert", fail)
    with pytest.raises(InputError, match=r"damaged or unsupported image file \(no such band\)"):
        open_image(encoded(Image.fromarray(picture(4, 4, 1))))


@pytest.mark.parametrize("stated", [-512, -1024])
def test_a_shard_that_leads_back_to_itself_is_refused(tmp_path: Path, stated: int) -> None:
    """tarfile of CPython 3.11.7 goes back by a size below zero, and reads the same for ever."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("a.jpg", "b.jpg"):
            archive.addfile(tarfile.TarInfo(name))
    data = bytearray(stream.getvalue())
    header = data[512:1024]
    header[124:136] = stated.to_bytes(12, "big", signed=True)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    data[512:1024] = header
    path = tmp_path / "a.tar"
    path.write_bytes(data)
    found = []
    with pytest.raises(InputError, match="damaged at byte 512: a member of no length"):
        for member in members_of(str(path)):
            found.append(member[0])
            assert len(found) < 5
    assert found == ["a.jpg"]


def test_a_shard_s_header_that_states_gigabytes_is_given_no_room_for_them(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**32
    path = tmp_path / "a.tar"
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    assert taken(lambda: list(members_of(str(path)))) < 2**24
    with pytest.raises(InputError, match=f"at most {MAX_HEADER_BYTES:,} are read"):
        list(members_of(str(path)))


# --- inputs that broke it: texts --------------------------------------------------------------


DEEP = "[" * 100_000
TINY = seeds_texts.Classes("tiny", ("panda", "polar bear"))


def labels_of(folder: Path, name: str, content: str, *pictures: str) -> None:
    (folder / name).write_text(content, encoding="utf-8")
    labelled_layout(folder, list(pictures), TINY, folder / name, None)


@pytest.mark.parametrize(
    ("name", "content", "pictures", "message"),
    [
        ("l.json", DEEP, ["a.jpg"], "not JSON: maximum recursion depth"),
        ("l.csv", "a.jpg," + "x" * 200_000, ["a.jpg"], "no table of files and labels: field"),
        ("l.txt", "\u00b2", ["a.jpg"], "none is a class of tiny"),
        ("l.txt", "9" * 5000, ["a.jpg"], "none is a class of tiny"),
        ("l.txt", "a.jpg " + "x" * 7000, ["a.jpg"], r"'x{79} \.\.\."),
        ("l.txt", "a.jpg " + "x " * 5000, ["a.jpg"], "line 1 has 10,005 characters; at most 8,192"),
    ],
)
def test_labels_that_once_were_another_exception_or_a_long_message(
    name: str, content: str, pictures: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        labels_of(tmp_path, name, content, *pictures)
    assert len(str(caught.value)) < 1000


def test_boxes_without_end_are_read_in_a_time_that_grows_with_them(tmp_path: Path) -> None:
    label = "n02510455 1 " * 5000 + "x"
    with pytest.raises(UsageError, match="none is a class"):
        labels_of(tmp_path, "l.csv", f"a.jpg,{label}\n", "a.jpg")


def test_a_list_that_never_ends_a_line_is_left_early() -> None:
    class Endless(io.RawIOBase):
        given = 0

        def read1(self, size: int) -> bytes:
            self.given += size
            return b"x" * size

    endless = Endless()
    with pytest.raises(InputError, match="an entry of over 65,536 bytes; expected one path a line"):
        list(inputs.entries_of(endless))
    assert endless.given < 10 * inputs.LONGEST_ENTRY
    assert list(inputs.entries_of(io.BytesIO(b"x" * 60_000))) == ["x" * 60_000]


def test_a_long_block_string_makes_a_short_message() -> None:
    with pytest.raises(MinimixError, match="is unknown, repeated or out of place") as caught:
        parse_block("r1_k3_a1_p1_s11_e1_i4_o4_" + "x" * 50_000)
    assert len(str(caught.value)) < 600


def test_what_a_message_quotes_is_short_and_prints() -> None:
    assert brief("a\x1b[2J\n") == r"a\x1b[2J\n"
    assert brief("ab" * 300, 5) == "ababa ..."


# --- inputs that broke it: work that a run left -----------------------------------------------

LINES = ['["a.jpg", 1, 2, null]', '["b.jpg", 3, 4, null]']


@pytest.mark.parametrize("content", [None, b"", b'["/etc/passwd", 1, 2, null]\n', b"\xff\n"])
def test_a_list_of_inputs_that_was_changed_is_written_anew(
    content: bytes | None, tmp_path: Path
) -> None:
    """The manifest says what the list was; nobody had compared the list itself."""
    folder = tmp_path / "out.parts"
    with open_parts(folder, {"command": "x"}, LINES) as parts:
        parts.write(0, b"done")
    listing = folder / "inputs.ndjson"
    listing.unlink() if content is None else listing.write_bytes(content)
    with open_parts(folder, {"command": "x"}, LINES) as parts:
        assert parts.count == 2
        assert listing.read_text("utf-8").splitlines() == LINES


def test_json_that_nests_too_deeply_is_damage_like_any_other(tmp_path: Path) -> None:
    folder, out = tmp_path / "out.parts", tmp_path / "out"
    with open_parts(folder, {"command": "x"}, LINES) as parts:
        parts.write(0, b"done")
    out.write_bytes(b"result")
    (folder / "result.json").write_text(DEEP)
    assert not is_product(folder, out)
    (folder / "manifest.json").write_text(DEEP)
    with (
        pytest.raises(UsageError, match=r"manifest\.json: is damaged"),
        open_parts(folder, {"command": "x"}, LINES),
    ):
        pass
    part = tmp_path / seeds_texts.PART
    part.write_bytes(b"content")
    part.with_name(f"{part.name}.json").write_text(DEEP)
    assert PartialFile(part).origin("https://host/a") is None


@pytest.mark.parametrize(
    "line", [DEEP, '["a", "files", {"problems": 3, "files": [], "offline": false}, []]']
)
def test_a_line_that_is_no_chunk_is_a_value_error_and_nothing_else(line: str) -> None:
    with pytest.raises(ValueError, match="no chunk"):
        from_line(line)


# --- the rule is one --------------------------------------------------------------------------


def misbehaving(error: Exception | None = None, holds: bool = True) -> Any:
    def parse(path: Path, files: Any) -> None:
        if error is not None:
            raise error
        parser_rule.check(holds, "not valid")

    return parser_rule.examining(parse)


@pytest.mark.parametrize(
    ("examine", "problem"),
    [
        (misbehaving(IndexError("x")), "parse raised IndexError: x"),
        (misbehaving(InputError("a\x1b[2J")), "does not print"),
        (misbehaving(holds=False), "^not valid$"),
    ],
    ids=["other exceptions", "control characters", "results that are not valid"],
)
def test_the_rule_notices(examine: Any, problem: str, tmp_path: Path) -> None:
    with pytest.raises(BrokenRuleError, match=problem):
        examine(tmp_path, {}, {}, deep=False)


def test_the_rule_tells_a_refusal_from_a_result(tmp_path: Path) -> None:
    assert misbehaving(InputError("no"))(tmp_path, {}, {}, deep=False).kind == "refused"
    assert misbehaving()(tmp_path, {}, {}, deep=False).kind == "accepted"


# --- led by coverage --------------------------------------------------------------------------


@given(pieces=st.dictionaries(st.text(max_size=3), st.binary(max_size=40), min_size=1, max_size=4))
def test_pieces_come_back_from_an_input(pieces: dict[str, bytes]) -> None:
    packed = guided.pack(5, pieces)
    assert (packed[0], guided.unpack(packed[1:], sorted(pieces))) == (5, pieces)


@given(data=st.binary(max_size=60))
def test_any_bytes_are_pieces(data: bytes) -> None:
    found = guided.unpack(data, ["a", "b", "c"])
    assert sorted(found) == ["a", "b", "c"]
    assert b"".join(found.values()) in data or sum(map(len, found.values())) <= len(data)


@rows
def test_the_corpus_is_the_seeds(row: Row, tmp_path: Path) -> None:
    target = guided.Target(row, tmp_path, tmp_path)
    made = [target.files(data) for data in target.corpus()]
    assert all(seed.files in made for seed in seeds_of(row.container))


def test_a_failure_is_kept_with_what_it_did(tmp_path: Path, capsys: Any) -> None:
    guided.keep_failure(tmp_path, "pin", single(b"x"), "a trace\nIndexError: y")
    guided.keep_failure(tmp_path, "pin", single(b"z"), "again")
    assert (tmp_path / "pin-guided-0" / FILE_NAME).read_bytes() == b"x"
    assert (tmp_path / "pin-guided-1.txt").read_text() == "again"
    assert "IndexError: y" in capsys.readouterr().out


@pytest.mark.skipif(find_spec("atheris") is not None, reason="atheris is installed")
def test_without_atheris_the_command_says_how_to_get_it(capsys: Any) -> None:
    assert guided.main(["--reader", "pin"]) == guided.USAGE
    assert "pip install atheris" in capsys.readouterr().err


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
def test_the_guided_command_counts_what_became_of_each_file(tmp_path: Path) -> None:
    arguments = ["--reader", "pin", "--seconds", "3", "--keep", str(tmp_path / "kept")]
    answer = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "inputs in" in answer.stdout and "; 0 failed" in answer.stdout
