"""Every reader on damaged files: one good error, or the declared bytes.  ``tests/fuzz`` does it
by the hundred thousand; here are a few, the inputs that once broke the rule, and the rule itself.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minimix.errors import WeightsError
from tests.checkpoint_writers import (
    Global,
    Storage,
    legacy_bytes,
    state_dict,
    torch_zip_bytes,
    zip_bytes,
)
from tests.fuzz.mutations import MAX_FILE_BYTES, mangled
from tests.fuzz.rule import BrokenRuleError, examine
from tests.fuzz.samples import FILE_NAME, FLOATS, SAMPLE, Row, single
from tests.fuzz.seeds import ORACLES, ROWS, make_input, seeds_of
from weights_tools import readers
from weights_tools.readers.checkpoint import Checkpoint

ROOT = Path(__file__).resolve().parents[1]
rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.container)
needs_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the bounds of tests.fuzz are those of Linux"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the files of a Hypothesis test; each example replaces them."""
    return tmp_path_factory.mktemp("mutations")


@contextmanager
def bounded(size_bytes: int) -> Iterator[None]:
    """Hold what Python and NumPy take inside to four times the file and 64 MB."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 4 * size_bytes + 64 * 2**20


# --- the rule ---------------------------------------------------------------------------------


@rows
def test_valid_files_are_read_as_they_declare(row: Row, folder: Path) -> None:
    for seed in seeds_of(row.container):
        assert sum(map(len, seed.files.values())) <= MAX_FILE_BYTES
        path = row.store(folder, seed.files)
        outcome = row.examine(path, seed.files, ORACLES, deep=seed.is_model)
        expected = "accepted" if seed.is_valid else "refused"
        assert (outcome.kind, readers.detect(path)) == (expected, row.container)
        if seed.pieces:
            assert seed.assemble(seed.pieces) == seed.files


@rows
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.randoms(use_true_random=False), deep=st.booleans())
def test_a_damaged_file_gives_one_good_error_or_the_declared_bytes(
    row: Row, folder: Path, random: Any, deep: bool
) -> None:
    small = [seed for seed in seeds_of(row.container) if not seed.is_model]
    _, files = mangled(random, small)
    size = sum(map(len, files.values()))
    path = row.store(folder, files)
    row.examine(path, files, ORACLES, deep=deep, guard=lambda: bounded(size))


@rows
def test_an_input_is_the_same_in_every_run(row: Row) -> None:
    inputs = [make_input(row, 3, index)[1] for index in range(40)]
    assert inputs == [make_input(row, 3, index)[1] for index in range(40)]
    assert len({tuple(files.items()) for files in inputs}) > 30
    assert all(len(data) <= MAX_FILE_BYTES for files in inputs for data in files.values())


# --- inputs that broke it ---------------------------------------------------------------------

DEEP_LIST = b"]" * 30_000 + b"a" * 29_999
HEAD = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
KEY_OF_LISTS = (
    b"\x80\x02(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    + DEEP_LIST
    + b"X\x00\x00\x00\x00K\x01tQ."
)


def framed(length: int, program: bytes = b"}.", behind: bytes = b"") -> bytes:
    """A legacy file whose object is in a frame that states a length of its own."""
    return HEAD + b"\x80\x04\x95" + length.to_bytes(8, "little") + program + behind


class LazilyNegated:
    """A tensor of two elements with metadata, as ``torch.save`` writes a negative view."""

    def __reduce__(self) -> tuple[Any, ...]:
        storage = Storage("0", FLOATS["b"])
        rebuild = Global("torch._utils", "_rebuild_tensor_v2")
        return rebuild, (storage, 0, (1,), (1,), False, {}, {"neg": True})


def edited_zip(change: dict[str, bytes]) -> bytes:
    """The sample as a torch zip, each of some bytes replaced where it comes last."""
    data = torch_zip_bytes(state_dict(SAMPLE))
    for old, new in change.items():
        before, _, after = data.rpartition(old.encode("latin-1"))
        data = before + new + after
    return data


REGRESSIONS = {
    "a storage's key nested deeper than text can show": (
        HEAD + KEY_OF_LISTS,
        "storage list: expected a text key",
    ),
    "a version nested deeper than text can show": (
        pickle.dumps(0x1950A86A20F9469CFC6C, 2) + b"\x80\x02" + DEEP_LIST + b".",
        "protocol version is a list; expected 1001",
    ),
    "a number of 50,000 characters": (
        HEAD + b"\x80\x02F" + b"\xf9" * 50_000 + b"\n.",
        "FLOAT: could not convert",
    ),
    "a frame that goes on behind the file": (framed(10**18), "ends inside of a frame"),
    "a frame that ends within an instruction": (
        framed(3, b"X\x01\x00\x00\x00a."),
        "over the end of its frame",
    ),
    "a frame within a frame": (framed(20, b"\x95" + bytes(8) + b"}."), "over the end of its frame"),
    "a tensor that is to be negated when it is read": (
        legacy_bytes({"w": LazilyNegated()}),
        "a tensor with metadata",
    ),
    "a member that nobody needs, changed": (
        torch_zip_bytes(state_dict(SAMPLE)).replace(b"3\n", b"4\n", 1),
        "'archive/version' has CRC-32",
    ),
    "a directory that does not reach its end record": (
        edited_zip({"PK\x05\x06": b"\0PK\x05\x06"}),
        "its end record begins at byte",
    ),
    "a member of a format that is yet to come": (
        edited_zip({"PK\x01\x02\x14\x03\x14\x00": b"PK\x01\x02\x14\x03\xff\x00"}),
        "needs version 255 of the format",
    ),
    "a member that is a patch": (
        edited_zip({"PK\x01\x02\x14\x03\x14\x00\x00\x00": b"PK\x01\x02\x14\x03\x14\x00\x20\x00"}),
        "is compressed or encrypted",
    ),
    "a root folder that clears the screen": (
        zip_bytes([("\x1b[2J/data.pkl", b"\x80\x02}.")]),
        r"'\\x1b\[2J/data.pkl': expected a state dict",
    ),
}


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_once_broke_the_rule_is_refused(name: str, tmp_path: Path) -> None:
    data, problem = REGRESSIONS[name]
    path = ROWS[0].store(tmp_path, single(data))
    with pytest.raises(WeightsError, match=problem):
        readers.read(path)
    assert examine(path, single(data), ORACLES, deep=True).kind == "refused"


# --- the rule is one --------------------------------------------------------------------------


def other_bytes(checkpoint: Checkpoint) -> Checkpoint:
    tensors = {name: array.copy() for name, array in checkpoint.tensors.items()}
    tensors["conv.weight"][0, 0, 0] += 1
    for array in tensors.values():
        array.flags.writeable = False
    return Checkpoint(**{**vars(checkpoint), "tensors": tensors})


def other_names(checkpoint: Checkpoint) -> Checkpoint:
    return Checkpoint(**{**vars(checkpoint), "tensors": {}})


def writeable(checkpoint: Checkpoint) -> Checkpoint:
    copies = {name: array.copy() for name, array in checkpoint.tensors.items()}
    return Checkpoint(**{**vars(checkpoint), "tensors": copies})


def raising(error: Exception) -> Any:
    def fail(checkpoint: Checkpoint) -> Checkpoint:
        raise error

    return fail


MISDEEDS = {
    "other exceptions": (raising(IndexError("x")), "read raised IndexError: x"),
    "control characters": (raising(WeightsError("a\x1b[2J")), "does not print"),
    "several lines": (raising(WeightsError("a\nb")), "does not print"),
    "no words": (raising(WeightsError("")), "does not print"),
    "other bytes": (other_bytes, "'conv.weight': read .* not the declared"),
    "other names": (other_names, "declared are"),
    "arrays that can be written": (writeable, "with flags"),
}


@pytest.mark.parametrize("misdeed", MISDEEDS)
def test_the_rule_notices(misdeed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change, problem = MISDEEDS[misdeed]
    read = readers.read
    monkeypatch.setattr(readers, "read", lambda path: change(read(path)))
    files = seeds_of("safetensors")[0].files
    with pytest.raises(BrokenRuleError, match=problem):
        examine(ROWS[0].store(tmp_path, files), files, ORACLES, deep=False)


def test_the_rule_notices_damage_that_a_reader_overlooks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from weights_tools.readers.zip_members import Member

    monkeypatch.setattr(Member, "check", lambda *_: None)
    data = bytearray(torch_zip_bytes(state_dict(FLOATS)))
    data[data.index(np.float32(-1).tobytes())] ^= 1
    with pytest.raises(BrokenRuleError, match="the oracle fails: BadZipFile"):
        examine(
            ROWS[0].store(tmp_path, single(bytes(data))),
            {FILE_NAME: bytes(data)},
            ORACLES,
            deep=False,
        )


@needs_linux
@pytest.mark.parametrize(
    ("misdeed", "problem"),
    [
        ("while True: pass", "not done after 0.3 s"),
        ("bytearray(80 * 2**20)", "read raised MemoryError"),
        ("os.abort()", "the process ended with code -6"),
    ],
)
def test_the_command_keeps_what_hangs_takes_memory_or_kills(
    misdeed: str, problem: str, tmp_path: Path
) -> None:
    program = (
        "import os, sys\n"
        "from tests.fuzz import __main__, worker\n"
        "from weights_tools import readers\n"
        "def misbehave(path):\n"
        f"    {misdeed}\n"
        "readers.read, worker.SECONDS_PER_FILE = misbehave, 0.3\n"
        "sys.exit(__main__.main(sys.argv[1:]))\n"
    )
    arguments = [
        "--reader",
        "safetensors",
        "--count",
        "2",
        "--jobs",
        "1",
        "--keep",
        tmp_path / "kept",
    ]
    answer = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert (answer.returncode, answer.stderr) == (5, "")
    assert (tmp_path / "kept" / "safetensors-0-0" / FILE_NAME).is_file()
    assert problem in (tmp_path / "kept" / "safetensors-0-0.txt").read_text()


@needs_linux
def test_the_command_counts_what_became_of_each_file(tmp_path: Path) -> None:
    arguments = [
        "--reader",
        "safetensors",
        "--count",
        "60",
        "--jobs",
        "2",
        "--keep",
        tmp_path / "kept",
    ]
    answer = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    reader, count, refused, accepted, undecided, *_ = answer.stdout.splitlines()[1].split()
    assert (reader, count, undecided) == ("safetensors", "60", "0")
    assert int(refused) + int(accepted) == 60
    assert not (tmp_path / "kept").exists()
