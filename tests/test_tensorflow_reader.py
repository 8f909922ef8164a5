"""TensorFlow bundles in a folder: real files, round trips, checksums, and indexes that lie."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minimix.errors import WeightsError
from tests.checkpoint_writers import same
from tests.reference import REFERENCE, needs_reference
from tests.tensorflow_writers import (
    Blocks,
    Bundle,
    bundle_of,
    snappy,
    stored_array,
    stored_strings,
    written,
)
from weights_tools.readers import read

GOLDEN = Path(__file__).parent / "golden"
DTYPES = ["float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]
Arrays = dict[str, np.ndarray[Any, Any]]
SAMPLE: Arrays = {
    "conv2d/kernel": np.arange(12, dtype=np.float32).reshape(2, 2, 3, 1),
    "flag": np.array([True, False, True]),
    "global_step": np.array(7),
    "half": np.arange(3, dtype=np.float16),
}

names = st.text("abc/_", min_size=1, max_size=8)
arrays = st.dictionaries(
    names,
    hnp.arrays(
        dtype=st.sampled_from(DTYPES).map(np.dtype),
        shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    max_size=6,
)
layouts = st.fixed_dictionaries(
    {
        "num_shards": st.integers(1, 3),
        "padding": st.integers(0, 5),
        "blocks": st.builds(
            Blocks, st.integers(1, 200), st.integers(1, 5), st.sampled_from([None, snappy])
        ),
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundle")


@given(arrays, layouts)
def test_tensors_come_back_bit_for_bit(
    folder: Path, tensors: Arrays, options: dict[str, Any]
) -> None:
    index = written(folder, bundle_of(tensors, **options))
    for path in (index, folder, folder / "model.ckpt"):
        checkpoint = read(path)
        assert checkpoint.container == "tensorflow-bundle" and checkpoint.path == index
        assert same(checkpoint.tensors, tensors)
        assert list(checkpoint.tensors) == sorted(tensors)
    for array in checkpoint.tensors.values():
        assert array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
        assert not array.flags.writeable


def test_each_shard_that_is_read_is_named_with_its_hash(folder: Path) -> None:
    bundle = bundle_of(SAMPLE, num_shards=3)
    files = bundle.files()
    checkpoint = read(written(folder, bundle))
    shards = [name for name in files if ".data-" in name]
    assert len(shards) == 3 and checkpoint.sha256 == sha256(files["model.ckpt.index"])
    assert dict(checkpoint.parts) == {name: sha256(files[name]) for name in shards}
    assert checkpoint.metadata == {"num_shards": "3", "producer": "1"}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_bytes_behind_the_last_tensor_are_allowed_and_hashed(folder: Path) -> None:
    index = written(folder, bundle_of(SAMPLE))
    shard = folder / "model.ckpt.data-00000-of-00001"
    shard.write_bytes(shard.read_bytes() + bytes(3_000_000))
    checkpoint = read(index)
    assert same(checkpoint.tensors, SAMPLE)
    assert checkpoint.parts[shard.name] == sha256(shard.read_bytes())


def test_tensors_are_views_of_one_shard_that_outlive_its_file(folder: Path) -> None:
    aligned = {"a": np.arange(4, dtype=np.float32), "b": np.arange(3, dtype=np.float64)}
    index = written(folder, bundle_of(aligned))
    tensors = read(index).tensors
    for file in folder.iterdir():
        file.unlink()
    assert same(tensors, aligned)
    start = [array.__array_interface__["data"][0] for array in tensors.values()]
    assert start[1] - start[0] == 16


def test_bfloat16_becomes_float32(folder: Path) -> None:
    bits = np.array([0x3F80, 0xC020], np.uint16)
    index = written(folder, Bundle({"w": stored_array(bits, "bfloat16")}))
    assert same(read(index).tensors, {"w": np.array([1.0, -2.5], np.float32)})


def test_strings_and_other_types_are_left_out_with_a_note(folder: Path) -> None:
    others = {
        "texts": stored_strings([b"", b"panda", b"x" * 300]),
        "pair": stored_array(np.array([1j], np.complex64)),
        "odd": replace(stored_array(np.zeros(2, np.int8)), data_type=99),
        "w": stored_array(np.ones(2, np.float32)),
    }
    checkpoint = read(written(folder, Bundle(others)))
    assert list(checkpoint.tensors) == ["w"]
    expected = "3 of type complex64, string, type 99: 'odd', 'pair', 'texts'"
    assert checkpoint.metadata["left_out"] == expected


def test_a_bundle_that_tensorflow_wrote_has_the_known_values() -> None:
    counted = np.arange(6).reshape(2, 3)
    expected: Arrays = {
        name: (counted - 2).astype(name)
        for name in ("float32", "float64", "float16", "int64", "int32", "int16", "int8")
    }
    expected["bfloat16"] = (counted - 2).astype(np.float32)
    expected["uint8"] = (counted + 250).astype(np.uint8)
    expected |= {"bool": counted > 3, "empty": np.zeros((0, 4), np.float32)}
    expected["scalar"] = np.array(2**40)
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    checkpoint = read(GOLDEN / "tensorflow_bundle")
    assert same(checkpoint.tensors, {name + suffix: array for name, array in expected.items()})
    assert checkpoint.metadata["left_out"] == (
        "3 of type complex64, string: '_CHECKPOINTABLE_OBJECT_GRAPH', "
        f"'complex64{suffix}', 'text{suffix}'"
    )


@needs_reference
def test_the_released_layout_has_the_recorded_names_shapes_and_types(tmp_path: Path) -> None:
    with tarfile.open(REFERENCE / "tf" / "mixnet-s.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    checkpoint = read(tmp_path / "mixnet-s")
    lines = (REFERENCE / "tf" / "mixnet-s_checkpoint_vars.txt").read_text().splitlines()
    found = [f"{name}\t{array.shape}\t{array.dtype}" for name, array in checkpoint.tensors.items()]
    assert found == lines
    assert same(read(REFERENCE / "tf" / "mixnet-s.tar.gz").tensors, dict(checkpoint.tensors))


def test_a_folder_needs_one_bundle_or_a_text_that_names_one(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="found a folder with 0 TensorFlow .*; it is empty"):
        read(tmp_path)
    (tmp_path / "other.index").write_bytes(b"no table")
    with pytest.raises(WeightsError, match=r"Name a checkpoint file; it holds 'other\.index'"):
        read(tmp_path)
    bundles = {name: bundle_of({name: SAMPLE["half"]}) for name in ("step-1", "step-2", "step-3")}
    for name, bundle in bundles.items():
        for file, content in bundle.files(name).items():
            (tmp_path / file).write_bytes(content)
    state = tmp_path / "checkpoint"
    several = "3 TensorFlow bundles .*'step-1', 'step-2', 'step-3'.*Name the index of one: .*step-3"
    for text, problem in [("", several), ('model_checkpoint_path: "sub/step-2"', several)]:
        state.write_text(text)
        with pytest.raises(WeightsError, match=problem):
            read(tmp_path)
    for text in ('model_checkpoint_path: "step-2"\n', 'model_checkpoint_path: "/gone/step-2"\n'):
        state.write_text(text + 'all_model_checkpoint_paths: "step-1"\n')
        assert list(read(tmp_path).tensors) == ["step-2"]


def test_a_single_bundle_is_taken_whatever_the_text_says(folder: Path) -> None:
    index = written(folder, bundle_of(SAMPLE))
    (folder / "checkpoint").write_bytes(b'model_checkpoint_path: "step-7"\n\xff')
    assert read(folder).path == index


def test_a_shard_is_not_the_file_to_name(folder: Path) -> None:
    written(folder, bundle_of(SAMPLE))
    shard = folder / "model.ckpt.data-00000-of-00001"
    with pytest.raises(WeightsError, match=r"one shard of .* Name its index: .*model\.ckpt\.index"):
        read(shard)
