"""Small valid bundles of TensorFlow: as files, and in archives."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Mapping
from typing import Any

from tests import tensorflow_writers as tw
from tests.fuzz.mutations import Files, Seed
from tests.fuzz.narrow_model import tensorflow_tensors
from tests.fuzz.samples import FLOATS, SAMPLE, STATE_NAME, single
from tests.fuzz.tensorflow_files import (
    INDEX,
    Bundle,
    gzipped,
    index_content,
    table,
    tar_bytes,
    tar_pieces,
)

_TOKENS = (
    *(b"\x08\x01", b"\x08\x07", b"\x08\x0e", b"\x08\x14", b"\x12\x00", b"\x12\x02\x08\x00"),
    *(b"\x18\x01", b"\x20\x00", b"\x28\x00", b"\x35", b"\x3a\x00", b"\x10\x01", b"\x00\x00\x00"),
    *(bytes.fromhex("57fb808b247547db"), b"\x12" + b"\x02\x18\x01", b"\xff\xff\xff\xff\x0f"),
    *(b"\xfe\x01\x00", b"\x1b", b"\x80\x80\x04"),
)
_TAR_TOKENS = (
    *(b"ustar\0", b"ustar  \0", b"x", b"g", b"L", b"K", b"5", b"1", b"0000000\0", b"77777777777"),
    *(
        b"\x80" + bytes(11),
        b"\xff" * 12,
        b"././@LongLink",
        b"30 GNU.sparse.major=1\n",
        b"20 size=99\n",
    ),
    *(b"16 path=a.index\n", b"mixnet-s/model.ckpt.index", b"\x1f\x8b\x08\0", b"checkpoint"),
)


def _bundles() -> list[Bundle]:
    return [Bundle(SAMPLE), Bundle({**SAMPLE, **FLOATS}, tw.snappy, shards=2)]


def bundle() -> list[Seed]:
    """Bundles, plain and packed by Snappy: in tensors and entries, and in the table's blocks."""
    seeds = []
    for made in _bundles():
        seeds.append(Seed(made.files(made.pieces), made.pieces, made.files, _TOKENS))
        seeds.append(_block_seed(made))
        seeds.append(_folder_seed(made))
    model = Bundle(tensorflow_tensors())
    files = model.files(model.pieces)
    return [*seeds, Seed(files, model.pieces, model.files, _TOKENS, frequency=1, is_model=True)]


def _folder_seed(made: Bundle) -> Seed:
    """A seed that is read by its folder: a text in it says which bundle is the newest."""

    def assemble(pieces: Mapping[str, bytes]) -> Files:
        return {**made.files(pieces), STATE_NAME: pieces.get(STATE_NAME, b"")}

    pieces = {**made.pieces, STATE_NAME: b'model_checkpoint_path: "model.ckpt"\n'}
    return Seed(assemble(pieces), pieces, assemble, _TOKENS, frequency=5)


def _block_seed(made: Bundle) -> Seed:
    """A seed of the blocks of its index as they are stored; checksums are made to fit."""
    files, blocks = made.files(made.pieces), made.blocks(made.pieces)
    index, kind = index_content(blocks, made.compress), bytes([made.compress is not None])
    pieces = {
        f"block {n}": tw.stored_block(content, made.compress)[:-5]
        for n, (_, content) in enumerate(blocks)
    }

    def assemble(pieces: Mapping[str, bytes]) -> Files:
        stored = [pieces.get(f"block {n}", b"") + kind for n in range(len(blocks))]
        keys = [key for key, _ in blocks]
        given = pieces.get("index", b"")
        # An index that was not changed says where the blocks are after their changes.
        fitting = index_content(list(zip(keys, (s[:-1] for s in stored), strict=True)), None)
        with_trailers = [body + tw.masked_crc(body) for body in stored]
        return {**files, INDEX: table(with_trailers, fitting if given == index else given)}

    return Seed(files, {**pieces, "index": index}, assemble, _TOKENS)


def packed_archive() -> list[Seed]:
    """Archives packed by gzip."""
    return _archives(gzipped)


def plain_archive() -> list[Seed]:
    """Archives as they are."""
    return _archives(bytes)


def _archives(pack: Callable[[bytes], bytes]) -> list[Seed]:
    """The bundles in archives of GNU and of POSIX, in one order and in the other; and a MixNet."""
    texts = {STATE_NAME: b'model_checkpoint_path: "model.ckpt"\n', "model.ckpt.meta": b"meta"}
    small, large = (made.files(made.pieces) for made in _bundles())
    long_name = {"a" * 120 + "/notes.txt": b"notes"}
    turned = dict(reversed({**texts, **large}.items()))
    model = Bundle(tensorflow_tensors())
    gnu = tar_pieces({**texts, **small, **long_name}, tarfile.GNU_FORMAT)
    posix = tar_pieces({**turned, **long_name}, tarfile.PAX_FORMAT)
    whole = tar_pieces(model.files(model.pieces), tarfile.GNU_FORMAT)
    return [
        _archive_seed(pack, gnu),
        _archive_seed(pack, posix),
        _archive_seed(pack, whole, frequency=1, is_model=True),
    ]


def _archive_seed(
    pack: Callable[[bytes], bytes], pieces: Mapping[str, bytes], **facts: Any
) -> Seed:
    """A seed whose headers, and the stream as a whole, get checksums that fit."""

    def assemble(pieces: Mapping[str, bytes]) -> Files:
        return single(pack(tar_bytes(pieces)))

    return Seed(assemble(pieces), pieces, assemble, _TAR_TOKENS, **facts)
