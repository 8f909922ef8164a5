"""All of a batch: one manifest, numbered parts, one folder of results."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import minimix
from minimix.errors import InputError, UsageError
from minimix.model import Model
from minimix.workflows.batching.chunks import Chunk, FileChunk
from minimix.workflows.batching.cluster import Cluster, Place, Tally, connected
from minimix.workflows.batching.results import SUMMARY, Block, Format, check_format, write_results
from minimix.workflows.batching.sources import Sources, from_line, to_line
from minimix.workflows.batching.worker import Options
from minimix.workflows.resuming import rows as row_files
from minimix.workflows.resuming.manifest import INPUTS
from minimix.workflows.resuming.parts import Parts, is_product, open_parts, parts_folder
from minimix.workflows.resuming.rows import Rows
from minimix.workflows.resuming.tasks import Progress, model_facts

SCHEMA_VERSION = 1
MOST_FAILURES = 20
"""Failed pictures that a report names; the results name all."""


@dataclass
class Report:
    """What a run did.

    Attributes:
        count: pictures, those that failed included.
        found: how many had been done by an earlier run.
        failed: how many failed.
        failures: (name, why) of the first that failed.
        tally: what the workers did; nothing where all had been done.
    """

    count: int
    found: int
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)


def run_batch(
    model: Model,
    sources: Sources,
    out: Path,
    *,
    format_: Format = "parquet",
    options: Options | None = None,
    place: Place | None = None,
    force: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
    started: Callable[[Cluster], None] | None = None,
) -> Report:
    """Classify every picture of the sources into a folder of results.

    The work is kept in ``OUT.parts/`` and becomes ``OUT`` when it is complete; the same call goes
    on where another was cut, wherever that was.

    Args:
        model: travels to the workers; each of their tasks has one thread of it.
        sources: what to classify.
        out: the folder of results, see ``results``.
        format_: of its files.
        options: of the rows; of no more classes than the model has.
        place: where the work runs; by default one process here.
        force: replace an earlier folder of results.
        restart: discard what an earlier run left behind.
        progress: called with the pictures done, and their number.
        started: called with the workers, when they are there.

    Raises:
        InputError: nothing of what was named could be found.
        UsageError: the folder exists, other work is kept beside it, there are no pictures, a table
            has no pictures, a library is not installed, or no workers can be had.
        OutputError: the disk is full, the folder is read-only.
    """
    options, place = options or Options(), place or Place()
    options = replace(options, top=min(options.top, len(model.labels)))
    check_format(format_)
    folder = parts_folder(out)
    if not is_product(folder, out):
        _check_out(out, force=force)
    manifest = _manifest(model, sources, options)
    lines = map(to_line, sources.chunks())
    with open_parts(folder, manifest, lines, restart=restart) as parts:
        work = _Work(parts, options, offline=sources.offline)
        report = work.complete(model, place, manifest, progress, started)
        with parts.result(out) as assembled:
            assembled.mkdir()
            write_results(assembled, work.blocks(report), model.labels, format_)
            _write_summary(assembled / SUMMARY, manifest, report)
    return report


def _check_out(out: Path, *, force: bool) -> None:
    """Check that a folder of results may get this name."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out}: is a link or a file; name a folder that does not exist")
    if not out.parent.is_dir():
        raise UsageError(f"{out}: the folder {out.parent} does not exist; create it first")
    names = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if not names:
        return
    others = [name for name in names if name != SUMMARY and not name.startswith("part-")]
    if SUMMARY not in names or others:
        raise UsageError(f"{out}: holds {(others or names)[0]}, no results of batch; name another")
    if not force:
        raise UsageError(f"{out}: exists already; give --force to replace it")


def _manifest(model: Model, sources: Sources, options: Options) -> dict[str, Any]:
    """What the rows depend on, beside the pictures."""
    return {
        "command": "batch",
        "minimix": minimix.__version__,
        "model": model_facts(model),
        "options": {
            "top": options.top,
            "exif": options.exif,
            "chunk_size": sources.chunk_size,
            "image_column": sources.image_column,
            "id_column": sources.identity,
        },
    }


class _Work:
    """Chunks and the parts that hold their rows."""

    def __init__(self, parts: Parts, options: Options, *, offline: bool) -> None:
        self._parts, self._options, self._offline = parts, options, offline
        self._lengths: list[int] = []
        found = False
        for chunk in self._chunks():
            self._lengths.append(len(chunk))
            found = found or chunk.may_be_there
        if not self._lengths:
            raise UsageError("no pictures; name at least one")
        if not found:
            raise InputError(self._nothing_found())

    def _nothing_found(self) -> str:
        chunk = next(self._chunks())
        assert isinstance(chunk, FileChunk)
        said = f"{chunk.files[0]}: {chunk.problems.get(0, 'no such file. Check its spelling')}"
        more = sum(self._lengths) - 1
        return f"{said} (and {more:,} more, none of which is there)" if more else said

    def complete(
        self,
        model: Model,
        place: Place,
        manifest: Mapping[str, Any],
        progress: Progress | None,
        started: Callable[[Cluster], None] | None,
    ) -> Report:
        """Have the missing parts computed."""
        missing = set(self._parts.missing(self._decode))
        total = sum(self._lengths)
        done = total - sum(self._lengths[n] for n in missing)
        report = Report(total, done)
        tell = progress or (lambda done, total: None)
        tell(done, total)
        if not missing:
            return report
        key = str(manifest["model"]["sha256"])
        with connected(place, model, key, self._options) as cluster:
            if started is not None:
                started(cluster)
            report.tally = cluster.tally
            wanted = ((n, chunk) for n, chunk in enumerate(self._chunks()) if n in missing)
            pieces: dict[int, _Pieces] = {}
            for number, start, rows in cluster.run(wanted):
                part = pieces.setdefault(number, _Pieces(self._options, self._lengths[number]))
                part.add(start, rows)
                if part.is_whole:
                    self._parts.write(number, row_files.encode(pieces.pop(number).rows))
                done += len(rows)
                tell(done, total)
        return report

    def blocks(self, report: Report) -> Iterator[Block]:
        """All pictures' names and rows in order; failures are counted on the way."""
        for number, chunk in enumerate(self._chunks()):
            rows, names = self._parts.read(number, self._decode), chunk.names()
            report.failed += len(rows.failed)
            room = MOST_FAILURES - len(report.failures)
            report.failures += [(names[n], rows.failed[n]) for n in sorted(rows.failed)][:room]
            yield Block(names, rows)

    def _chunks(self) -> Iterator[Chunk]:
        with (self._parts.folder / INPUTS).open(encoding="utf-8") as lines:
            for line in lines:
                yield from_line(line, offline=self._offline)

    def _decode(self, number: int, content: bytes) -> Rows:
        return row_files.decode(content, self._options.kind, self._lengths[number])


class _Pieces:
    """Rows of one chunk, which may come in pieces."""

    def __init__(self, options: Options, count: int) -> None:
        self._values: NDArray[Any] = options.kind.empty(count)
        self._failed: dict[int, str] = {}
        self._has: NDArray[np.bool_] = np.zeros(count, np.bool_)

    def add(self, start: int, rows: Rows) -> None:
        """Put rows where they belong."""
        span = slice(start, start + len(rows))
        self._values[span], self._has[span] = rows.values, True
        self._failed |= {start + n: why for n, why in rows.failed.items()}

    @property
    def is_whole(self) -> bool:
        """Whether every picture has its row."""
        return bool(self._has.all())

    @property
    def rows(self) -> Rows:
        """All of them, in order."""
        return Rows(self._values, self._failed)


def _write_summary(path: Path, manifest: Mapping[str, Any], report: Report) -> None:
    facts = {"v": SCHEMA_VERSION, **manifest, "count": report.count, "failed": report.failed}
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
