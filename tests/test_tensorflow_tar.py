"""TensorFlow bundles in archives: round trips, damage, bombs, and archives of other things."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimix.errors import WeightsError
from tests.checkpoint_writers import same, stored
from tests.tensorflow_writers import (
    Blocks,
    Bundle,
    Stored,
    bundle_of,
    masked_crc,
    snappy,
    stored_array,
    tar_bytes,
    tar_gz_bytes,
)
from weights_tools.readers import detect, read, tar_stream

SAMPLE: dict[str, np.ndarray[Any, Any]] = {
    "conv2d/kernel": np.arange(12, dtype=np.float32).reshape(2, 2, 3, 1),
    "flag": np.array([True, False, True]),
    "global_step": np.array(7),
}
STATE = ("mixnet-s/checkpoint", b'model_checkpoint_path: "model.ckpt"\n')
META = ("mixnet-s/model.ckpt.meta", b"a graph" * 100)
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
WRITERS = {"tensorflow-tar-gz": tar_gz_bytes, "tensorflow-tar": tar_bytes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


def files_of(arrays: dict[str, np.ndarray[Any, Any]], prefix: str, **options: Any) -> list[Any]:
    return list(bundle_of(arrays, **options).files(prefix).items())


SMALL = [*files_of(SAMPLE, "mixnet-s/model.ckpt"), META, STATE]


@pytest.mark.parametrize("container", WRITERS)
@given(
    st.permutations(range(5)),
    st.sampled_from(FORMATS),
    st.sampled_from(["", "./", "mixnet-s/", "d" * 120 + "/", "ä/"]),
)
def test_tensors_come_back_whatever_order_the_members_have(
    container: str, folder: Path, order: list[int], form: int, where: str
) -> None:
    prefix = f"{where}model.ckpt"
    bundle = files_of(SAMPLE, prefix, num_shards=2, blocks=Blocks(50, 2, snappy))
    members = [*bundle, (f"{where}checkpoint", STATE[1]), (f"{where}model.ckpt.meta", b"graph")]
    form = tarfile.PAX_FORMAT if form == tarfile.USTAR_FORMAT and "d" * 120 in where else form
    data = WRITERS[container]([members[n] for n in order], form)
    checkpoint = read(stored(folder, data))
    assert checkpoint.container == container
    assert same(checkpoint.tensors, SAMPLE)
    assert checkpoint.metadata == {
        "bundle": prefix.removeprefix("./"),
        "num_shards": "2",
        "producer": "1",
    }
    for array in checkpoint.tensors.values():
        assert array.flags.c_contiguous and array.flags.aligned and not array.flags.writeable


def test_of_several_bundles_the_one_that_the_text_names_is_read(folder: Path) -> None:
    one, two = ({name: SAMPLE["global_step"]} for name in ("one", "two"))
    members = files_of(one, "run/step-1") + files_of(two, "run/step-2")
    with pytest.raises(WeightsError, match=r"2 .* \('run/step-1', 'run/step-2'\); expected 1. Unp"):
        read(stored(folder, tar_gz_bytes(members)))
    for newest, expected in (("step-1", one), ("/elsewhere/step-2", two)):
        state = f'model_checkpoint_path: "{newest}"'.encode()
        for place in (0, len(members)):
            archive = [*members]
            archive.insert(place, ("run/checkpoint", state))
            assert same(read(stored(folder, tar_gz_bytes(archive))).tensors, expected)


def test_the_text_of_another_folder_does_not_count(folder: Path) -> None:
    members = files_of(SAMPLE, "a/model.ckpt") + files_of(SAMPLE, "b/model.ckpt")
    data = tar_gz_bytes([*members, ("checkpoint", STATE[1])])
    with pytest.raises(WeightsError, match="2 TensorFlow bundles"):
        read(stored(folder, data))
    tensors = read(stored(folder, tar_gz_bytes([*members, ("b/checkpoint", STATE[1])])))
    assert tensors.metadata["bundle"] == "b/model.ckpt"


@pytest.mark.parametrize("container", WRITERS)
def test_an_archive_cut_off_anywhere_is_an_error(container: str, folder: Path) -> None:
    data = WRITERS[container](SMALL)
    end = len(data) if container == "tensorflow-tar-gz" else len(data.rstrip(b"\0")) + 1024
    for length in range(1, end, 7):
        with pytest.raises(WeightsError, match="checkpoint.bin: "):
            read(stored(folder, data[:length]))


@pytest.mark.parametrize("container", WRITERS)
@settings(max_examples=300)
@given(data=st.data())
def test_any_changed_byte_is_an_error_or_changes_nothing(
    container: str, folder: Path, data: st.DataObject
) -> None:
    body = bytearray(WRITERS[container](SMALL))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    path = stored(folder, bytes(body))
    try:
        tensors = read(path).tensors
    except WeightsError as error:
        assert str(error).startswith(str(path))
    else:
        assert same(tensors, SAMPLE)


@given(st.integers(10, len(tar_gz_bytes(SMALL)) - 1), st.integers(1, 255))
def test_any_changed_byte_behind_the_header_of_gzip_is_an_error_or_spells_the_same(
    folder: Path, position: int, change: int
) -> None:
    # Deflate can spell the same bytes in several ways, which its checksum, of them, cannot tell.
    body = bytearray(tar_gz_bytes(SMALL))
    body[position] ^= change
    path = stored(folder, bytes(body))
    try:
        is_same = gzip.decompress(bytes(body)) == tar_bytes(SMALL)
    except (EOFError, OSError, zlib.error):
        is_same = False
    if is_same:
        assert same(read(path).tensors, SAMPLE)
    else:
        with pytest.raises(WeightsError, match="TensorFlow archive: "):
            read(path)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (tar_gz_bytes(SMALL) + b"x", "gzip: cut off"),
        (tar_gz_bytes(SMALL) + b"\0\0more", "gzip: .*incorrect header check"),
        (tar_gz_bytes(SMALL) + gzip.compress(b"more"), "other bytes than zeros after the end"),
        (tar_bytes(SMALL) + b"x", "other bytes than zeros after the end"),
        (gzip.compress(tar_bytes(SMALL).rstrip(b"\0")), "the archive is cut off"),
        (b"\x1f\x8b\x08", "gzip: cut off"),
        (gzip.compress(b"text"), "the archive is cut off at byte 4"),
        (gzip.compress(b"text" * 1000), "no tar header at byte 0"),
        (b"\0" * 257 + b"ustar", "the archive is cut off"),
        (tar_gz_bytes([]), r"0 TensorFlow bundles; expected 1. Its first members are none"),
        (tar_gz_bytes([META, STATE]), "'mixnet-s/model.ckpt.meta', 'mixnet-s/checkpoint'"),
        (tar_gz_bytes([("a.index", b"no table"), ("b.pth", b"")]), "0 TensorFlow bundles"),
        (tar_gz_bytes(SMALL[:1]), r"the archive lacks 'mixnet-s/model\.ckpt\.data-00000-of-00001'"),
        (tar_gz_bytes([SMALL[0], *SMALL]), r"'mixnet-s/model\.ckpt\.index' comes twice"),
        (tar_gz_bytes([*SMALL, SMALL[1]]), "expected one regular file of that name"),
        (tar_gz_bytes([SMALL[0], (SMALL[1][0], b"")]), "with tensors up to byte 59"),
    ],
)
def test_other_archives_are_refused(data: bytes, problem: str, folder: Path) -> None:
    with pytest.raises(WeightsError, match=f"TensorFlow archive: .*({problem})"):
        read(stored(folder, data))


def test_streams_of_gzip_in_a_row_and_zeros_after_them_are_one(folder: Path) -> None:
    tar = tar_bytes(SMALL)
    data = gzip.compress(tar[:700]) + b"\0\0" + gzip.compress(tar[700:]) + bytes(100)
    assert same(read(stored(folder, data)).tensors, SAMPLE)


def archive_with(member: tarfile.TarInfo, content: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, body in SMALL[:1]:
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
        archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.GNUTYPE_SPARSE])
def test_links_and_sparse_members_are_no_shards(kind: bytes, folder: Path) -> None:
    member = tarfile.TarInfo(SMALL[1][0])
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(WeightsError, match="expected one regular file of that name"):
        read(stored(folder, archive_with(member)))


def test_a_bundle_of_more_than_a_piece_comes_back_from_noise(folder: Path) -> None:
    noise = np.frombuffer(random.Random(1).randbytes(400_000), np.uint8)
    members = files_of({"noise": noise, "zeros": np.zeros(100_000)}, "model")
    for order in (members, members[::-1]):
        tensors = read(stored(folder, tar_gz_bytes(order))).tensors
        assert same(tensors, {"noise": noise, "zeros": np.zeros(100_000)})


def test_a_bomb_takes_neither_memory_nor_disk(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tar_stream, "MAX_UNPACKED_BYTES", 100 * 2**20)
    bombs = {
        "more than 104857600 bytes unpacked": [("big.meta", bytes(120 * 2**20))],
        "files named \\*.index": [("a.index", bytes(17 * 2**20))],
        "an extra header of .* bytes; accepted are 65536": [("n" * 100_000, b"")],
        "the archive lacks": [SMALL[0], ("big.meta", bytes(2**26))],
    }
    for problem, members in bombs.items():
        data = tar_gz_bytes(members, tarfile.GNU_FORMAT)
        path = stored(folder, data)
        tracemalloc.start()
        started = time.perf_counter()
        with pytest.raises(WeightsError, match=problem):
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 * len(data) + 40e6 and time.perf_counter() - started < 5


def test_a_shard_of_which_no_tensor_needs_most_is_refused(folder: Path) -> None:
    checksum = masked_crc(b"\0\0\0\0")
    far = Stored(1, (), b"\0\0\0\0", checksum, offset=17 * 2**20)
    files = Bundle({"a": stored_array(np.ones(1, np.float32)), "b": far}).files("m")
    with pytest.raises(WeightsError, match="belong to no tensor; .* Unpack it and name the folder"):
        read(stored(folder, tar_gz_bytes(files.items())))


def test_too_many_members_are_refused(folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tar_stream, "MAX_MEMBERS", 20)
    data = tar_gz_bytes([(f"{n}.txt", b"") for n in range(20)])
    with pytest.raises(WeightsError, match="more than 20 members and extra headers"):
        read(stored(folder, data))


def pax_bytes(records: bytes) -> bytes:
    """A pax header, which is about the member that follows it."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    return header.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        (b"9 path=a\n", "Its first members are 'a'"),
        (b"9 path=ab", "no record of a pax header at its byte 0"),
        (b"99 path=a\n", "no record of a pax header at its byte 0"),
        (b"path=a\n", "no record of a pax header at its byte 0"),
        (b"6 a=b\n3 \n", "no record of a pax header at its byte 6"),
        (b"11 size=-1\n", "states a size of '-1'"),
        (b"2000 path=" + b"n" * 1989 + b"\n", "a member name of 1989 characters"),
    ],
)
def test_pax_headers_must_keep_their_form(records: bytes, problem: str, folder: Path) -> None:
    path = stored(folder, pax_bytes(records) + tar_bytes([("b", b"")]))
    assert detect(path) == "tensorflow-tar"
    with pytest.raises(WeightsError, match=problem):
        read(path)


def test_the_size_in_a_pax_header_is_the_one_that_counts(folder: Path) -> None:
    assert same(read(stored(folder, archive_with_pax(b"11 size=59\n"))).tensors, SAMPLE)


def test_a_file_with_holes_is_no_shard(folder: Path) -> None:
    records = b"11 size=59\n22 GNU.sparse.major=1\n"
    with pytest.raises(WeightsError, match="of 59 bytes: expected one regular file"):
        read(stored(folder, archive_with_pax(records)))


def archive_with_pax(records: bytes) -> bytes:
    """The small bundle, whose shard of 59 bytes has none by its own header."""
    (index, content), (shard, data) = SMALL[:2]
    size = tar_bytes([(index, content)]).find(bytes(512), 512 + len(content))
    header = tarfile.TarInfo(shard).tobuf(tarfile.USTAR_FORMAT)
    first = tar_bytes([(index, content)])[: -(-size // 512) * 512]
    return first + pax_bytes(records) + header + data.ljust(512, b"\0") + bytes(1024)
