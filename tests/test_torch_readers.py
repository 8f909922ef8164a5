"""The two torch formats: files that PyTorch wrote, views, wrappers, archives, attacks."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minimix.errors import WeightsError
from tests.checkpoint_writers import (
    Storage,
    Tensor,
    legacy_bytes,
    pickled,
    same,
    state_dict,
    stored,
    torch_zip_bytes,
    zip_bytes,
)
from weights_tools.readers import read, refused_globals

GOLDEN = Path(__file__).parent / "golden"
SAMPLE: dict[str, np.ndarray[Any, Any]] = {
    "conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bn.num_batches_tracked": np.array(7),
    "half": np.arange(3, dtype=np.float16),
}


EXPECTED_GOLDEN = {
    "conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / np.float32(4),
    "conv.transposed": np.ascontiguousarray(np.arange(6, dtype=np.float16).reshape(2, 3).T),
    "bn.num_batches_tracked": np.array(7),
}


@pytest.mark.parametrize("name", ["torch_zip.pth", "torch_legacy.pth"])
def test_files_that_pytorch_wrote_have_the_known_values(name: str) -> None:
    checkpoint = read(GOLDEN / name)
    assert checkpoint.container == name.removesuffix(".pth").replace("_", "-")
    assert same(checkpoint.tensors, EXPECTED_GOLDEN)
    assert checkpoint.metadata == {}


def test_bfloat16_becomes_float32_and_a_wrapper_is_opened_with_a_note() -> None:
    checkpoint = read(GOLDEN / "torch_bfloat16.pth")
    assert same(checkpoint.tensors, {"w": np.array([1.0, -2.5, 3.140625], np.float32)})
    expected = {"taken": "state_dict", "ignored": "epoch=7", "prefix_removed": "module."}
    assert checkpoint.metadata == expected


def test_the_writers_of_these_tests_write_the_pickle_that_pytorch_writes() -> None:
    state = state_dict(EXPECTED_GOLDEN)
    state["conv.transposed"].strides = (1, 3)
    with zipfile.ZipFile(GOLDEN / "torch_zip.pth") as archive:
        assert archive.read("torch_zip/data.pkl") == pickled(state)[0]


@pytest.mark.parametrize("byteorder", ["little", "big", None])
def test_byte_order_is_the_one_that_the_archive_says(byteorder: str | None, tmp_path: Path) -> None:
    data = torch_zip_bytes(state_dict(SAMPLE), byteorder=byteorder)
    assert same(read(stored(tmp_path, data)).tensors, SAMPLE)


def test_an_unknown_byte_order_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="byteorder' says b'middle'"):
        read(stored(tmp_path, torch_zip_bytes(state_dict(SAMPLE), byteorder="middle")))


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("write", [legacy_bytes, torch_zip_bytes])
def test_other_pickle_protocols_are_read(write: Any, protocol: int, tmp_path: Path) -> None:
    assert same(read(stored(tmp_path, write(state_dict(SAMPLE), protocol))).tensors, SAMPLE)


def test_views_of_one_storage_are_cut_out_and_ties_kept(tmp_path: Path) -> None:
    storage = Storage("0", np.arange(12, dtype=np.float32))
    state = {
        "head": Tensor(storage, (2, 2), (1, 2), 1),
        "tail": Tensor(storage, (3,), (2,), 6),
        "tied": Tensor(storage, (3,), (2,), 6),
    }
    tensors = read(stored(tmp_path, torch_zip_bytes(state))).tensors
    assert tensors["head"].tolist() == [[1, 3], [2, 4]]
    assert tensors["tail"].tolist() == [6, 8, 10]
    assert tensors["tied"] is tensors["tail"]


def test_overlapping_views_are_refused(tmp_path: Path) -> None:
    storage = Storage("0", np.arange(12, dtype=np.float32))
    state = {"a": Tensor(storage, (8,)), "b": Tensor(storage, (8,), offset=4)}
    with pytest.raises(WeightsError, match="tensors 'a' and 'b' overlap in the storage '0'"):
        read(stored(tmp_path, legacy_bytes(state)))


TENSORS = state_dict({"w": np.ones(2, np.float32)})
OTHERS = {"w": Tensor(Storage("9", np.zeros(2, np.float32)), (2,))}


@pytest.mark.parametrize(
    ("content", "taken", "ignored"),
    [
        (dict(TENSORS), None, None),
        ({**TENSORS, "arch": "mixnet_s"}, None, "arch='mixnet_s'"),
        ({"model": TENSORS, "args": [1]}, "model", "args (list)"),
        ({"state_dict_ema": OTHERS, "state_dict": TENSORS}, "state_dict", "state_dict_ema (dict)"),
        ({"weights": TENSORS, "a b": None}, "weights", "'a b'=None"),
    ],
)
def test_the_state_dict_of_a_wrapper_is_taken_and_noted(
    content: Any, taken: str | None, ignored: str | None, tmp_path: Path
) -> None:
    checkpoint = read(stored(tmp_path, torch_zip_bytes(content)))
    assert checkpoint.tensors["w"].tolist() == [1, 1]
    assert checkpoint.metadata.get("taken") == taken
    assert checkpoint.metadata.get("ignored") == ignored


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([1, 2], "expected a dict of tensors, found list"),
        (TENSORS["w"], "expected a dict of tensors, found one tensor"),
        ({"epoch": 1}, "dicts of tensors in the file: none"),
        ({"x": TENSORS, "y": OTHERS}, "dicts of tensors in the file: 'x', 'y'"),
        ({"a\nb": TENSORS["w"]}, r"tensor name 'a\\nb'"),
        ({3: TENSORS["w"]}, "expected text as a tensor's name, found int"),
    ],
)
def test_a_file_without_one_state_dict_says_what_it_holds(
    content: Any, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=problem):
        read(stored(tmp_path, legacy_bytes(content)))


def archive_members() -> list[tuple[str, bytes]]:
    body, storages = pickled(TENSORS)
    return [("archive/data.pkl", body), ("archive/data/0", storages["0"].values.tobytes())]


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = state_dict({"w": np.zeros(2**20, np.float32)})
    data = torch_zip_bytes(bomb, compression=zipfile.ZIP_DEFLATED)
    assert len(data) < 2**16
    with pytest.raises(WeightsError, match="is compressed or encrypted"):
        read(stored(tmp_path, data))


def test_archive_members_must_have_the_length_and_the_checksum_that_are_said(
    tmp_path: Path,
) -> None:
    pickle_member, (name, body) = archive_members()
    for wrong in (body + b"\0", body[:-1]):
        with pytest.raises(WeightsError, match="expected 8 bytes in 'archive/data/0', it has"):
            read(stored(tmp_path, zip_bytes([pickle_member, (name, wrong)])))
    with pytest.raises(WeightsError, match="there is no such member"):
        read(stored(tmp_path, zip_bytes([pickle_member])))
    data = zip_bytes([pickle_member, (name, body)])
    with pytest.raises(WeightsError, match="CRC-32"):
        read(stored(tmp_path, data.replace(body, b"\1" * 8)))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archive_members_must_have_names_of_their_own(tmp_path: Path) -> None:
    members = archive_members()
    with pytest.raises(WeightsError, match="member 'archive/data/0' comes twice"):
        read(stored(tmp_path, zip_bytes([*members, members[1]])))
    with pytest.raises(WeightsError, match=r"2 members named data\.pkl"):
        read(stored(tmp_path, zip_bytes([*members, ("other/data.pkl", b"N.")])))


def test_archive_members_must_not_share_bytes(tmp_path: Path) -> None:
    members = archive_members()
    inner = zip_bytes([("b", b"xy")])[: 30 + 1 + 2]
    data = zip_bytes([*members, ("a", inner), ("b", b"xy")])
    outer = data.index(inner)
    real = data.rindex(b"PK\3\4")
    position = data.rindex(struct.pack("<L", real) + b"b")
    forged = data[:position] + struct.pack("<L", outer) + data[position + 4 :]
    with pytest.raises(WeightsError, match="two members share bytes"):
        read(stored(tmp_path, forged))


def test_legacy_storages_must_be_those_that_the_tensors_name(tmp_path: Path) -> None:
    data = legacy_bytes(TENSORS)
    count = data.rindex((2).to_bytes(8, "little"))
    with pytest.raises(WeightsError, match="has 3 elements .* expect 2"):
        read(stored(tmp_path, data[:count] + (3).to_bytes(8, "little") + data[count + 8 :]))
    keys = data.rindex(b"X\x01\0\0\x000")
    with pytest.raises(WeightsError, match="lists 1 storages and its tensors name 1"):
        read(stored(tmp_path, data[: keys + 5] + b"1" + data[keys + 6 :]))
    with pytest.raises(WeightsError, match="protocol version is 1002; expected 1001"):
        read(stored(tmp_path, data.replace(b"M\xe9\x03.", b"M\xea\x03.", 1)))


@pytest.mark.parametrize("write", [legacy_bytes, torch_zip_bytes])
def test_a_file_that_asks_to_run_code_names_what_it_asks_for(write: Any, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = stored(tmp_path, write({"state_dict": TENSORS, "x": Attack()}))
    name = f"{os.mkdir.__module__}.mkdir"
    with pytest.raises(WeightsError, match=f"asks to import '{name}'; nothing was run"):
        read(path)
    assert refused_globals(path) == [name]
    assert not (tmp_path / "ran").exists()
