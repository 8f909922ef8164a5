"""What the user named -> chunks, in order: pictures, folders, patterns, lists, shards, tables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from minimix.errors import InputError
from minimix.inputs import Input, find_inputs
from minimix.network import is_offline
from minimix.workflows.batching import stores
from minimix.workflows.batching.chunks import Chunk, FileChunk
from minimix.workflows.batching.parquet import ParquetChunk, table_chunks
from minimix.workflows.batching.results import is_result
from minimix.workflows.batching.tar_shards import Member, TarChunk, members_of


@dataclass(frozen=True)
class Sources:
    """What the user named.

    Attributes:
        named: files, folders, patterns and URLs; ``.tar`` and ``.parquet`` hold many pictures.
        listed: a file with more names, one a line.
        offline: refuse what is elsewhere.
        image_column: of tables, where several could be.
        identity: column of tables that names the pictures.
        chunk_size: pictures of a chunk, at most.
    """

    named: tuple[str, ...]
    listed: str | None = None
    offline: bool = False
    image_column: str | None = None
    identity: str | None = None
    chunk_size: int = 128

    def chunks(self) -> Iterator[Chunk]:
        """All pictures; what cannot be listed is one that fails.

        Raises:
            UsageError: a table has no column of pictures, or a library is not installed.
        """
        waiting = _Files(self)
        for item in self._inputs():
            inside = self._inside(item)
            if inside is None:
                waiting.add(item.name, item.problem)
                if len(waiting.files) == self.chunk_size:
                    yield waiting.take()
                continue
            if waiting.files:
                yield waiting.take()
            try:
                yield from inside
            except InputError as error:
                waiting.add(item.name, str(error))
        if waiting.files:
            yield waiting.take()

    def _inputs(self) -> Iterator[Input]:
        offline = self.offline or is_offline()
        found = find_inputs(self.named, listed=self.listed, offline=offline, endings=stores.ENDINGS)
        for item in found:
            if not stores.is_stored(item.name):
                if not is_result(item.name):  # of ours, in a folder that is read once more
                    yield item
                continue
            try:
                stores.check_online(item.name, offline=offline)
                yield from (Input(name, item.open) for name in stores.expand(item.name))
            except InputError as error:
                yield Input(item.name, item.open, str(error))

    def _inside(self, item: Input) -> Iterator[Chunk] | None:
        """Chunks of a file that holds many pictures; None of a picture."""
        ending = stores.ending_of(item.name)
        if item.problem:
            return None
        if item.name.lower().endswith(_COMPRESSED):
            return _refused("a compressed shard, of which no part can be read alone. Unpack it")
        if ending not in (stores.SHARD, stores.TABLE):
            return None
        if ending == stores.SHARD:
            return self._shard(item.name)
        return self._table(item.name)

    def _shard(self, name: str) -> Iterator[Chunk]:
        stores.check_online(name, offline=self.offline or is_offline())
        members: list[Member] = []
        problem: InputError | None = InputError("no picture in this shard")
        try:
            for member in members_of(name):
                problem = None
                members.append(member)
                if len(members) == self.chunk_size:
                    yield TarChunk(name, tuple(members))
                    members.clear()
        except InputError as error:
            problem = error
        if members:
            yield TarChunk(name, tuple(members))
        if problem is not None:
            raise problem

    def _table(self, name: str) -> Iterator[Chunk]:
        stores.check_online(name, offline=self.offline or is_offline())
        yield from table_chunks(name, self.chunk_size, self.image_column, self.identity)


def _refused(why: str) -> Iterator[Chunk]:
    raise InputError(why)
    yield  # or it would raise before anybody asks for a chunk


class _Files:
    """Pictures that wait until they are a chunk."""

    def __init__(self, sources: Sources) -> None:
        self.files: list[str] = []
        self._problems: dict[int, str] = {}
        self._offline = sources.offline

    def add(self, name: str, problem: str) -> None:
        if problem:
            self._problems[len(self.files)] = problem
        self.files.append(name)

    def take(self) -> FileChunk:
        chunk = FileChunk(tuple(self.files), self._problems, self._offline)
        self.files, self._problems = [], {}
        return chunk


_COMPRESSED = (".tgz", ".tbz2", ".txz", *(f".tar.{kind}" for kind in ("gz", "bz2", "xz", "zst")))

_KINDS: dict[str, type[FileChunk | TarChunk | ParquetChunk]] = {
    "files": FileChunk,
    "shard": TarChunk,
    "table": ParquetChunk,
}
_NAMED = {"files": "files", "shard": "shard", "table": "file"}
"""The field of each that names files."""


def to_line(chunk: Chunk) -> str:
    """A chunk -> a line of JSON: its files, their states, its kind, and its other fields.

    Whether the network may be used is no part of what the rows depend on.
    """
    assert isinstance(chunk, FileChunk | TarChunk | ParquetChunk)
    kind = next(name for name, known in _KINDS.items() if isinstance(chunk, known))
    fields = asdict(chunk)
    files = fields.pop(_NAMED[kind])
    fields.pop("offline", None)
    named = files if kind == "files" else [files]
    return json.dumps([named, [_state(name) for name in named], kind, fields])


def from_line(line: str, *, offline: bool = False) -> Chunk:
    """A line of ``to_line`` -> the chunk.

    Args:
        line: of JSON.
        offline: whether its files have to be of this machine.

    Raises:
        ValueError: it is none.
    """
    try:
        files, _, kind, fields = json.loads(line)
        if kind == "files":
            problems = {int(n): why for n, why in fields["problems"].items()}
            return FileChunk(tuple(files), problems, offline)
        (file,) = files
        if kind == "shard":
            members = tuple((name, start, size) for name, start, size in fields["members"])
            return TarChunk(file, members)
        return _KINDS[kind](**{_NAMED[kind]: file}, **fields)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no chunk: {error}") from error


def _state(name: str) -> list[int] | None:
    """Size and time of change of a file of this machine: what shows that it is another."""
    if stores.scheme_of(name):
        return None
    try:
        status = os.stat(name)  # noqa: PTH116 - a name need not be a path
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns]
