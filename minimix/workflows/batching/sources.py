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
        if item.problem or ending not in (stores.SHARD, stores.TABLE):
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


_KINDS: dict[str, type[FileChunk | TarChunk | ParquetChunk]] = {
    "files": FileChunk,
    "shard": TarChunk,
    "table": ParquetChunk,
}


def to_line(chunk: Chunk) -> str:
    """A chunk -> a line of JSON: what it is called, its kind, fields, and its files' states."""
    assert isinstance(chunk, FileChunk | TarChunk | ParquetChunk)
    kind = next(name for name, known in _KINDS.items() if isinstance(chunk, known))
    if isinstance(chunk, FileChunk):
        title, files = chunk.files[0], chunk.files
    else:
        file = chunk.shard if isinstance(chunk, TarChunk) else chunk.file
        title, files = chunk.names()[0] if isinstance(chunk, TarChunk) else file, (file,)
    return json.dumps([title, kind, asdict(chunk), [_state(name) for name in files]])


def from_line(line: str) -> Chunk:
    """A line of ``to_line`` -> the chunk.

    Raises:
        ValueError: it is none.
    """
    try:
        _, kind, fields, _ = json.loads(line)
        if kind == "files":
            problems = {int(n): why for n, why in fields["problems"].items()}
            return FileChunk(tuple(fields["files"]), problems, fields["offline"])
        if kind == "shard":
            members = tuple((name, start, size) for name, start, size in fields["members"])
            return TarChunk(fields["shard"], members)
        return _KINDS[kind](**fields)
    except (KeyError, TypeError) as error:
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
