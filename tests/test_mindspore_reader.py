"""MindSpore checkpoints: what is written comes back; what is damaged is one error."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from minimix.errors import WeightsError
from tests.checkpoint_writers import same, stored
from tests.mindspore_writers import DTYPES, entry, field, mindspore_bytes, tensor, varint
from tests.reference import REFERENCE, needs_reference
from weights_tools.readers import read
from weights_tools.readers.mindspore import MAX_ENTRIES, is_mindspore
from weights_tools.readers.source import open_source

Arrays = dict[str, NDArray[Any]]

SAMPLE: Arrays = {
    "stem_conv.0.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "half": np.arange(3, dtype=np.float16),
    "global_step": np.array(7, np.int32),
}
ONE = tensor((1,), "Float32", b"\0\0\x80\x3f")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the files of a Hypothesis test; each example replaces the file."""
    return tmp_path_factory.mktemp("mindspore")


names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=12)
arrays = hnp.arrays(
    dtype=st.sampled_from(sorted(DTYPES)).map(np.dtype),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@given(
    tensors=st.dictionaries(names, arrays, min_size=1, max_size=4),
    packed=st.booleans(),
    parts=st.integers(1, 3),
    crc=st.booleans(),
)
def test_tensors_come_back_bit_for_bit(
    folder: Path, tensors: Arrays, packed: bool, parts: int, crc: bool
) -> None:
    data = mindspore_bytes(tensors, packed=packed, parts=parts, crc=crc)
    checkpoint = read(stored(folder, data))
    assert checkpoint.container == "mindspore"
    assert same(checkpoint.tensors, tensors)
    assert ("crc32" in checkpoint.metadata) == crc
    for array in checkpoint.tensors.values():
        assert array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative
        assert not array.flags.writeable


@needs_reference
def test_the_real_file_holds_the_recorded_names_shapes_and_types() -> None:
    checkpoint = read(REFERENCE / "mindcv" / "mixnet_s.ckpt")
    lines = (REFERENCE / "mindcv" / "mixnet_s_params.txt").read_text().splitlines()
    assert checkpoint.container == "mindspore" and checkpoint.metadata == {}
    assert lines == [
        f"{name}\t{array.shape}\t{DTYPES[array.dtype.name]}"
        for name, array in checkpoint.tensors.items()
    ]


def test_bfloat16_becomes_float32(folder: Path) -> None:
    data = entry("w", tensor((2,), "BFloat16", b"\x80\x3f\x20\xc0"))
    checkpoint = read(stored(folder, data))
    assert same(checkpoint.tensors, {"w": np.array([1.0, -2.5], np.float32)})


def test_a_scalar_may_have_no_sizes_at_all(folder: Path) -> None:
    checkpoint = read(stored(folder, entry("step", tensor((), "Int32", b"\7\0\0\0"))))
    assert same(checkpoint.tensors, {"step": np.array(7, np.int32)})


def test_sizes_may_be_packed_and_plain_at_once(folder: Path) -> None:
    content = (
        field(1, 2) + field(1, varint(3) + varint(1)) + field(2, b"Int8") + field(3, b"abcdef")
    )
    checkpoint = read(stored(folder, entry("w", content)))
    assert checkpoint.tensors["w"].shape == (2, 3, 1)


def test_unknown_fields_are_passed_over_and_those_beside_entries_are_listed(folder: Path) -> None:
    body = field(1, b"w") + field(2, ONE + field(8, 5)) + field(9, b"more")
    checkpoint = read(stored(folder, field(1, body) + field(7, b"x") + field(2, 1) + field(7, 3)))
    assert same(checkpoint.tensors, {"w": np.ones(1, np.float32)})
    assert checkpoint.metadata == {"fields left out": "2, 7"}


# --- what is no MindSpore checkpoint ----------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        field(1, 8) + field(2, b"pytorch") + field(7, b"graph"),  # an ONNX model
        field(1, field(1, b"Const_1") + field(2, b"Const")),  # a TensorFlow graph
        field(1, field(1, b"a\nb") + field(2, ONE)),  # a name that cannot be printed
        field(1, field(1, b"") + field(2, ONE)),
        field(2, field(1, b"w") + field(2, ONE)),
        field(1, field(2, ONE) + field(1, b"w")),
        b"\n\n\n\n\n\n\n\n\n\n\n\n",
        b"\n# text that begins with an empty line\n",
    ],
)
def test_other_messages_and_texts_are_not_taken_for_one(data: bytes, folder: Path) -> None:
    assert not is_mindspore(open_source(stored(folder, data)))


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("crc", [False, True])
def test_a_file_cut_off_anywhere_is_an_error_or_lacks_whole_parameters(
    crc: bool, folder: Path
) -> None:
    data = mindspore_bytes(SAMPLE, crc=crc)
    whole = [mindspore_bytes(dict(list(SAMPLE.items())[:n])) for n in range(1, len(SAMPLE) + 1)]
    for length in range(len(data)):
        path = stored(folder, data[:length])
        if data[:length] in whole:
            # The format has no end mark: only the checksum, or a mapping, would miss the rest.
            assert len(read(path).tensors) == whole.index(data[:length]) + 1
        else:
            with pytest.raises(WeightsError, match=r"checkpoint\.bin: "):
                read(path)


def test_any_byte_changed_under_the_checksum_is_an_error(folder: Path) -> None:
    data = mindspore_bytes(SAMPLE, crc=True)
    for position in range(len(data)):
        for flipped in (1, 0x80, 0xFF):
            changed = bytearray(data)
            changed[position] ^= flipped
            with pytest.raises(WeightsError, match=r"checkpoint\.bin: "):
                read(stored(folder, bytes(changed)))


@settings(max_examples=500)
@given(data=st.data())
def test_any_byte_changed_gives_the_bytes_at_the_declared_places_or_one_error(
    folder: Path, data: st.DataObject
) -> None:
    body = bytearray(mindspore_bytes(SAMPLE, packed=data.draw(st.booleans())))
    for position in data.draw(st.lists(st.integers(0, len(body) - 1), min_size=1, max_size=3)):
        body[position] ^= data.draw(st.integers(1, 255))
    path = stored(folder, bytes(body))
    try:
        tensors = read(path).tensors
    except WeightsError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        for array in tensors.values():
            assert array.tobytes() in bytes(body)


def test_a_wrong_checksum_says_both(folder: Path) -> None:
    data = bytearray(mindspore_bytes(SAMPLE, crc=True))
    data[-1] ^= 1
    with pytest.raises(
        WeightsError, match="CRC-32 is [0-9a-f]{8}, but the file states [0-9a-f]{8}"
    ):
        read(stored(folder, bytes(data)))


def wide(name: str = "w", **changes: Any) -> bytes:
    """An entry of 2 x 3 numbers, or what the changes make of it."""
    fields = {"shape": (2, 3), "scalar": "Float32", "content": bytes(24)} | changes
    return entry(name, tensor(**fields))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (wide(scalar="UInt16"), "'w': element type 'UInt16'; known: Float64, Float32"),
        (wide(scalar="str"), "element type 'str'; known"),
        (wide(shape=(2, 4)), r"'w' of shape \(2, 4\) needs 32 bytes, found 24"),
        (wide(shape=(0,)), r"'w' of shape \(0,\) needs 0 bytes, found 24"),
        (wide(shape=()), r"'w' of shape \(\) needs 4 bytes, found 24"),
        (wide(shape=(-2, -3)), r"'w': expected sizes in 0\.\."),
        (wide(shape=(2**40, 2**40)), "more than 1099511627776 elements"),
        (wide(shape=(0, 2**40, 2**40)), "more than 1099511627776 elements"),
        (wide(shape=(1,) * 33), "more than 32 sizes"),
        (wide(shape=(1,) * 33, packed=True), "expected a list of at most 32 sizes"),
        (wide(shape=(1,) * 400, packed=True), "more than 32 sizes"),
        (wide() + wide("v") + wide(), "the parameter 'w' comes twice"),
        (wide() + wide(), r"'w' of shape \(2, 3\) needs 24 bytes, found 24 \+ 24"),
        (wide() + wide(content=b""), r"found 24 \+ 0"),
        (wide(content=bytes(12)) * 3, r"found 12 \+ 12 \+ 12"),
        (wide(content=bytes(12)), r"needs 24 bytes, found 12\."),
        (
            wide(content=bytes(12)) + wide(content=bytes(12), shape=(3, 2)),
            "'w': comes twice, with different types or sizes",
        ),
        (wide() + entry("v"), "'v': has no tensor"),
        (wide() + field(1, field(2, ONE)), "entry 1: has no name"),
        (wide() + entry("v", ONE, ONE), "entry 1: field 2 comes twice"),
        (wide() + field(1, field(1, b"v") + field(3, ONE)), "'v': is a hash table"),
        (wide() + field(1, 5), "entry 1: expected wire type 2, found 0"),
        (wide() + field(1, field(1, 5)), "entry 1: name: expected wire type 2, found 0"),
        (wide() + field(1, field(1, b"v") + field(2, 5)), "'v': tensor: expected wire type 2"),
        (wide() + field(1, field(1, b"\xff") + field(2, ONE)), "utf-8"),
        (wide() + entry("a\nb", ONE), "expected 1 to 1024 printable characters"),
        (wide() + entry("v", field(2, b"Float32")), "'v': its tensor has no content"),
        (wide() + entry("v", field(3, b"")), "'v': its tensor has no type"),
        (wide() + entry("v", ONE + field(2, b"Int8")), "'v': field 2 comes twice"),
        (wide() + b"\x0b", "group"),
        (wide() + b"\x00\x00", "field number 0"),
        (wide() + b"\x0a\xff\x01", "has 255 bytes"),
        (entry("w", ONE) * (MAX_ENTRIES + 1), f"more than {MAX_ENTRIES} entries"),
    ],
)
def test_an_entry_must_describe_its_bytes_exactly(data: bytes, problem: str, folder: Path) -> None:
    with pytest.raises(WeightsError, match=rf"checkpoint\.bin: mindspore: .*{problem}"):
        read(stored(folder, data))


def test_memory_stays_within_a_small_multiple_of_the_file(folder: Path) -> None:
    # Entries as small as they come, then one whose parts must be joined.
    small = b"".join(entry(f"{n}", tensor((1,), "Int8", b"a")) for n in range(20_000))
    large = mindspore_bytes({"w": np.zeros(2**20, np.float32)}, parts=5)
    for data in (small, large):
        path = stored(folder, data)
        tracemalloc.start()
        tensors = read(path).tensors
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        declared = sum(array.nbytes for array in tensors.values())
        assert peak <= 4 * (len(data) + declared) + 64 * 2**20
