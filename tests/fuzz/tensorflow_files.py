"""TensorFlow's bundles and archives from their smallest pieces, each of which may be damaged."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tests import tensorflow_writers as tw
from tests.fuzz.mutations import Files

INDEX = "model.ckpt.index"

_ENTRIES_PER_BLOCK = 4
_RESTART_INTERVAL = 3
_HEADER_BYTES = 512
_CHECKSUM = slice(148, 156)

Pieces = Mapping[str, bytes]
Blocks = Sequence[tuple[bytes, bytes]]
"""Of each block: its last key, and its content, not compressed."""


def index_content(blocks: Blocks, compress: tw.Compress | None) -> bytes:
    """Blocks -> the content of the index, which says where each lies."""
    handles, at = [], 0
    for key, content in blocks:
        size = len(tw.stored_block(content, compress))
        handles.append((key, tw.varint(at) + tw.varint(size - 5)))
        at += size
    return tw.block_content(handles, 1)


def table(stored: Sequence[bytes], index: bytes) -> bytes:
    """Blocks with their trailers, and the content of the index -> a table."""
    out, handles = b"", []
    last = [tw.stored_block(content, None) for content in (tw.block_content([], 1), index)]
    for piece in [*stored, *last]:
        handles.append(tw.varint(len(out)) + tw.varint(len(piece) - 5))
        out += piece
    return out + b"".join(handles[-2:]).ljust(40, b"\0") + tw.MAGIC


class Bundle:
    """Tensors over the shards in turn, and one of strings, to be taken to pieces.

    The pieces are the header, and of each tensor its entry and its content.  An entry that was
    not changed states size and checksum of the content as it then is.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray[Any, Any]],
        compress: tw.Compress | None = None,
        shards: int = 1,
    ) -> None:
        self.compress, self.shards = compress, shards
        self.tensors = {name: tw.stored_array(array) for name, array in arrays.items()}
        self.tensors["texts"] = tw.stored_strings([b"graph", b""])
        header = tw.number(1, shards) + tw.HEADER_VERSION
        contents = {f"content {name}": stored.data for name, stored in self.tensors.items()}
        entries, _ = self._fitting(contents)
        self.pieces = {"header": header, **contents}
        self.pieces |= {f"entry {name}": entry for name, entry in entries.items()}

    def _fitting(self, pieces: Pieces) -> tuple[dict[str, bytes], list[bytes]]:
        """Entries that fit the contents, and the shards."""
        entries, shards = {}, [b""] * self.shards
        for n, (name, stored) in enumerate(sorted(self.tensors.items())):
            content, shard = pieces.get(f"content {name}", b""), n % self.shards
            made = replace(stored, data=content, shard=shard)
            if content != stored.data:
                made = replace(made, checksum=tw.masked_crc(content))
            entries[name] = made.entry(len(shards[shard]))
            shards[shard] += content
        return entries, shards

    def blocks(self, pieces: Pieces) -> list[tuple[bytes, bytes]]:
        """Pieces -> the blocks of the index."""
        items = [(b"", pieces.get("header", b""))]
        for name, entry in self._fitting(pieces)[0].items():
            given = pieces.get(f"entry {name}")
            if given is not None:
                fits = given == self.pieces[f"entry {name}"]
                items.append((name.encode(), entry if fits else given))
        groups = [
            items[start : start + _ENTRIES_PER_BLOCK]
            for start in range(0, len(items), _ENTRIES_PER_BLOCK)
        ]
        return [(group[-1][0], tw.block_content(group, _RESTART_INTERVAL)) for group in groups]

    def files(self, pieces: Pieces) -> Files:
        """Pieces -> index and shards."""
        blocks = self.blocks(pieces)
        stored = [tw.stored_block(content, self.compress) for _, content in blocks]
        shards = self._fitting(pieces)[1]
        return {INDEX: table(stored, index_content(blocks, self.compress))} | {
            f"model.ckpt.data-{n:05}-of-{self.shards:05}": shard for n, shard in enumerate(shards)
        }


def tar_pieces(files: Files, format_: int) -> dict[str, bytes]:
    """Files -> the headers and bodies of a tar archive, in order."""
    data = tw.tar_bytes([(f"mixnet-s/{name}", body) for name, body in files.items()], format_)
    pieces: dict[str, bytes] = {}
    at = 0
    while data[at : at + _HEADER_BYTES].strip(b"\0"):
        size = int(data[at + 124 : at + 135] or b"0", 8)
        end = at + _HEADER_BYTES + -(-size // _HEADER_BYTES) * _HEADER_BYTES
        pieces[f"{len(pieces):03} header"] = data[at : at + _HEADER_BYTES]
        pieces[f"{len(pieces):03} body"] = data[at + _HEADER_BYTES : end]
        at = end
    return {**pieces, "999 end": bytes(2 * _HEADER_BYTES)}


def tar_bytes(pieces: Pieces) -> bytes:
    """Headers and bodies -> an archive; the headers' checksums are made to fit."""
    out = b""
    for name, piece in sorted(pieces.items()):
        if name.endswith("header") and len(piece) == _HEADER_BYTES:
            blank = bytearray(piece)
            blank[_CHECKSUM] = b" " * 8
            blank[_CHECKSUM] = f"{sum(blank):06o}\0 ".encode()
            piece = bytes(blank)
        out += piece
    return out


def gzipped(data: bytes) -> bytes:
    """Bytes -> a gzip file that does not depend on the time of day."""
    return gzip.compress(data, mtime=0)
