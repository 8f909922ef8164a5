"""``minimix batch``: pictures by the hundred thousand, in many processes."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from minimix.cli import output
from minimix.cli.loading import load_model
from minimix.cli.parser import CommandParser, add_exif, add_model, add_quiet, positive_int
from minimix.cli.progress import note_compilation, rich_bar
from minimix.cli.resuming import add_resuming, kept_when_interrupted
from minimix.errors import InputError, UsageError
from minimix.workflows.wording import counted

if TYPE_CHECKING:
    from minimix.workflows.batching.cluster import Cluster
    from minimix.workflows.batching.run import Report

_EXAMPLES = """
minimix batch photos/ -o results/ --model mixnet-s
minimix batch 'shards/*.tar' -o results/               tar files, as WebDataset keeps them
minimix batch pictures.parquet -o results/ --id-column url
minimix batch s3://bucket/photos/ -o results/ --format ndjson
minimix batch --from-file list.txt -o results/ --scheduler tcp://head:8786
"""

_UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_LINE_S = 30.0
"""Seconds between the lines that stand for a bar where there is no terminal."""


def add_command(parser: CommandParser) -> None:
    """Add ``batch`` to the parser."""
    command = parser.add_command(
        "batch",
        "SOURCE... -o FOLDER [options]",
        "classify pictures by the hundred thousand, in many processes",
        _EXAMPLES,
        group="USE",
    )
    command.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="a file, folder, pattern or URL (http, or any store of fsspec: s3, gs ...); "
        ".tar and .parquet hold many pictures",
    )
    command.add_argument(
        "--from-file",
        metavar="FILE",
        help="a list of sources, one a line or NUL-separated, each taken as it stands; - is "
        "standard input",
    )
    command.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FOLDER", help="of the results"
    )
    command.add_argument(
        "--format",
        choices=("parquet", "ndjson"),
        default="parquet",
        help="of the results (default: parquet)",
    )
    add_resuming(command)
    add_model(command)
    command.add_argument(
        "--top",
        type=positive_int,
        default=5,
        metavar="N",
        help="how many classes, of those that there are (default: 5)",
    )
    add_exif(command)
    command.add_argument(
        "--image-column", metavar="NAME", help="column of tables that holds the pictures"
    )
    command.add_argument(
        "--id-column", metavar="NAME", help="column of tables that names them in the results"
    )
    _add_place(command)
    add_quiet(command)
    command.set_defaults(run=run)


def _add_place(command: CommandParser) -> None:
    """Add where the work runs."""
    command.add_argument(
        "--jobs", type=positive_int, metavar="N", help="processes (default: one per core)"
    )
    command.add_argument(
        "--memory",
        type=_size,
        metavar="SIZE",
        help="that each process may hold, such as 1.5GiB (default: 2GiB)",
    )
    command.add_argument(
        "--dashboard",
        type=_address,
        metavar="HOST:PORT",
        help="where Dask shows the workers (default: 127.0.0.1, any free port)",
    )
    command.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="use the workers of a running Dask scheduler, such as tcp://host:8786",
    )


def _size(text: str) -> int:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or (size := int(float(match[1]) * unit)) < 2**28:
        raise argparse.ArgumentTypeError(
            f"expected a size such as 1.5GiB, 256MiB at least, found {text!r}"
        )
    return size


def _address(text: str) -> str:
    if not re.fullmatch(r"[^\s/]*:[0-9]{1,5}", text):
        raise argparse.ArgumentTypeError(f"expected HOST:PORT or :PORT, found {text!r}")
    return text


def run(arguments: argparse.Namespace) -> int:
    """Classify everything; 0 if all could be, 3 if some could not."""
    from minimix.cores import thread_count
    from minimix.workflows.batching.cluster import Place
    from minimix.workflows.batching.run import run_batch
    from minimix.workflows.batching.sources import Sources
    from minimix.workflows.batching.worker import Options
    from minimix.workflows.resuming.parts import parts_folder

    _check(arguments)
    sources = Sources(
        tuple(arguments.sources),
        arguments.from_file,
        arguments.offline,
        arguments.image_column,
        arguments.id_column,
    )
    place = Place(scheduler=arguments.scheduler, jobs=arguments.jobs or thread_count())
    if arguments.memory:
        place.memory_bytes = arguments.memory
    if arguments.dashboard:
        place.dashboard = arguments.dashboard
    model = load_model(arguments, "auto", 1)
    if not arguments.quiet:
        note_compilation()
    started = time.monotonic()
    with (
        kept_when_interrupted(parts_folder(arguments.out)),
        _shown(arguments.quiet) as bar,
    ):
        report = run_batch(
            model,
            sources,
            arguments.out,
            format_=arguments.format,
            options=Options(arguments.top, arguments.exif),
            place=place,
            force=arguments.force,
            restart=arguments.restart,
            progress=bar.show,
            started=None if arguments.quiet else bar.started,
        )
    for name, why in report.failures:
        output.error(output.printable(f"{name}: {why}"))
    if not arguments.quiet:
        _report(report, arguments.out, time.monotonic() - started)
    return InputError.exit_code if report.failed else 0


def _check(arguments: argparse.Namespace) -> None:
    if not arguments.sources and arguments.from_file is None:
        raise UsageError("name at least one file, folder or URL, or give --from-file FILE")
    if "-" in arguments.sources:
        raise UsageError(
            "a picture on standard input cannot be read again to resume; save it as a file"
        )
    if arguments.scheduler:
        own = [f"--{name}" for name in ("jobs", "memory", "dashboard") if getattr(arguments, name)]
        if own:
            raise UsageError(
                f"{own[0]} is for processes of our own; with --scheduler, leave it out"
            )


def _report(report: Report, out: Path, elapsed_s: float) -> None:
    """Write how many, how fast, and what the workers needed."""
    here, tally = report.count - report.found, report.tally
    parts = [counted(report.count, "picture")]
    if report.found:
        parts.append(f"{report.found:,} had been done before")
    if here:
        parts.append(f"{here / elapsed_s:,.0f} a second")
        parts.append(f"{tally.most_bytes / 2**20:,.0f} MiB the largest of the processes")
    output.note(output.printable(f"{out}: {' · '.join(parts)}"))
    if tally.given_up:
        output.note(f"processes died: {tally.given_up:,} tasks were cut in halves and run again")
    if report.failed:
        more = report.failed - len(report.failures)
        rest = f" ({more:,} more than are named here)" if more else ""
        output.note(
            f"{report.failed:,} of {counted(report.count, 'picture')} failed{rest}; the column "
            "'error' says why"
        )


class _Shown(Protocol):
    """Where progress goes."""

    def show(self, done: int, total: int) -> None:
        """Say how many pictures are done, of how many."""

    def started(self, cluster: Cluster) -> None:
        """Say that the workers are there."""


@contextmanager
def _shown(quiet: bool) -> Iterator[_Shown]:
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield _Lines(quiet)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}", markup=False)
    with rich_bar(BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()) as bar:
        yield _Bar(bar)


class _Rate:
    """Pictures a second since the first report, which counts what had been done before."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def at(self, done: int) -> float:
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
        since, before = self._first
        return (done - before) / max(now - since, 1e-9)


class _Bar:
    """A bar on a terminal."""

    def __init__(self, bar: object) -> None:
        from rich.progress import Progress

        assert isinstance(bar, Progress)
        self._bar, self._rate = bar, _Rate()
        self._task = bar.add_task("pictures", total=None, rate="")

    def show(self, done: int, total: int) -> None:
        rate = f"{self._rate.at(done):,.0f}/s"
        self._bar.update(self._task, completed=done, total=total, rate=rate)

    def started(self, cluster: Cluster) -> None:
        self._bar.console.print(_at_work(cluster), markup=False, highlight=False)


class _Lines:
    """A line now and then, for the logs of unattended runs."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._rate, self._last = quiet, _Rate(), time.monotonic()

    def show(self, done: int, total: int) -> None:
        rate = self._rate.at(done)
        if self._quiet or time.monotonic() - self._last < _LINE_S:
            return
        self._last = time.monotonic()
        left = f" · {(total - done) / rate / 60:,.1f} min left" if rate else ""
        output.note(f"{done:,} of {total:,} · {rate:,.0f} a second{left}")

    def started(self, cluster: Cluster) -> None:
        output.note(_at_work(cluster))


def _at_work(cluster: Cluster) -> str:
    where = f"; dashboard {cluster.dashboard}" if cluster.dashboard else ""
    return f"{counted(cluster.threads, 'process', 'processes')} at work{where}"
