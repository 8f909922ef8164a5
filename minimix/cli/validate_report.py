"""How a validation is written: a summary for people; json and csv for programs."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING, Any

from minimix.cli import output
from minimix.cli.output import Screen, printable, table

if TYPE_CHECKING:
    from minimix.model import Model
    from minimix.workflows.validation.scores import Share
    from minimix.workflows.validation.validate import Report

SCHEMA_VERSION = 1
WORST = 5
"""Classes that the summary names."""


def write_report(report: Report, model: Model, kind: str, screen: Screen) -> None:
    """Write a report in one of the formats: auto, table, json, csv."""
    if kind == "json":
        output.write_json({"schema_version": SCHEMA_VERSION, **to_json(report, model)})
    elif kind == "csv":
        _write_csv(report)
    else:
        output.write("\n".join(_lines(report, screen)) + "\n")


def to_json(report: Report, model: Model) -> dict[str, Any]:
    """Return the report in plain JSON types."""
    scores = report.scores
    return {
        "model": model.name,
        "layout": report.layout.description,
        "pictures": len(report.layout.pictures),
        "left_out": report.layout.left_out,
        "failed": [{"input": name, "error": why} for name, why in report.failed],
        "top1": scores.top1.to_json(),
        "top5": scores.top5.to_json(),
        "calibration": {
            "ece": _finite(scores.calibration_error),
            "bins": [
                {
                    "low": round(b.low, 6),
                    "high": round(b.high, 6),
                    "count": b.count,
                    "confidence": _finite(b.confidence),
                    "accuracy": _finite(b.accuracy),
                }
                for b in scores.bins
            ],
        },
        "classes": [
            {"index": n, "label": label, "top1": top1.to_json(), "top5": top5.to_json()}
            for n, label, top1, top5 in _classes(report)
        ],
    }


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 8)


def _classes(report: Report) -> list[tuple[int, str, Share, Share]]:
    """Classes that have pictures; none if a picture may have several."""
    per_class = report.scores.per_class
    return [
        (n, label, *per_class[n]) for n, label in enumerate(report.labels) if per_class[n][0].count
    ]


def _write_csv(report: Report) -> None:
    """A line per class."""
    writer = csv.writer(output.Results(), lineterminator="\n")
    writer.writerow(["index", "label", "pictures", "top1", "top5", "top1_low", "top1_high"])
    for n, label, top1, top5 in _classes(report):
        numbers = [f"{value:.6f}" for value in (top1.value, top5.value, *top1.interval)]
        writer.writerow([n, label, top1.count, *numbers])


def _lines(report: Report, screen: Screen) -> list[str]:
    scores = report.scores
    if not scores.top1.count:
        return ["no picture could be read, so there is no accuracy"]
    rows = [
        ("top-1", _share(scores.top1), _interval(scores.top1)),
        (f"top-{report.best}", _share(scores.top5), _interval(scores.top5)),
        ("ECE", _percent(scores.calibration_error), "calibration error"),
    ]
    lines = table(rows, "<><")
    lines[0] = screen.bold(lines[0])
    counted = [b for b in scores.bins if b.count]
    if counted:
        cells = [
            (
                f"{b.low * 100:.0f} to {b.high * 100:.0f} %",
                f"{b.count:,}",
                _percent(b.confidence),
                _percent(b.accuracy),
            )
            for b in counted
        ]
        heading = ("confidence", "pictures", "mean", "right")
        lines += ["", *table([heading, *cells], "<>>>")]
    worst = sorted(_classes(report), key=lambda row: (row[2].value, row[0]))[:WORST]
    worst = [row for row in worst if row[2].hits < row[2].count]
    if worst:
        cells3 = [
            (printable(label), f"{top1.hits:,} of {top1.count:,}", _share(top1), _taken(report, n))
            for n, label, top1, _ in worst
        ]
        heading3 = ("lowest classes", "right", "top-1", "most often taken for")
        lines += ["", *table([heading3, *cells3], "<>><")]
    return lines


def _taken(report: Report, truth: int) -> str:
    """The wrong class that a class's pictures were given most often, and how often."""
    row = report.scores.confusion[truth].copy()
    row[truth] = 0
    other = int(row.argmax())
    return f"{printable(report.labels[other])} ({int(row[other]):,})"


def _share(share: Share) -> str:
    return _percent(share.value)


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _interval(share: Share) -> str:
    low, high = share.interval
    hits = f"{share.hits:,} of {share.count:,}"
    return f"{hits}; 95 % interval {100 * low:.2f} to {100 * high:.2f} %"
