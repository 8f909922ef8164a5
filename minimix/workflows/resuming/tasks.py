"""One computation over many pictures: in batches, in parts, from where the last run was cut."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import minimix
from minimix.arrays import Array
from minimix.errors import InputError
from minimix.images import Exif
from minimix.inputs import Input
from minimix.model import Model
from minimix.workflows.decoding import decode_ahead, reason
from minimix.workflows.resuming import rows as row_files
from minimix.workflows.resuming.parts import Parts, open_parts
from minimix.workflows.resuming.rows import Rows, RowType

MOST_ROWS = 256
"""Pictures of a part: what a cut costs at most."""

MOST_PART_BYTES = 64 * 2**20

Progress = Callable[[int, int], None]
"""Is told how many pictures are done, and how many there are."""


@dataclass(frozen=True)
class Task:
    """What is computed of every picture.

    Attributes:
        command: whose work it is; part of the manifest, as are the options.
        model: prepares the pictures.
        compute: (N, size, size, 3) -> N rows.
        kind: of those rows.
        options: all else that the numbers depend on, as JSON.
        notes: per input, what else the work depends on, as JSON; or nothing.
        check: whether rows that were read back can be those of ``compute``.
    """

    command: str
    model: Model
    compute: Callable[[Array], NDArray[Any]]
    kind: RowType
    inputs: Sequence[Input]
    exif: Exif
    batch_size: int = 16
    options: dict[str, Any] = field(default_factory=dict)
    notes: Sequence[Any] = ()
    check: Callable[[NDArray[Any]], bool] = lambda _: True

    @property
    def part_rows(self) -> int:
        """Rows of every part but the last: a number that bounds its memory too."""
        return max(1, min(MOST_ROWS, MOST_PART_BYTES // max(1, self.kind.size_bytes)))

    @property
    def manifest(self) -> dict[str, Any]:
        """What the parts depend on, beside the inputs."""
        return {
            "command": self.command,
            "minimix": minimix.__version__,
            "model": model_facts(self.model),
            "options": {**self.options, "exif": self.exif},
            "part_rows": self.part_rows,
        }

    def span(self, part: int) -> range:
        """Positions of the inputs of a part."""
        start = part * self.part_rows
        return range(start, min(start + self.part_rows, len(self.inputs)))

    def decode(self, part: int, content: bytes) -> Rows:
        """A part's bytes -> its rows.  ValueError if they are not."""
        rows = row_files.decode(content, self.kind, len(self.span(part)))
        if not self.check(rows.values):
            raise ValueError(f"part {part}: no result of {self.command}")
        return rows


def model_facts(model: Model) -> dict[str, Any]:
    """What identifies a model's numbers: its name, engine, and a checksum of all that it means."""
    file = model.file
    meaning = {
        "architecture": repr(file.architecture),
        "dialect": file.dialect.to_json(),
        "pipeline": model.pipeline.to_json(),
        "labels": file.labels,
    }
    checksum = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode())
    for name in sorted(file.params):
        checksum.update(name.encode())
        checksum.update(np.ascontiguousarray(file.params[name]).tobytes())
    facts = {"name": model.name, "size": model.size, "engine": model.engine.name}
    return {**facts, "sha256": checksum.hexdigest()}


@contextmanager
def opened(task: Task, folder: Path, *, restart: bool = False) -> Iterator[Parts]:
    """Open the task's parts in a folder.

    Raises:
        UsageError: there is other work in it, or another process at work.
        OutputError: it cannot be written.
    """
    count = -(-len(task.inputs) // task.part_rows)
    with open_parts(folder, task.manifest, _lines(task), count, restart=restart) as parts:
        yield parts


def complete(task: Task, parts: Parts, progress: Progress | None = None) -> int:
    """Compute the parts that are missing or damaged; return how many pictures had been done."""
    missing = parts.missing(task.decode)
    total = len(task.inputs)
    found = done = total - sum(len(task.span(part)) for part in missing)

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    advance(0)
    items = ((task.inputs[n], task.inputs[n]) for part in missing for n in task.span(part))
    ahead = 2 * task.batch_size
    with closing(decode_ahead(task.model, items, exif=task.exif, ahead=ahead)) as decoded:
        for part in missing:
            count = len(task.span(part))
            rows = computed(decoded, count, task.compute, task.kind, task.batch_size, advance)
            parts.write(part, row_files.encode(rows))
    return found


def results(task: Task, parts: Parts) -> Iterator[tuple[range, Rows]]:
    """All parts in order: positions of the inputs, and their rows."""
    for part in range(parts.count):
        yield task.span(part), parts.read(part, task.decode)


def computed(
    decoded: Iterator[tuple[Input, Array | InputError]],
    count: int,
    compute: Callable[[Array], NDArray[Any]],
    kind: RowType,
    batch_size: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Rows:
    """The next so many decoded inputs -> their rows, a batch at a time.

    Args:
        decoded: inputs with what became of them, as ``decode_ahead`` gives them.
        count: how many to take.
        compute: (N, size, size, 3) -> N rows.
        kind: of those rows.
        batch_size: pictures computed together.
        advance: is told how many inputs more are done.
    """
    values, failed = kind.empty(count), {}
    pending: list[tuple[int, Array]] = []
    for place in range(count):
        item, x = next(decoded)
        if isinstance(x, InputError):
            failed[place] = reason(item, x)
            advance(1)
        else:
            pending.append((place, x))
        if pending and (len(pending) == batch_size or place == count - 1):
            places = [n for n, _ in pending]
            values[places] = compute(np.concatenate([x for _, x in pending]))
            advance(len(pending))
            pending.clear()
    return Rows(values, failed)


def _lines(task: Task) -> Iterator[str]:
    """A line of JSON per input: what it is called, and what would show that it has changed."""
    for n, item in enumerate(task.inputs):
        note = task.notes[n] if task.notes else None
        yield json.dumps([item.name, *_size_and_time(item.name), note])


def _size_and_time(name: str) -> tuple[int, int] | tuple[None, None]:
    try:
        status = os.stat(name)  # noqa: PTH116 - a URL is no path
    except (OSError, ValueError):
        return None, None
    return status.st_size, status.st_mtime_ns
