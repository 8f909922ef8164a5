"""HDF5 from strangers: what others write anew is the same model, what asks for more is refused."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minimix import hdf5, weights
from minimix.hdf5.chunks import chunks
from minimix.hdf5.source import Cursor, Source
from tests.model_files import (
    BIAS,
    REWRITES,
    STRANGE,
    assert_refused,
    edit_header,
    edit_params,
    rewritten,
    same_model,
    saved,
    tiny_file,
)

ROOT = Path(__file__).resolve().parents[1]

REASONS = {
    "a soft link": "a soft link; expected a hard one",
    "a soft link to itself": "a soft link; expected a hard one",
    "an external link": "(an external|a strange) link|missing",
    "a cycle": "a count of references|left over",
    "a parameter that is the root": "a count of references|read already",
    "two names of one dataset": "a count of references|read already",
    "params that are the root": "a count of references|read already",
    "one more in the root": "members: left over 'more'",
    "one more group": "more: left over",
    "one more attribute": "attributes: left over 'note'",
    "very many attributes": "very many attributes|left over 'a0', 'a1', 'a10' and more",
    "an attribute of the group": "params: attributes: left over 'note'",
    "an attribute of a dataset": f"{BIAS}: has attributes",
    "a virtual dataset": f"{BIAS}: .*layout is virtual",
    "data in another file": f"{BIAS}: has data in other files",
    "data in its header": f"{BIAS}: .*layout is compact",
    "texts": f"{BIAS}: .*found variable-length data",
    "references": f"{BIAS}: .*found references",
    "references to regions": f"{BIAS}: .*found references",
    "a compound type": f"{BIAS}: .*found a compound type",
    "a named type": "left over 'type'",
    "an array type": f"{BIAS}: ",
    "a resizable dataset": f"{BIAS}: shape: can be resized",
    "lzf": f"{BIAS}: filter 32000; expected none but gzip and shuffle",
    "scale-offset": f"{BIAS}: filter 6",
    "fletcher32": f"{BIAS}: filter 3",
    "a scalar": f"{BIAS}: shape: expected an array",
    "no data, but a fill value": f"{BIAS}: its 12 bytes are not in the file",
    "terabytes": f"{BIAS}: 786432 chunks; at most 1024 are read. .*h5repack",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(tmp_path / "model.h5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the files of a Hypothesis test; each example replaces the file."""
    return tmp_path_factory.mktemp("hdf5")


# --- what is read -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", REWRITES)
def test_a_file_that_another_tool_wrote_anew_is_the_same_model(how: str, path: Path) -> None:
    assert same_model(weights.load(rewritten(path, **REWRITES[how])), tiny_file())


def test_a_large_group_of_either_age_is_read_whole(tmp_path: Path) -> None:
    for libver in ("earliest", "latest"):
        path = tmp_path / f"{libver}.h5"
        with h5py.File(path, "w", libver=libver) as file:
            for n in range(3000):
                file[f"a/{'x' * (n % 50)}{n}"] = np.array([n], np.float32)
        with hdf5.opened(path) as root:
            group = root.group("a")
            assert len(group.members) == 3000
            for n in (0, 1499, 2999):
                found = hdf5.read(root.source, group.dataset(f"{'x' * (n % 50)}{n}"))
                np.testing.assert_array_equal(found, [n])


@settings(max_examples=40, deadline=None)
@given(
    values=hnp.arrays(
        st.sampled_from(["<f4", ">f4", "<f2", "u1"]),
        hnp.array_shapes(max_dims=4, max_side=9),
        elements={"min_value": 0, "max_value": 200},
    ),
    data=st.data(),
    libver=st.sampled_from(["earliest", "v108", "v110", "latest"]),
    compression=st.sampled_from([None, "gzip"]),
    shuffle=st.booleans(),
)
def test_chunks_of_every_shape_are_put_together_as_h5py_does(
    folder: Path, values: Any, data: st.DataObject, libver: str, compression: Any, shuffle: bool
) -> None:
    chunks = tuple(data.draw(st.integers(1, n)) for n in values.shape)
    path = folder / "chunks.h5"
    with h5py.File(path, "w", libver=libver) as file:
        file.create_dataset(
            "x", data=values, chunks=chunks, compression=compression, shuffle=shuffle
        )
    with hdf5.opened(path) as root:
        if np.prod([-(-n // c) for n, c in zip(values.shape, chunks, strict=True)]) > 1024:
            with pytest.raises(hdf5.RefusedError, match="chunks; at most 1024 are read"):
                root.dataset("x")
        else:
            found = hdf5.read(root.source, root.dataset("x"))
            assert found.dtype == values.dtype
            np.testing.assert_array_equal(found, values)


def test_no_model_is_read_by_libhdf5(path: Path) -> None:
    program = "import sys; from minimix import weights; weights.load(sys.argv[1]); "
    program += "sys.exit('h5py' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program, path], cwd=ROOT, check=False)
    assert done.returncode == 0


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("age", ["new", "old"])
@pytest.mark.parametrize("what", STRANGE)
def test_what_no_model_file_has_is_refused_by_name(what: str, age: str, path: Path) -> None:
    libver = {"new": "latest", "old": "earliest"}[age]
    rewritten(path, libver=libver)
    with h5py.File(path, "r+", libver=libver) as file:
        STRANGE[what](file)
    assert_refused(path, REASONS[what])


def test_a_user_block_is_refused(path: Path) -> None:
    with h5py.File(path, "w", userblock_size=512) as file:
        file.attrs["format"] = 1
    assert_refused(path, "not an HDF5 file")
    path.write_bytes(path.read_bytes()[512:])
    assert_refused(path, "user block of 512 bytes")


@pytest.mark.parametrize(
    ("at", "value", "problem"),
    [
        (8, b"\1", "superblock: version 1; expected 0, 2 or 3"),
        (9, b"\4", "lengths of .* bytes; expected 8"),
        (12, b"\1", "a user block of 1 bytes"),
        (20, bytes(8), "has an extension"),
        (28, b"\xff" * 8, "cut off"),
        (36, b"\xff" * 7, "reaches beyond the end"),
    ],
)
def test_a_superblock_that_asks_for_more_is_refused(
    at: int, value: bytes, problem: str, path: Path
) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(data)
    assert_refused(path, problem)


def test_a_tree_that_leads_back_to_itself_is_refused(path: Path) -> None:
    rewritten(path, libver="earliest")
    data = bytearray(path.read_bytes())
    for at in range(len(data)):
        if data[at : at + 5] == b"TREE\0":
            data[at + 5] = 1
            data[at + 32 : at + 40] = at.to_bytes(8, "little")
    path.write_bytes(data)
    assert_refused(path, "leads to what has been read already")


def test_a_file_that_declares_much_more_than_it_holds_is_refused_unread(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(path, "r+") as file:
        del file["header"]
        file.create_dataset("header", data=np.zeros(2**21, np.uint8), compression="gzip")
    monkeypatch.setattr(zlib, "decompressobj", None)
    assert_refused(path, "bytes of data in a file of .* at most 4 per byte")


def test_gzip_that_unpacks_to_more_than_its_chunk_is_refused(path: Path) -> None:
    bomb = zlib.compress(bytes(10**8))
    with h5py.File(path, "r+") as file:
        del file["params"][BIAS]
        made = file["params"].create_dataset(
            BIAS, (3,), np.float32, chunks=(3,), compression="gzip"
        )
        made.id.write_direct_chunk((0,), bomb)
    assert_refused(path, f"{BIAS}: a chunk does not unpack to its 12 bytes")


def test_gzip_that_is_none_is_refused(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["params"][BIAS]
        made = file["params"].create_dataset(
            BIAS, (3,), np.float32, chunks=(3,), compression="gzip"
        )
        made.id.write_direct_chunk((0,), struct.pack("<3f", 1, 2, 3))
    assert_refused(path, f"{BIAS}: Error -3")


@pytest.mark.parametrize("name", ["\x1b[2J", "x" * 10**6])
def test_a_name_in_the_header_is_shown_short_and_printable(name: str, path: Path) -> None:
    edit_header(path, lambda header: header["architecture"].update(name=name))
    edit_params(path, lambda group: group.pop(BIAS))
    assert_refused(path, r"do not match (\\x1b\[2J|x{500} \.\.\.); missing")
    edit_header(path, lambda header: header["dialect"].update(padding=name))
    assert_refused(path, "dialect: padding is")


def test_more_chunks_than_a_number_can_count_are_refused(tmp_path: Path) -> None:
    layout = bytes([1]) + bytes([2, 4]) + struct.pack("<2IBQ", 1, 4, 1, 0)
    with (tmp_path / "none").open("xb+") as stream:
        source = Source(stream, 0)
        with pytest.raises(hdf5.RefusedError, match=f"{2**64 - 1} chunks; at most 1024"):
            chunks(source, Cursor(layout, "x"), 4, (2**64 - 1,), 4, False)


def test_names_in_a_file_do_not_speak_to_the_terminal(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["params/\x1b[2Jmore"] = np.zeros(1)
    assert_refused(path, r"\\x1b\[2Jmore: left over")
