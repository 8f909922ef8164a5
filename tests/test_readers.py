"""Every container: round trips, the real files, damage, and what detect says."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minimix.errors import WeightsError
from tests.checkpoint_writers import (
    SAFETENSORS_DTYPES,
    legacy_bytes,
    safetensors_bytes,
    safetensors_file,
    same,
    state_dict,
    stored,
    torch_zip_bytes,
    zip_bytes,
)
from tests.reference import REFERENCE, needs_reference
from weights_tools.readers import detect, read, refused_globals

Arrays = dict[str, np.ndarray[Any, Any]]

WRITERS: dict[str, Callable[[Arrays], bytes]] = {
    "torch-legacy": lambda arrays: legacy_bytes(state_dict(arrays)),
    "torch-zip": lambda arrays: torch_zip_bytes(state_dict(arrays)),
    "safetensors": safetensors_bytes,
}
SAMPLE: Arrays = {
    "conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bn.num_batches_tracked": np.array(7),
    "half": np.arange(3, dtype=np.float16),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the files of a Hypothesis test; each example replaces the file."""
    return tmp_path_factory.mktemp("readers")


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
arrays = hnp.arrays(
    dtype=st.sampled_from(sorted(SAFETENSORS_DTYPES)).map(np.dtype),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@pytest.mark.parametrize("container", WRITERS)
@given(tensors=st.dictionaries(names, arrays, min_size=1, max_size=4))
def test_tensors_come_back_bit_for_bit(container: str, folder: Path, tensors: Arrays) -> None:
    data = WRITERS[container](tensors)
    checkpoint = read(stored(folder, data))
    assert checkpoint.container == container
    assert same(checkpoint.tensors, tensors)
    assert checkpoint.size_bytes == len(data)
    assert checkpoint.sha256 == hashlib.sha256(data).hexdigest()
    for array in checkpoint.tensors.values():
        assert array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
        assert not array.flags.writeable


@pytest.mark.parametrize("container", WRITERS)
def test_a_file_cut_off_anywhere_is_an_error(container: str, folder: Path) -> None:
    data = WRITERS[container](SAMPLE)
    for length in range(len(data)):
        with pytest.raises(WeightsError, match="checkpoint.bin: "):
            read(stored(folder, data[:length]))


@pytest.mark.parametrize("container", WRITERS)
def test_bytes_after_the_end_are_an_error(container: str, folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"bytes follow|not the end of the file"):
        read(stored(folder, WRITERS[container](SAMPLE) + b"\0"))


@pytest.mark.parametrize("container", WRITERS)
@settings(max_examples=300)
@given(data=st.data())
def test_flipped_bits_give_arrays_or_a_weights_error(
    container: str, folder: Path, data: st.DataObject
) -> None:
    body = bytearray(WRITERS[container](SAMPLE))
    for position in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=3)):
        body[position] ^= data.draw(st.integers(1, 255))
    path = stored(folder, bytes(body))
    try:
        assert sum(array.nbytes for array in read(path).tensors.values()) <= len(body)
        refused_globals(path)
    except WeightsError as error:
        assert str(error).startswith(str(path))


@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\3\4", b"\x80\2", b"\2\0\0\0\0\0\0\0{"]))
def test_garbage_is_a_weights_error(folder: Path, data: bytes, head: bytes) -> None:
    with pytest.raises(WeightsError, match=r"checkpoint\.bin: "):
        read(stored(folder, head + data))


@needs_reference
@pytest.mark.parametrize(
    ("name", "container"),
    [("mixnet_s.pth", "torch-legacy"), ("tf_mixnet_m.safetensors", "safetensors")],
)
def test_the_real_files_hold_the_recorded_names_shapes_and_types(name: str, container: str) -> None:
    path = REFERENCE / "timm" / name
    checkpoint = read(path)
    lines = path.with_name(f"{path.stem}_keys.txt").read_text().splitlines()
    found = [f"{key}\t{array.shape}\t{array.dtype}" for key, array in checkpoint.tensors.items()]
    assert checkpoint.container == container
    # The format sorts tensors by their type; the pickle keeps the model's order.
    assert found == lines if container == "torch-legacy" else sorted(found) == sorted(lines)


def test_safetensors_bfloat16_becomes_float32(folder: Path) -> None:
    header = b'{"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}'
    checkpoint = read(stored(folder, safetensors_file(header, b"\x80\x3f\x20\xc0")))
    assert same(checkpoint.tensors, {"w": np.array([1.0, -2.5], np.float32)})


def test_safetensors_files_of_the_package_are_read(folder: Path) -> None:
    package = pytest.importorskip("safetensors.numpy")
    data = package.save(SAMPLE, {"format": "pt"})
    checkpoint = read(stored(folder, data))
    assert same(checkpoint.tensors, SAMPLE) and checkpoint.metadata == {"format": "pt"}


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({"w": entry("F8_E4M3")}, "element type 'F8_E4M3'; known: F64, F32"),
        ({"w": entry(shape=[2])}, "of shape .* needs 8 bytes, the header gives it 4"),
        ({"w": entry(shape=[-1])}, "'w': shape: expected sizes"),
        ({"w": entry(shape=[2**40, 2**40])}, "more than"),
        ({"w": entry(offsets=[4, 0])}, "expected it to begin at 0"),
        ({"w": entry(offsets=[0, 8])}, "to end within 4"),
        ({"w": entry(offsets=[0])}, "expected two data_offsets"),
        ({"w": entry(), "v": entry()}, "expected it to begin at 4"),
        ({"w": entry() | {"more": 1}}, "expected dtype, shape and data_offsets"),
        ({"w": 1}, "expected dtype, shape and data_offsets"),
        ({"__metadata__": {"a": 1}}, "map of text to text"),
        ({}, "4 bytes follow the last tensor"),
        ({"": entry()}, "expected 1 to 1024 printable characters"),
        ({"\ud800": entry()}, "expected 1 to 1024 printable characters"),
    ],
)
def test_a_safetensors_header_must_describe_the_data_byte_for_byte(
    header: dict[str, Any], problem: str, folder: Path
) -> None:
    data = safetensors_file(json.dumps(header).encode(), b"\0" * 4)
    with pytest.raises(WeightsError, match=problem):
        read(stored(folder, data))


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (b'{"w": 1, "w": 2}', "the name 'w' comes twice"),
        (b'{"a": ' + b"[" * 100_000, "recursion"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b"{\xff}", "utf-8"),
        (b"{,}", "Expecting"),
    ],
)
def test_a_safetensors_header_must_be_plain_json(header: bytes, problem: str, folder: Path) -> None:
    with pytest.raises(WeightsError, match=f"safetensors: .*{problem}"):
        read(stored(folder, safetensors_file(header)))


def test_a_safetensors_header_longer_than_the_file_is_an_error(folder: Path) -> None:
    with pytest.raises(
        WeightsError, match="a header of 1000 bytes in a file of 10; accepted are 2097152"
    ):
        read(stored(folder, (1000).to_bytes(8, "little") + b"{}"))


@pytest.mark.parametrize(
    ("data", "container"),
    [
        (b"\x89HDF\r\n\x1a\n", "hdf5"),
        (b"\x80\x02N.", "pickle"),
        (b"\x93NUMPY\x01\x00", "npy"),
        (zip_bytes([("x.npy", b"")]), "zip"),
        (b"\n<!DOCTYPE html>", "html"),
        (b"<?xml version='1.0'?>", "xml"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs-pointer"),
    ],
)
def test_other_containers_are_named_by_their_bytes(
    data: bytes, container: str, folder: Path
) -> None:
    path = stored(folder, data)
    assert detect(path) == container
    with pytest.raises(WeightsError, match=f"is {container}; readable are torch-legacy, "):
        read(path)


def test_files_that_cannot_be_opened_are_weights_errors(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth: no such file"):
        detect(tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="found a folder"):
        detect(tmp_path)
    with pytest.raises(WeightsError, match="the file is empty"):
        detect(stored(tmp_path, b""))
    with pytest.raises(WeightsError, match="which no known checkpoint does"):
        detect(stored(tmp_path, b"abc"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(WeightsError, match="no regular file"):
        detect(tmp_path / "pipe")


def test_arrays_outlive_their_file(folder: Path) -> None:
    path = stored(folder, safetensors_bytes(SAMPLE))
    checkpoint = read(path)
    path.unlink()
    assert same(checkpoint.tensors, SAMPLE)
    with pytest.raises(TypeError, match="does not support item assignment"):
        checkpoint.tensors["new"] = SAMPLE["half"]  # type: ignore[index]
