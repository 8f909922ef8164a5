"""A TensorFlow bundle in a tar archive, gzip or not: read as a stream, nothing unpacked to disk.

The archive is read once where the index comes before its shards, and otherwise twice; held are
the indexes and, of the shards that one of them names, as much as it says that tensors fill.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable

from weights_tools.readers.checkpoint import Contents, shown
from weights_tools.readers.gzip_stream import inflated
from weights_tools.readers.sorted_table import MAGIC, ends_a_table
from weights_tools.readers.source import Source
from weights_tools.readers.tar_stream import TarMember, TarStream
from weights_tools.readers.tensorflow_bundle import ADVICE, describe, to_tensors
from weights_tools.readers.tensorflow_index import Index, Unsupported, read_index
from weights_tools.readers.tensorflow_names import (
    INDEX_SUFFIX,
    LISTED,
    MAX_STATE_BYTES,
    STATE_NAME,
    choose_bundle,
    listed,
    newest_bundle,
    shard_name,
)

MAX_INDEX_BYTES = 16 * 2**20
"""The most bytes of indexes accepted in an archive; that of mixnet-s has 34 thousand."""

MAX_UNUSED_BYTES = 16 * 2**20
"""The most bytes accepted before the end of a shard's last tensor that belong to none."""

Visit = Callable[[TarMember, TarStream], None]


def is_gzip(source: Source) -> bool:
    """Whether the file starts as gzip does."""
    return source.data[:2] == b"\x1f\x8b"


def is_tar(source: Source) -> bool:
    """Whether the file starts with a tar header of POSIX or GNU."""
    return source.data[257:262] == b"ustar"


def read_tar(source: Source) -> Contents:
    """Open archive -> the tensors of the bundle in it.

    Raises:
        WeightsError: the archive is damaged, too long, or holds no bundle or several; the bundle
            is damaged or of a kind that is not read.
    """
    try:
        shards = _find_shards(source)
        tensors = to_tensors(shards.index, shards.taken)
    except Unsupported as error:
        raise source.fail(f"TensorFlow archive: {error}") from error
    except ValueError as error:
        raise source.fail(f"TensorFlow archive: {error}. {ADVICE}") from error
    return Contents(tensors, {"bundle": shards.prefix, **describe(shards.index)})


class _Shards:
    """The shards of one bundle, taken from the archive as they come by."""

    def __init__(self, prefix: str, index: Index) -> None:
        self.prefix, self.index = prefix, index
        self.ends = index.shard_ends()
        self.numbers = {shard_name(prefix, n, index.num_shards): n for n in self.ends}
        self.taken: dict[int, bytearray] = {}
        unused = sum(self.ends.values()) - sum(entry.size_bytes for entry in index.entries)
        if unused > MAX_UNUSED_BYTES:
            raise Unsupported(
                f"{unused} bytes of the shards belong to no tensor; accepted in an archive are "
                f"{MAX_UNUSED_BYTES}. Unpack it and name the folder"
            )

    def visit(self, member: TarMember, stream: TarStream) -> None:
        """Take the member if it is one of the shards."""
        number = self.numbers.get(member.name)
        if number is None:
            return
        end = self.ends[number]
        if number in self.taken or not member.is_file or member.size_bytes < end:
            raise ValueError(
                f"{shown(member.name)} of {member.size_bytes} bytes: expected one regular file of "
                f"that name, with tensors up to byte {end}"
            )
        self.taken[number] = stream.take(end)

    def missing(self) -> list[str]:
        """Names of the shards that have not come by."""
        return [name for name, number in self.numbers.items() if number not in self.taken]


class _Survey:
    """What the archive holds; the shards of its first bundle are taken at once."""

    def __init__(self) -> None:
        self.first_names: list[str] = []
        self.indexes: dict[str, bytearray] = {}
        self.newest: set[str] = set()
        self.first: _Shards | None = None

    def visit(self, member: TarMember, stream: TarStream) -> None:
        """Note the member, and take it if it is an index, a ``checkpoint`` file or a shard."""
        if len(self.first_names) < LISTED:
            self.first_names.append(member.name)
        folder, name = posixpath.split(member.name)
        if member.is_file and name.endswith(INDEX_SUFFIX):
            self._visit_index(member, stream)
        elif member.is_file and name == STATE_NAME:
            state = stream.take(min(member.size_bytes, MAX_STATE_BYTES))
            newest = newest_bundle(bytes(state))
            self.newest |= {posixpath.join(folder, newest)} if newest else set()
        elif self.first is not None:
            self.first.visit(member, stream)

    def _visit_index(self, member: TarMember, stream: TarStream) -> None:
        held_bytes = sum(len(index) for index in self.indexes.values())
        if held_bytes + member.size_bytes > MAX_INDEX_BYTES:
            raise ValueError(f"more than {MAX_INDEX_BYTES} bytes of files named *{INDEX_SUFFIX}")
        data = stream.take(member.size_bytes)
        if not ends_a_table(bytes(data[-len(MAGIC) :])):
            return
        prefix = member.name.removesuffix(INDEX_SUFFIX)
        if prefix in self.indexes:
            raise ValueError(f"{shown(member.name)} comes twice")
        self.indexes[prefix] = data
        if len(self.indexes) == 1:
            self.first = _Shards(prefix, read_index(memoryview(data)))

    def choose(self) -> _Shards:
        """Return the bundle to read; of the first, with what has been taken."""
        try:
            prefix = choose_bundle(list(self.indexes), self.newest)
        except ValueError as error:
            if self.indexes:
                advice = "Unpack it and name the index of the one to read"
            else:
                advice = "Its first members are " + (listed(self.first_names) or "none")
            raise Unsupported(f"{error}. {advice}") from error
        if self.first is not None and self.first.prefix == prefix:
            return self.first
        return _Shards(prefix, read_index(memoryview(self.indexes[prefix])))


def _find_shards(source: Source) -> _Shards:
    survey = _Survey()
    _walk(source, survey.visit)
    shards = survey.choose()
    if shards.missing():
        shards = _Shards(shards.prefix, shards.index)
        survey.first = None
        _walk(source, shards.visit)
    if shards.missing():
        raise Unsupported(
            f"the archive lacks {listed(shards.missing())}, which {shown(shards.prefix)} needs. "
            "Fetch all of its files"
        )
    return shards


def _walk(source: Source, visit: Visit) -> None:
    stream = TarStream(inflated(source.pieces()) if is_gzip(source) else source.pieces())
    for member in stream.members():
        visit(member, stream)
