"""What a torch checkpoint's pickle and archive may say, refusal by refusal."""

from __future__ import annotations

import io
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from minimix.errors import WeightsError
from tests.checkpoint_writers import state_dict, torch_zip_bytes, zip_bytes
from weights_tools.readers import read
from weights_tools.readers.source import open_source
from weights_tools.readers.torch_objects import (
    ALLOWED_GLOBALS,
    ScalarName,
    StorageStub,
    StorageTable,
    StorageType,
    TensorStub,
)
from weights_tools.readers.zip_members import list_members

FLOATS = StorageType("float32")
STORAGE = StorageStub("0", FLOATS, 6)
BYTES = StorageStub("1", StorageType("uint8", is_untyped=True), 24)
SHAPE, STRIDES = (2, 3), (3, 1)
TENSOR = TensorStub(STORAGE, "float32", 0, SHAPE, STRIDES)
FLOAT32 = ScalarName("float32")
V2, V3 = "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"
PARAMETER = "torch._utils._rebuild_parameter"


def call(name, *arguments):
    return ALLOWED_GLOBALS[name].build(arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        (V2, (STORAGE, 0, SHAPE, STRIDES), TENSOR),
        (V2, (STORAGE, 0, SHAPE, STRIDES, False, OrderedDict()), TENSOR),
        (V2, (STORAGE, 0, SHAPE, STRIDES, False, OrderedDict(), None), TENSOR),
        (V2, (STORAGE, 3, (3,), (1,)), TensorStub(STORAGE, "float32", 3, (3,), (1,))),
        (V3, (BYTES, 0, (6,), (1,), 0, {}, FLOAT32), TensorStub(BYTES, "float32", 0, (6,), (1,))),
        (PARAMETER, (TENSOR, True, OrderedDict()), TENSOR),
        ("torch.Size", ((2, 3),), (2, 3)),
        ("collections.OrderedDict", (), {}),
        ("collections.OrderedDict", ([["a", 1], ("b", 2)],), {"a": 1, "b": 2}),
    ],
)
def test_what_a_state_dict_is_made_of_is_built(name, arguments, expected):
    assert call(name, *arguments) == expected


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        (V2, (STORAGE, 0, SHAPE), "a tensor of 3 fields; expected 4, 6 or 7"),
        (V2, (STORAGE, 0, SHAPE, STRIDES, False), "a tensor of 5 fields"),
        (V2, ("0", 0, SHAPE, STRIDES), "expected a storage of a known element type"),
        (V2, (BYTES, 0, SHAPE, STRIDES), "expected a storage of a known element type"),
        (V2, (STORAGE, 0, SHAPE, STRIDES, False, {}, {"neg": True}), "a tensor with metadata"),
        (V2, (STORAGE, -1, SHAPE, STRIDES), "expected an offset and a stride per dimension"),
        (V2, (STORAGE, "0", SHAPE, STRIDES), "expected an offset .* found str"),
        (V2, (STORAGE, 0, SHAPE, (1,)), "a stride per dimension"),
        (V2, (STORAGE, 1, SHAPE, STRIDES), "ends at byte 28 of its storage, which has 24"),
        (V2, (STORAGE, 0, SHAPE, (1, 1)), "overlaps itself"),
        (V3, (BYTES, 0, SHAPE, STRIDES, 0, {}), "a tensor of 6 fields; expected 7 or 8"),
        (V3, (BYTES, 0, SHAPE, STRIDES, 0, {}, "float32"), "expected a storage and an element"),
        (V3, ("1", 0, SHAPE, STRIDES, 0, {}, FLOAT32), "expected a storage and an element"),
        (V3, (BYTES, 0, SHAPE, STRIDES, 0, {}, FLOAT32, {"neg": 1}), "a tensor with metadata"),
        (PARAMETER, (TENSOR, True), "a parameter of a tensor and two fields"),
        (PARAMETER, (STORAGE, True, {}), "a parameter of a tensor and two fields"),
        ("torch.Size", ((2,), (3,)), "a torch.Size of one tuple"),
        ("torch.Size", ((-2,),), "torch.Size: expected sizes"),
        ("collections.OrderedDict", ([], []), "an OrderedDict of nothing"),
        ("collections.OrderedDict", ({},), "an OrderedDict of nothing"),
        ("collections.OrderedDict", (["ab"],), "an OrderedDict of pairs"),
        ("collections.OrderedDict", ([["a"]],), "an OrderedDict of pairs"),
        ("collections.OrderedDict", ([["a", 1], ["a", 2]],), "'a' comes twice"),
    ],
)
def test_what_no_state_dict_is_made_of_is_refused(name, arguments, problem):
    with pytest.raises(ValueError, match=problem):
        call(name, *arguments)


@pytest.mark.parametrize(
    ("identifier", "problem"),
    [
        (["storage", FLOATS, "0", "cpu", 6], "a storage of 5 or 6 fields"),
        (("storage", FLOATS, "0", "cpu"), "a storage of 5 or 6 fields"),
        (("module", FLOATS, "0", "cpu", 6), "is no storage; whole modules cannot be read"),
        (("storage", "float32", "0", "cpu", 6), "is no storage; whole modules cannot be read"),
        (("storage", FLOATS, 0, "cpu", 6), "storage 0: expected a text key and a length"),
        (("storage", FLOATS, "0", "cpu", -1), "storage '0': expected a text key and a length"),
        (("storage", FLOATS, "0", "cpu", True), "storage '0': expected a text key and a length"),
        (("storage", FLOATS, "0", "cpu", 6, ("view", 0, 3)), r"views of storages \(PyTorch before"),
    ],
)
def test_a_persistent_id_that_is_no_storage_is_refused(identifier, problem):
    with pytest.raises(ValueError, match=problem):
        StorageTable().persistent_load(identifier)


def test_a_storage_has_one_type_and_length_however_often_it_is_named():
    table = StorageTable()
    first = table.persistent_load(("storage", FLOATS, "0", "cpu", 6))
    assert first == STORAGE and first.size_bytes == 24
    assert table.persistent_load(("storage", FLOATS, "0", "cuda:0", 6, None)) == first
    with pytest.raises(ValueError, match="'0' is named with two types or lengths"):
        table.persistent_load(("storage", FLOATS, "0", "cpu", 7))


def test_the_extent_of_a_tensor_is_that_of_the_elements_it_reaches():
    assert TENSOR.extent == (0, 24)
    assert TensorStub(STORAGE, "float32", 1, (2, 1), (3, 9)).extent == (4, 20)
    assert TensorStub(STORAGE, "float32", 4, (0, 3), (3, 1)).extent == (0, 0)


def stored(folder, data):
    path = folder / "file.pth"
    path.write_bytes(data)
    return path


def members_of(folder, data):
    return list_members(open_source(stored(folder, data)))


STATE = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
MEMBERS = [("a", b"first"), ("b", b"the second")]


@pytest.fixture
def large_zip(monkeypatch):
    """Members written as if they were larger than 4 GiB: sizes and places are 64 bits wide."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1)

    def write(members):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, body in members:
                info = zipfile.ZipInfo(name)
                # A field that is no place or size stands before the one that is.
                info.extra = struct.pack("<HHH", 0x9999, 2, 7)
                archive.writestr(info, body)
        return file.getvalue()

    return write


def test_an_archive_of_zip64_is_read_as_another(large_zip, tmp_path):
    data = large_zip(MEMBERS)
    assert b"PK\x06\x06" in data and b"\xff\xff\xff\xff" in data
    members = members_of(tmp_path, data)
    assert {name: data[m.start : m.end] for name, m in members.items()} == dict(MEMBERS)
    with zipfile.ZipFile(io.BytesIO(torch_zip_bytes(state_dict(STATE)))) as archive:
        inner = [(name, archive.read(name)) for name in archive.namelist()]
    checkpoint = read(stored(tmp_path, large_zip(inner)))
    np.testing.assert_array_equal(checkpoint.tensors["w"], STATE["w"])


def test_an_archive_of_zip64_must_have_its_end_record_where_it_says(large_zip, tmp_path):
    data = large_zip(MEMBERS)
    at = data.index(b"PK\x06\x07") + 8
    (place,) = struct.unpack_from("<Q", data, at)
    elsewhere = data[:at] + struct.pack("<Q", place + 1) + data[at + 8 :]
    for wrong in (elsewhere, data.replace(b"PK\x06\x06", b"PK\x06\x09")):
        with pytest.raises(WeightsError, match="there is no zip64 end record at byte"):
            members_of(tmp_path, wrong)


def with_end(data, **changes):
    """Change fields of the end record: count, size or start of the directory."""
    at = data.rindex(b"PK\x05\x06")
    fields = dict(
        zip(("count", "size", "start"), struct.unpack_from("<HLL", data, at + 10), strict=True)
    )
    fields |= {name: fields[name] + more for name, more in changes.items()}
    return data[: at + 10] + struct.pack("<HLL", *fields.values()) + data[at + 20 :]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"count": -1}, "the directory ends at byte"),
        ({"count": 1}, "the directory is cut off at byte"),
        ({"size": 1}, "the directory ends at byte .*, its end record begins"),
        ({"start": 1, "size": -1}, "there is no directory entry at byte"),
    ],
)
def test_the_directory_of_an_archive_must_be_what_its_end_record_says(changes, problem, tmp_path):
    with pytest.raises(WeightsError, match=f"zip archive: {problem}"):
        members_of(tmp_path, with_end(zip_bytes(MEMBERS), **changes))


def test_folders_of_an_archive_are_no_members(tmp_path):
    assert list(members_of(tmp_path, zip_bytes([("dir/", b""), *MEMBERS]))) == ["a", "b"]


def test_an_archive_of_too_many_members_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("weights_tools.readers.zip_members.MAX_MEMBERS", 1)
    with pytest.raises(WeightsError, match="2 members; accepted are 1"):
        members_of(tmp_path, zip_bytes(MEMBERS))
