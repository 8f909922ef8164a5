"""Edges of PyTorch's formats that no other file comes to: zip archives and pickles."""

from __future__ import annotations

import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minimix.errors import WeightsError
from tests.checkpoint_writers import (
    Global,
    Storage,
    Tensor,
    pickled,
    stored,
    torch_zip_bytes,
    zip_bytes,
)
from tests.test_unpickler import VALUES, Call, unpickle
from weights_tools.readers import (
    pickle_program,
    read,
)
from weights_tools.readers.source import Source, open_source
from weights_tools.readers.zip_members import list_members


def opened(folder: Path, data: bytes) -> Source:
    return open_source(stored(folder, data))


# Zip archives.


def end_record(size: int, start: int) -> bytes:
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, size, start, 0)


def locator(place: int) -> bytes:
    return struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (zip_bytes([("a", b"")]) + bytes(70_000), "there is no end record: the file is cut off"),
        (zip_bytes([("a", b"")]) + bytes(60_000), "the end record is not the end of the file"),
        (locator(0) + end_record(0, 20), "there is no zip64 end record at byte 0"),
        (bytes(60) + locator(0) + end_record(0, 0), "there is no zip64 end record at byte 0"),
        (
            b"PK\6\6" + bytes(40) + locator(0) + end_record(0, 0),
            "there is no zip64 end record at byte 0",
        ),
        (zip_bytes([("a", b"")]).replace(b"PK\1\2", b"PK\1\3"), "no directory entry at byte 31"),
    ],
)
def test_the_records_of_an_archive_must_be_where_they_are_looked_for(
    data: bytes, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=problem):
        list_members(opened(tmp_path, data))


def test_the_end_record_is_found_before_the_longest_comment(tmp_path: Path) -> None:
    data = zip_bytes([("a", bytes(10_000))])[:-2]
    for comment in (b"", b"c" * 30_000, b"c" * 0xFFFF):
        with_it = data + struct.pack("<H", len(comment)) + comment
        assert list(list_members(opened(tmp_path, with_it))) == ["a"]


def test_a_member_must_begin_inside_of_the_file(tmp_path: Path) -> None:
    data = bytearray(zip_bytes([("a", b"")]))
    struct.pack_into("<L", data, data.index(b"PK\1\2") + 42, len(data) - 29)
    with pytest.raises(WeightsError, match="'a' begins outside of the file"):
        list_members(opened(tmp_path, bytes(data)))


@pytest.mark.parametrize("bit", range(16))
def test_a_member_may_have_all_flags_but_those_of_a_content_that_cannot_be_read(
    bit: int, tmp_path: Path
) -> None:
    data = bytearray(zip_bytes([("a", b"")]))
    struct.pack_into("<H", data, data.index(b"PK\1\2") + 8, 1 << bit)
    if bit in (0, 5, 6, 13):
        with pytest.raises(WeightsError, match="'a' is compressed or encrypted"):
            list_members(opened(tmp_path, bytes(data)))
    else:
        assert list(list_members(opened(tmp_path, bytes(data)))) == ["a"]


# Pickles.


def test_a_text_may_reach_to_the_last_byte_that_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MINIMIX_MAX_PICKLE_BYTES", "4")
    assert pickle_program.PickleStream(b"abcdef", "x.pth").read(4) == b"abcd"
    with pytest.raises(WeightsError, match="a pickled text of 5 bytes; accepted are .* 4 in all"):
        pickle_program.PickleStream(b"abcdef", "x.pth").read(5)


def test_limits_of_pickles_change_on_purpose_only() -> None:
    assert pickle_program.MAX_PICKLE_BYTES == 64 * 2**20
    assert pickle_program.MAX_TEXT_BYTES == 65_536


@pytest.mark.parametrize(("count", "end"), [(5, "'m.g4'"), (6, "'m.g4' and 1 more")])
def test_five_refused_globals_are_named_and_the_others_counted(count: int, end: str) -> None:
    data, _ = pickled([Global("m", f"g{n}") for n in range(count)])
    with pytest.raises(WeightsError, match=f"asks to import 'm.g0', .*, {end}; nothing was run"):
        unpickle(data)


@pytest.mark.parametrize("metadata", [(), (None,), ({},)])
def test_the_newest_tensors_may_say_that_they_have_no_metadata(metadata: tuple[Any, ...]) -> None:
    storage = Storage("k", VALUES.view(np.uint8))
    storage.type = Global("torch.storage", "UntypedStorage")
    fields: tuple[Any, ...] = (
        storage,
        0,
        (6,),
        (1,),
        False,
        OrderedDict(),
        Global("torch", "float32"),
    )
    rebuild = Global("torch._utils", "_rebuild_tensor_v3")
    assert unpickle(pickled(Call(rebuild, *fields, *metadata))[0]).scalar == "float32"
    with pytest.raises(WeightsError, match="a tensor of 9 fields; expected 7 or 8"):
        unpickle(pickled(Call(rebuild, *fields, None, None))[0])


def test_tensors_of_a_single_byte_may_not_overlap_others_either(tmp_path: Path) -> None:
    storage = Storage("0", np.arange(4, dtype=np.uint8))
    state = {"a": Tensor(storage, (1,)), "b": Tensor(storage, (2,))}
    with pytest.raises(WeightsError, match="tensors 'a' and 'b' overlap"):
        read(stored(tmp_path, torch_zip_bytes(state)))


@pytest.mark.parametrize(
    "key", ["state_dict", "model", "model_state_dict", "net", "state_dict_ema", "model_ema"]
)
def test_of_several_states_the_one_of_a_known_name_is_taken(key: str, tmp_path: Path) -> None:
    states = {
        name: {"w": Tensor(Storage(name, np.full(2, n, np.float32)), (2,))}
        for n, name in enumerate(("other", key))
    }
    checkpoint = read(stored(tmp_path, torch_zip_bytes(states)))
    assert checkpoint.metadata["taken"] == key
    assert checkpoint.tensors["w"].tolist() == [1, 1]
