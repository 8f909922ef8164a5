"""Rows -> a folder of Parquet or NDJSON files that any tool reads, with a summary beside them.

part-00000.parquet    about 100,000 rows a file, in the order of the pictures
_summary.json         model, options, and how many pictures failed; pyarrow skips its name

path    what the picture is called
index, label, p       the best class; null where the picture failed
top     all classes that were asked for, best first: index, label, p
error   why there is none, else null
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from minimix.errors import UsageError
from minimix.workflows.feature_files import text
from minimix.workflows.resuming.rows import Rows

Format = Literal["parquet", "ndjson"]

SUMMARY = "_summary.json"
"""The file that tells a folder of results from others."""

ROWS_OF_FILE, ROWS_OF_GROUP = 100_000, 10_000

Record = dict[str, Any]
Append = Callable[[list[Record]], None]


@dataclass(frozen=True)
class Block:
    """Some pictures' names and rows."""

    names: Sequence[str]
    rows: Rows


def is_result(name: str) -> bool:
    """Whether a file of this machine is one of an earlier batch's results that could be a table."""
    path = Path(name)
    is_named_so = path.name.startswith("part-") and path.suffix == ".parquet"
    return is_named_so and (path.parent / SUMMARY).is_file()


def check_format(format_: Format) -> None:
    """Check that a format can be written.

    Raises:
        UsageError: its library is not installed.
    """
    if format_ == "parquet":
        _pyarrow()


def write_results(
    folder: Path, blocks: Iterable[Block], labels: Sequence[str], format_: Format
) -> None:
    """Write files of about 100,000 rows into a folder, in a stream."""
    rows = 0

    def number_of_file(block: Block) -> int:
        nonlocal rows
        rows += len(block.rows)
        return (rows - len(block.rows)) // ROWS_OF_FILE

    for number, group in groupby(blocks, number_of_file):
        with _OPEN[format_](folder / f"part-{number:05d}.{format_}") as append:
            for block in group:
                append(list(_records(block, labels)))


def _records(block: Block, labels: Sequence[str]) -> Iterator[Record]:
    for place, name in enumerate(block.names):
        top = [
            {"index": int(index), "label": labels[index], "p": round(float(p), 6)}
            for index, p in block.rows.values[place]
        ]
        failure = block.rows.failed.get(place)
        best = top[0] if failure is None else {"index": None, "label": None, "p": None}
        yield {
            "path": text(name),
            **best,
            "top": top if failure is None else None,
            "error": failure,
        }


@contextmanager
def _open_ndjson(path: Path) -> Iterator[Append]:
    with path.open("w", encoding="utf-8") as file:

        def append(records: list[Record]) -> None:
            for record in records:
                file.write(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")

        yield append


@contextmanager
def _open_parquet(path: Path) -> Iterator[Append]:
    pyarrow = _pyarrow()
    score = [("index", pyarrow.int32()), ("label", pyarrow.string()), ("p", pyarrow.float32())]
    schema = pyarrow.schema(
        [
            ("path", pyarrow.string()),
            *score,
            ("top", pyarrow.list_(pyarrow.struct(score))),
            ("error", pyarrow.string()),
        ]
    )
    waiting: list[Record] = []
    with import_module("pyarrow.parquet").ParquetWriter(path, schema) as writer:

        def write() -> None:
            writer.write_table(pyarrow.Table.from_pylist(waiting, schema))
            waiting.clear()

        def append(records: list[Record]) -> None:
            waiting.extend(records)
            if len(waiting) >= ROWS_OF_GROUP:
                write()

        yield append
        if waiting:
            write()


_OPEN: dict[Format, Callable[[Path], AbstractContextManager[Append]]] = {
    "parquet": _open_parquet,
    "ndjson": _open_ndjson,
}


def _pyarrow() -> Any:
    try:
        return import_module("pyarrow")
    except ImportError as error:
        raise UsageError(
            f"Parquet needs pyarrow, which cannot be imported ({error}): pip install "
            "'minimix[batch]', or give --format ndjson"
        ) from error
