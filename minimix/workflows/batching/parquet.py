"""Pictures in Parquet: a column of image files' bytes, or of records with a field ``bytes``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

from minimix.errors import InputError, UsageError, brief
from minimix.inputs import Input, NamedBytes, largest_bytes
from minimix.workflows.batching.chunks import Chunk, failing_input, too_large
from minimix.workflows.batching.stores import absolute, open_binary

_USUAL = ("image", "img", "picture", "jpg", "jpeg", "png", "bytes", "content", "data")
"""Names that decide where a table has several columns of bytes."""

_ROWS = 16
"""Read together: the memory that pictures wait in."""

_BUFFER_BYTES = 2**20

_MOST_BEHIND = 4 * 2**20
"""Bytes of a row group per picture of its chunks.

To reach a chunk, all before it in its group is read over, at about a gigabyte a second, while a
picture takes ten milliseconds: with fewer and larger chunks in large groups that costs a fifth of
the time at most.
"""


@dataclass(frozen=True)
class ParquetChunk(Chunk):
    """Some rows of one row group.

    Attributes:
        file: path or URL.
        column: of the bytes, or of records that hold them.
        field: of the records; empty where there are none.
        identity: column that names the pictures; empty to number them.
        group: the row group.
        skipped: its rows before the first of the chunk.
        first: number of the chunk's first row in the file.
        count: of the chunk's rows.
    """

    file: str
    column: str
    field: str
    identity: str
    group: int
    skipped: int
    first: int
    count: int

    def __len__(self) -> int:
        """Number of pictures."""
        return self.count

    def absolute(self) -> ParquetChunk:
        """See ``Chunk``."""
        return replace(self, file=absolute(self.file))

    def names(self) -> Sequence[str]:
        """``table.parquet#17``, counted from 0, or what the column says that names them.

        Raises:
            InputError: the table cannot be read any more.
        """
        if not self.identity:
            return [f"{self.file}#{self.first + n}" for n in range(self.count)]
        with open_binary(self.file) as file:
            values = self._values(file, self.identity, "", range(self.count))
            return [str(value) for value in values]

    def inputs(self, span: range) -> Iterator[Input]:
        """See ``Chunk``."""
        position = span.start
        try:
            with open_binary(self.file) as file:
                for value in self._values(file, self.column, self.field, span):
                    yield self._input(position, value)
                    position += 1
        except InputError as error:
            for rest in range(position, span.stop):
                yield failing_input(self._name(rest), str(error))

    def _name(self, position: int) -> str:
        return f"{self.file}#{self.first + position}"

    def _input(self, position: int, value: Any) -> Input:
        name = self._name(position)
        if not isinstance(value, bytes):
            return failing_input(name, "no bytes in this row")
        most = largest_bytes()
        if len(value) > most:
            return failing_input(name, too_large(len(value), most))
        return Input(name, partial(NamedBytes, value, name))

    def _values(self, file: Any, column: str, field: str, span: range) -> Iterator[Any]:
        """A column's values at these positions; InputError where there are fewer.

        What comes before them in the row group is read over: see ``_MOST_BEHIND``.
        """
        # A page after the other, or pyarrow takes in the whole group at once.
        table = _parquet().ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        wanted = {"columns": [f"{column}.{field}" if field else column], "use_threads": False}
        start, stop = self.skipped + span.start, self.skipped + span.stop
        place = 0
        for batch in table.iter_batches(_ROWS, row_groups=[self.group], **wanted):
            values = batch.column(0).field(field) if field else batch.column(0)
            for n in range(max(start - place, 0), min(stop - place, len(values))):
                yield values[n].as_py()
            place += len(values)
            if place >= stop:
                return
        if place < stop:
            raise InputError("the table has become shorter since its rows were counted")


def table_chunks(
    file: str, size: int, column: str | None = None, identity: str | None = None
) -> Iterator[ParquetChunk]:
    """A table -> chunks of at most so many rows, in order.

    Args:
        file: path or URL.
        size: rows of a chunk.
        column: of the bytes; where it is not given, the only one that can be.
        identity: the column that names the pictures.

    Raises:
        InputError: it cannot be read, or is no Parquet.
        UsageError: it has no such columns, or pyarrow is not installed.
    """
    parquet = _parquet()
    with open_binary(file) as stream:
        table = parquet.ParquetFile(stream)
        chosen = _column(file, table.schema_arrow, column)
        if identity and identity not in table.schema_arrow.names:
            raise UsageError(_no_column(file, identity, table.schema_arrow))
        groups = [table.metadata.row_group(n) for n in range(table.num_row_groups)]
    first = 0
    for number, group in enumerate(groups):
        rows, step = group.num_rows, max(size, group.total_byte_size // _MOST_BEHIND)
        for skipped in range(0, rows, step):
            count = min(step, rows - skipped)
            yield ParquetChunk(file, *chosen, identity or "", number, skipped, first, count)
            first += count


def _column(file: str, schema: Any, asked: str | None) -> tuple[str, str]:
    """The column that holds the pictures, and the field in it, or nothing."""
    fields = ((name, _field_of_bytes(schema.field(name).type)) for name in schema.names)
    possible = {name: (name, field) for name, field in fields if field is not None}
    if asked is not None:
        if asked not in schema.names:
            raise UsageError(_no_column(file, asked, schema))
        if asked not in possible:
            raise UsageError(
                f"{file}: column {asked!r} is of {schema.field(asked).type}; expected bytes"
            )
        return possible[asked]
    usual = [name for name in _USUAL if name in possible]
    if len(possible) == 1 or usual:
        return possible[usual[0]] if usual else next(iter(possible.values()))
    if possible:
        raise UsageError(
            f"{file}: several columns of bytes: {', '.join(possible)}; name that of the pictures "
            "with --image-column"
        )
    kinds = ", ".join(f"{name} ({brief(schema.field(name).type, 80)})" for name in schema.names)
    raise UsageError(f"{file}: no column of bytes (binary) that could be pictures; it has {kinds}")


def _field_of_bytes(kind: Any) -> str | None:
    """Where the bytes are in a column of this type: "" in itself, or a field; None: nowhere."""
    types = import_module("pyarrow").types
    field = ""
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        field, kind = "bytes", kind.field("bytes").type
    return field if types.is_binary(kind) or types.is_large_binary(kind) else None


def _no_column(file: str, name: str, schema: Any) -> str:
    return f"{file}: no column {name!r}; it has {', '.join(schema.names)}"


def _parquet() -> Any:
    try:
        return import_module("pyarrow.parquet")
    except ImportError as error:
        raise UsageError(
            f"Parquet needs pyarrow, which cannot be imported ({error}): pip install "
            "'minimix[batch]'"
        ) from error
