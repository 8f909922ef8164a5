"""What ``minimix bench`` found, as tables for a terminal, as Markdown, as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from minimix import __version__
from minimix.cli import output
from minimix.cli.machine import cpu_name, package_version
from minimix.cli.output import Screen
from minimix.cores import available_cores
from minimix.model import Model
from minimix.workflows.bench import Candidate, KindTime
from minimix.workflows.startup import StartUp

SCHEMA_VERSION = 1


@dataclass
class Report:
    """Everything that one call of the command found.

    Attributes:
        command: measures it again.
        machine: what it ran on, by what is described.
        macs: multiply-adds of one picture.
        startups: by number of threads.
    """

    command: str
    machine: dict[str, str]
    model: str
    dialect: str
    size: int
    engine: str
    macs: int
    runs: int
    seconds: float
    candidates: list[Candidate] = field(default_factory=list)
    kinds: list[KindTime] = field(default_factory=list)
    kinds_threads: int = 1
    startups: dict[int, StartUp] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A heading, rows, one of ``<>`` for each column, and what to know about them."""

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]
    align: str
    caption: str


def describe_machine(model: Model) -> dict[str, str]:
    """What the times depend on: processor, cores, vectors, versions."""
    found = {
        "processor": cpu_name(),
        "cores": str(available_cores()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "minimix": __version__,
        "numpy": package_version("numpy"),
    }
    if hasattr(os, "getloadavg"):
        found["load before"] = f"{os.getloadavg()[0]:.1f}"
    library = getattr(model.engine, "library", None)
    if library is not None:
        found["numba"] = package_version("numba")
        found["floats per vector"] = str(library.width)
    return found


def write_report(report: Report, form: str, screen: Screen) -> None:
    """Write it in the form that was asked for: ``table``, ``markdown`` or ``json``."""
    if form == "json":
        output.write_json(_json(report))
        return
    lines = _markdown(report) if form == "markdown" else _text(report, screen)
    output.write("\n".join(lines) + "\n")


def _tables(report: Report) -> list[Table]:
    tables = [_latencies(report)]
    if report.kinds:
        tables.append(_kinds(report))
    if report.startups:
        tables.append(_startups(report))
    return tables


def _latencies(report: Report) -> Table:
    columns: dict[str, Callable[[Candidate], str]] = {
        "engine": lambda entry: entry.name,
        "threads": lambda entry: str(entry.threads),
        "batch": lambda entry: str(entry.batch),
        "median ms": lambda entry: f"{entry.timing.median_ms:.2f}",
        "p95 ms": lambda entry: f"{entry.timing.p95_ms:.2f}",
        "spread": lambda entry: f"{entry.timing.spread:.0%}",
        "ms/picture": lambda entry: f"{entry.ms_per_picture:.2f}",
        "pictures/s": lambda entry: f"{entry.pictures_per_s:.0f}",
    }
    caption = (
        f"{report.runs} rounds of {report.seconds:g} s for each engine; the spread is that of the "
        "rounds' medians."
    )
    if any(entry.ratio for entry in report.candidates):
        columns |= {"minimix is faster": _ratio, "logits differ": _difference}
        caption += (
            "\nEngines take turns; faster is the median of the rounds' ratios (least..most).  "
            "Logits differ\nby that share of the largest."
        )
    rows = [[cell(entry) for cell in columns.values()] for entry in report.candidates]
    return Table(list(columns), rows, "<" + ">" * (len(columns) - 1), caption)


def _difference(entry: Candidate) -> str:
    return "" if entry.difference is None else f"{entry.difference:.0e}"


def _ratio(entry: Candidate) -> str:
    faster = entry.ratio
    if faster is None:
        return ""
    return f"{faster.median:.2f}x ({faster.smallest:.2f}..{faster.largest:.2f})"


def _kinds(report: Report) -> Table:
    total_ms = sum(entry.elapsed_ms for entry in report.kinds)
    total_macs = sum(entry.macs for entry in report.kinds)
    parts = sum(entry.count for entry in report.kinds)
    rows = [
        [
            entry.kind,
            entry.work,
            str(entry.count),
            f"{entry.elapsed_ms:.3f}",
            f"{entry.elapsed_ms / total_ms:.1%}",
            f"{entry.macs:,}" if entry.macs else "-",
            f"{entry.macs / total_macs:.1%}" if entry.macs else "-",
            f"{entry.macs / entry.elapsed_ms / 1e6:.1f}" if entry.macs else "-",
        ]
        for entry in [*report.kinds, KindTime("total", "", parts, total_macs, total_ms)]
    ]
    heading = ("kind", "work", "parts", "ms", "of time", "multiply-adds", "of them", "GMAC/s")
    threads = f"{report.kinds_threads} thread{'s' * (report.kinds_threads > 1)}"
    return Table(heading, rows, "<<>>>>>>", f"One picture, {threads}, part by part.")


def _startups(report: Report) -> Table:
    rows = [
        (
            str(threads),
            f"{found.cold_s:.2f}",
            f"{found.warm_s:.2f}",
            "-" if found.peak_bytes is None else f"{found.peak_bytes / 1e6:.0f}",
        )
        for threads, found in report.startups.items()
    ]
    heading = ("threads", "cold s", "warm s", "peak MB")
    caption = (
        "The whole process of minimix classify with one picture: with an empty cache, with a\n"
        "filled one (median), and its largest resident memory then."
    )
    return Table(heading, rows, ">>>>", caption)


def _subject(report: Report) -> str:
    return (
        f"{report.model} ({report.dialect}), {report.size} x {report.size} px, float32, "
        f"{report.macs:,} multiply-adds a picture, {report.engine} engine."
    )


def _versions(report: Report) -> str:
    facts = dict(report.machine)
    place = f"{facts.pop('processor')}, {facts.pop('cores')} cores, {facts.pop('system')}"
    facts |= {entry.name: entry.version for entry in report.candidates}
    return f"{place}; " + ", ".join(f"{name} {value}" for name, value in facts.items()) + "."


def _text(report: Report, screen: Screen) -> list[str]:
    lines = [_subject(report), _versions(report)]
    for table in _tables(report):
        heading, *rows = output.table([table.heading, *table.rows], table.align)
        rule = screen.dim("─" * max(map(output.cells, [heading, *rows])))
        lines += [
            "",
            screen.bold(heading),
            rule,
            *rows,
            *map(screen.dim, table.caption.split("\n")),
        ]
    return lines


def _markdown(report: Report) -> list[str]:
    lines = [f"Made by `{report.command}`", "", _subject(report), _versions(report)]
    for table in _tables(report):
        marks = ["---" if side == "<" else "--:" for side in table.align]
        lines += ["", *map(_markdown_row, [table.heading, marks, *table.rows]), "", table.caption]
    return lines


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _json(report: Report) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "command": report.command,
        "machine": report.machine,
        "model": report.model,
        "dialect": report.dialect,
        "size": report.size,
        "engine": report.engine,
        "macs": report.macs,
        "runs": report.runs,
        "seconds": report.seconds,
        "results": [
            {
                "engine": entry.name,
                "version": entry.version,
                "threads": entry.threads,
                "batch": entry.batch,
                "calls": entry.timing.calls,
                "medians_ms": list(entry.timing.medians_ms),
                "median_ms": entry.timing.median_ms,
                "p95_ms": entry.timing.p95_ms,
                "spread": entry.timing.spread,
                "pictures_per_s": entry.pictures_per_s,
                "minimix_faster": None if entry.ratio is None else asdict(entry.ratio),
                "logits_difference": entry.difference,
            }
            for entry in report.candidates
        ],
        "kinds": [asdict(entry) for entry in report.kinds],
        "startup": [
            {"threads": threads, **asdict(found)} for threads, found in report.startups.items()
        ],
    }
