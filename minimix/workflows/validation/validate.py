"""Accuracy of a model on a data set with known classes, resumable, with nothing replaced."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimix.arrays import Array
from minimix.cachedir import cache_folder, make_folder, writing
from minimix.files import check_free
from minimix.images import Exif
from minimix.inputs import Input
from minimix.labels import top_k
from minimix.model import Model
from minimix.ops import softmax
from minimix.workflows.resuming.parts import is_product, parts_folder
from minimix.workflows.resuming.rows import Rows, RowType
from minimix.workflows.resuming.tasks import Progress, Task, complete, opened, results
from minimix.workflows.validation.classes import Layout
from minimix.workflows.validation.scores import Scores, first_place

_TOP = 5

Deliver = Callable[["Report"], object]
"""Is told the report as long as the work is kept."""


@dataclass(frozen=True)
class Report:
    """What a validation found.

    Attributes:
        layout: what was validated.
        scores: all that was counted.
        failed: (name, why) of every picture that could not be read; they count nowhere.
        found: how many had been done by an earlier run.
    """

    layout: Layout
    labels: tuple[str, ...]
    scores: Scores
    failed: tuple[tuple[str, str], ...]
    found: int

    @property
    def best(self) -> int:
        """How many of a picture's best classes "top-5" looks at: five, or all of fewer."""
        return min(_TOP, len(self.labels))


def validation_task(model: Model, layout: Layout, *, exif: Exif, batch_size: int = 16) -> Task:
    """What is computed of every picture: its five best classes, and the best one's probability."""
    count = min(_TOP, len(model.labels))
    dtype = np.dtype([("top", "<i4", (count,)), ("p", "<f4")])

    def compute(x: Array) -> NDArray[Any]:
        indices, values = top_k(softmax(model(x)), count)
        rows = np.zeros(len(x), dtype)
        rows["top"], rows["p"] = indices, values[:, 0]
        return rows

    def are_classes(rows: NDArray[Any]) -> bool:
        return bool(((rows["top"] >= 0) & (rows["top"] < len(model.labels))).all())

    inputs = [Input(item.path, partial(Path, item.path)) for item in layout.pictures]
    notes = [item.truth for item in layout.pictures]
    return Task(
        "validate",
        model,
        compute,
        RowType(dtype),
        inputs,
        exif,
        batch_size,
        notes=notes,
        check=are_classes,
    )


def work_folder(model: Model, folder: Path, out: Path | None) -> Path:
    """Where a validation keeps its work: beside its result, or in the cache if it has none."""
    if out is not None:
        return parts_folder(out)
    key = json.dumps([str(folder.resolve()), model.name, model.size])
    name = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return cache_folder() / "validate" / f"{name}.parts"


def check_result(out: Path, *, force: bool) -> None:
    """Check that rows can be written to a file.

    Raises:
        UsageError: it exists, or is no ordinary file's name.
    """
    check_free(out, force=force or is_product(parts_folder(out), out))


def validate(
    model: Model,
    layout: Layout,
    folder: Path,
    *,
    out: Path | None = None,
    exif: Exif = "ignore",
    batch_size: int = 16,
    force: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
    deliver: Deliver = lambda _: None,
) -> Report:
    """Classify every picture of a layout, and count.

    The work is kept until the report is delivered, and the same call goes on where another was cut.

    Args:
        model: the network.
        layout: ``minimix.workflows.validation.layout.recognise`` makes it.
        folder: where it was found.
        out: a .csv to write with one line per picture; the work is kept beside it, or without it
            in the cache's folder.
        exif: whether the orientation that a camera noted is applied; published accuracies ignore
            it.
        batch_size: pictures computed together.
        force: replace an existing file.
        restart: discard what an earlier run left behind.
        progress: called with the pictures done, and their number.
        deliver: called with the report.  What it raises is raised, and leaves the work kept and
            no file written.

    Raises:
        UsageError: the file exists; other work is kept there, or another process is at it.
        OutputError: the disk is full, the folder is read-only.
    """
    place = work_folder(model, folder, out)
    if out is not None:
        check_result(out, force=force)
    else:
        with writing(place.parent):
            make_folder(place.parent)
    task = validation_task(model, layout, exif=exif, batch_size=batch_size)
    scores = Scores(len(model.labels), is_single=layout.is_single)
    failed: list[tuple[str, str]] = []
    with opened(task, place, restart=restart) as parts:
        found = complete(task, parts, progress)
        for span, rows in results(task, parts):
            pictures = layout.pictures[span.start : span.stop]
            scores.add([item.truth for item in pictures], rows)
            failed += [(pictures[n].path, why) for n, why in sorted(rows.failed.items())]
        report = Report(layout, tuple(model.labels), scores, tuple(failed), found)
        if out is None:
            deliver(report)
            parts.remove()
        else:
            with parts.result(out) as temporary:
                _write_rows(temporary, layout, model.labels, results(task, parts))
                deliver(report)
    return report


def _write_rows(
    path: Path, layout: Layout, labels: Sequence[str], parts: Iterator[tuple[range, Rows]]
) -> None:
    """A line per picture; several true classes are separated by a bar."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["input", "ok", "truth", "predicted", "p", "place", "error"])
        for span, rows in parts:
            lines = zip(span, rows.values.tolist(), rows.errors, strict=True)
            for position, (top, p), why in lines:
                item = layout.pictures[position]
                truth = "|".join(labels[n] for n in item.truth)
                if why:
                    writer.writerow([item.path, "false", truth, "", "", "", why])
                    continue
                place = first_place(top, item.truth) + 1
                shown = place if place <= len(top) else ""
                writer.writerow([item.path, "true", truth, labels[top[0]], f"{p:.6f}", shown, ""])
