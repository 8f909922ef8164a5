"""TensorFlow bundles that are damaged, that lie about themselves, or that lack a file."""

from __future__ import annotations

import os
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimix.errors import WeightsError
from tests.tensorflow_writers import (
    HEADER_VERSION,
    Blocks,
    Bundle,
    Stored,
    bundle_of,
    message,
    number,
    snappy,
    stored_array,
    stored_strings,
    table_bytes,
    written,
)
from weights_tools.readers import detect, read

SAMPLE = {
    "conv2d/kernel": np.arange(12, dtype=np.float32).reshape(2, 2, 3, 1),
    "flag": np.array([True, False, True]),
    "global_step": np.array(7),
    "half": np.arange(3, dtype=np.float16),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundle")


@pytest.mark.parametrize("compress", [None, snappy])
@settings(max_examples=200)
@given(data=st.data())
def test_any_changed_byte_of_a_bundle_is_an_error(
    folder: Path, compress: None, data: st.DataObject
) -> None:
    tensors = {name: stored_array(array) for name, array in SAMPLE.items()}
    bundle = Bundle(
        tensors | {"t": stored_strings([b"one", b"two"])}, blocks=Blocks(60, 2, compress)
    )
    index = written(folder, bundle)
    path = folder / data.draw(st.sampled_from(sorted(bundle.files())))
    body = bytearray(path.read_bytes())
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(body)
    with pytest.raises(WeightsError, match=r"model\.ckpt\.index: "):
        read(index)


def test_a_file_of_a_bundle_cut_off_anywhere_is_an_error(folder: Path) -> None:
    bundle = bundle_of(SAMPLE, num_shards=2)
    for name, content in bundle.files().items():
        index = written(folder, bundle)
        for length in range(len(content)):
            (folder / name).write_bytes(content[:length])
            with pytest.raises(WeightsError, match=r"model\.ckpt\.index: "):
                read(index)


ONE = stored_array(np.ones(2, np.float32))
TEXTS = stored_strings([b"panda", b"", b"bear"])
HEADER = number(1, 1) + HEADER_VERSION
SLICE = message(7, message(1, number(2, 5)))


@pytest.mark.parametrize(
    ("lie", "problem"),
    [
        (
            replace(ONE, shape=(3,)),
            r"shape \(3,\) and float32 needs 12 bytes, the index gives it 8",
        ),
        (replace(ONE, shape=(-1,)), "'w': shape: expected sizes"),
        (replace(ONE, shape=(2**39, 2**39)), "more than 1099511627776 elements"),
        (replace(ONE, shape=(1,) * 33), "at most 32 sizes"),
        (replace(ONE, offset=2**62), r"data-00000-of-00001 has 8 bytes; the index places"),
        (replace(ONE, offset=-1), "in shard 0 of 1 at byte -1 with 8 bytes"),
        (replace(ONE, shape=(), size_bytes=-4), "with -4 bytes"),
        (replace(ONE, shard=1), "lies in shard 1 of 1"),
        (replace(ONE, shard=-1), "lies in shard -1 of 1"),
        (replace(ONE, checksum=b"\0\0\0\0"), "has the masked CRC-32C .* the index says 00000000"),
        (replace(ONE, more=message(2, b"")), "'w': field 2 comes twice"),
        (replace(ONE, more=number(6, 1)), "'w': field 6 comes twice"),
        (replace(ONE, more=b"\x0b"), "which is a group"),
        (replace(ONE, more=SLICE), "'w' was saved in slices, .* without a partitioner"),
    ],
)
def test_an_entry_must_describe_the_tensor(lie: Stored, problem: str, folder: Path) -> None:
    with pytest.raises(WeightsError, match=problem):
        read(written(folder, Bundle({"w": lie})))


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (b"", "header: 0 shards"),
        (number(1, -1), "header: -1 shards"),
        (number(1, 2**31), "header: 2147483648 shards"),
        (HEADER + number(2, 1), "byte order 1, .* on a machine of its byte order"),
        (number(1, 1) + message(3, number(1, 2) + number(2, 2)), "needs a reader of version 2"),
        (message(1, b"abc"), r"TensorFlow's first format \(V1\)"),
        (HEADER + number(1, 1), "header: field 1 comes twice"),
        (number(1, 1) + number(3, 1), "header: version: expected wire type 2"),
    ],
)
def test_a_header_must_be_that_of_a_bundle(header: bytes, problem: str, folder: Path) -> None:
    with pytest.raises(WeightsError, match=problem):
        read(written(folder, Bundle({"w": ONE}, header=header)))


def test_another_table_is_no_bundle(tmp_path: Path) -> None:
    path = tmp_path / "some.index"
    for entries in ([], [(b"key", b"value")]):
        path.write_bytes(table_bytes(entries))
        assert detect(path) == "tensorflow-bundle"
        with pytest.raises(WeightsError, match="does not begin with a bundle's header"):
            read(path)


@pytest.mark.parametrize("name", [b"\xff", b"a\nb", b"n" * 1025])
def test_a_name_must_be_printable_text(name: bytes, folder: Path) -> None:
    with pytest.raises(WeightsError, match="expected 1 to 1024 printable characters"):
        read(written(folder, Bundle({name: ONE})))


def test_tensors_that_share_bytes_are_refused(folder: Path) -> None:
    tied = {"a": ONE, "b": replace(ONE, offset=4), "c": replace(ONE, offset=100)}
    with pytest.raises(WeightsError, match="'a' and 'b' share bytes"):
        read(written(folder, Bundle(tied)))


@pytest.mark.parametrize(
    ("lie", "problem"),
    [
        (replace(TEXTS, shape=(9,)), "the lengths of its strings do not fit"),
        (replace(TEXTS, shape=(1,)), "the lengths of its strings do not fit"),
        (replace(TEXTS, shape=(50,)), "varint at byte 16 is cut off"),
        (replace(TEXTS, checksum=b"abcd"), "has the masked CRC-32C .* the index says 64636261"),
        (replace(TEXTS, data=TEXTS.data[:-1] + b"!"), "has the masked CRC-32C"),
    ],
)
def test_strings_are_checked_though_they_are_left_out(
    lie: Stored, problem: str, folder: Path
) -> None:
    with pytest.raises(WeightsError, match=problem):
        read(written(folder, Bundle({"texts": lie})))


def test_a_small_index_of_many_tensors_takes_little_memory(folder: Path) -> None:
    entry = stored_array(np.zeros(0, np.float32)).entry(0)
    many = [(b"", HEADER), *((b"n%05d" % n, entry) for n in range(20_001))]
    written(folder, Bundle({}))
    index = folder / "model.ckpt.index"
    for count, data in [(20_000, table_bytes(many[:-1])), (0, table_bytes(many))]:
        index.write_bytes(data)
        tracemalloc.start()
        if count:
            assert len(read(index).tensors) == count
        else:
            with pytest.raises(WeightsError, match="more than 20000 tensors"):
                read(index)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * len(data) + 64e6


def test_a_bundle_must_be_complete_and_keep_its_names(folder: Path) -> None:
    index = written(folder, bundle_of(SAMPLE, num_shards=2))
    renamed = index.rename(folder / "model.table")
    with pytest.raises(WeightsError, match=r"model\.table: .* expected it to end in \.index"):
        read(renamed)
    renamed.rename(index)
    shard = folder / "model.ckpt.data-00001-of-00002"
    shard.unlink()
    with pytest.raises(WeightsError, match=f"there is no {shard.name} beside it. Fetch all"):
        read(index)
    os.mkfifo(shard)
    with pytest.raises(WeightsError, match=f"{shard.name} is no regular file"):
        read(index)
