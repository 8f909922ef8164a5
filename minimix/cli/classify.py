"""``minimix classify``: name what is in pictures."""

from __future__ import annotations

import argparse
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import chain, islice
from typing import TYPE_CHECKING

from minimix.cli import output
from minimix.cli.loading import load_model
from minimix.cli.parser import (
    CommandParser,
    add_format,
    add_model,
    add_quiet,
    add_threads,
    positive_int,
)
from minimix.cli.predictions import Row, make_writer
from minimix.cli.preparing import add_preparing, describe_pipeline
from minimix.cli.progress import note_compilation, progress
from minimix.errors import InputError, UsageError
from minimix.inputs import Input, count_inputs, find_inputs

if TYPE_CHECKING:
    from minimix.arrays import Array
    from minimix.model import Model, Prediction

_EXAMPLES = """
minimix classify panda.jpg                     the five best classes
minimix classify photos/ 'scans/**/*.tif'      folders and patterns
minimix classify https://example.org/panda.jpg
find . -name '*.jpg' -print0 | minimix classify --from-file - --format ndjson
"""


def add_command(parser: CommandParser) -> None:
    """Add ``classify`` to the parser."""
    command = parser.add_command(
        "classify", "INPUT... [options]", "name what is in pictures", _EXAMPLES, group="LOOK"
    )
    command.add_argument(
        "inputs",
        nargs="*",
        metavar="INPUT",
        help="a file, folder, pattern or http(s) URL, or - for a picture on standard input",
    )
    command.add_argument(
        "--from-file",
        metavar="FILE",
        help="a list of paths, one a line or NUL-separated; - is standard input",
    )
    add_model(command)
    command.add_argument(
        "--top", type=positive_int, default=5, metavar="N", help="how many classes (default: 5)"
    )
    add_format(command, "auto", "table", "json", "ndjson", "csv")
    add_preparing(command, "apply")
    add_threads(command)
    add_quiet(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Classify every input; 0 if all could be, 3 if some could not."""
    if not arguments.inputs and arguments.from_file is None:
        raise UsageError("name at least one picture, folder or URL, or give --from-file FILE")
    if "-" in arguments.inputs and arguments.from_file == "-":
        raise UsageError("standard input cannot be both a picture (-) and a list (--from-file -)")
    model = load_model(arguments, arguments.engine, arguments.threads)
    if model.engine.name == "compiled" and not arguments.quiet:
        note_compilation()
    model.prepare()
    if arguments.verbose:
        output.note(describe_pipeline(model, arguments.exif))
    found = find_inputs(arguments.inputs, listed=arguments.from_file, offline=arguments.offline)
    # Of a list nothing is read yet: its first line may be long in coming, and its second longer.
    first = list(islice(found, 2)) if arguments.from_file is None else []
    tally = _Tally(model, several=arguments.from_file is not None or len(first) > 1)
    _classify_all(model, chain(first, found), arguments, tally)
    if not arguments.quiet:
        tally.report()
    return InputError.exit_code if tally.failed else 0


def _classify_all(
    model: Model, found: Iterator[Input], arguments: argparse.Namespace, tally: _Tally
) -> None:
    """Classify and write batch after batch; what was begun is closed, whatever happens."""
    screen = output.screen(arguments.color)
    writer = make_writer(arguments.format, model, screen, several=tally.several)
    total = None if arguments.from_file is not None else count_inputs(arguments.inputs)
    try:
        with progress(tally.several and not arguments.quiet, total) as bar:
            with closing(_classified(model, found, arguments)) as batches:
                for rows in batches:
                    with bar.paused():
                        for row in rows:
                            writer.row(row)
                            tally.count(row)
                        output.flush()
                    bar.advance(len(rows))
    except KeyboardInterrupt:
        output.note(f"interrupted: {tally.done:,} inputs are done; name the rest to go on")
        raise
    finally:
        writer.end()
        output.flush()


def _classified(
    model: Model, found: Iterator[Input], arguments: argparse.Namespace
) -> Generator[list[Row]]:
    """Inputs -> their rows, in order, a batch at a time, as soon as they can be had."""
    from minimix.workflows.decoding import decoded_batches, reason

    items = ((item, item) for item in found)
    decoded = decoded_batches(model, items, exif=arguments.exif, size=arguments.batch)
    with closing(decoded) as batches:
        for batch in batches:
            arrays = [x for _, x in batch if not isinstance(x, InputError)]
            predictions, ms = _predict(model, arrays, arguments.top) if arrays else (iter(()), 0.0)
            yield [
                Row(item.name, error=reason(item, x))
                if isinstance(x, InputError)
                else Row(item.name, next(predictions).top, ms)
                for item, x in batch
            ]


def _predict(model: Model, arrays: list[Array], top: int) -> tuple[Iterator[Prediction], float]:
    """Network inputs -> their predictions, and the network's ms for each."""
    import numpy as np

    x = np.concatenate(arrays)
    started = time.perf_counter()
    logits = model(x)
    elapsed_ms = (time.perf_counter() - started) * 1000
    return iter(model.predictions(logits, top=top)), elapsed_ms / len(arrays)


class _Tally:
    """What a run has done so far, for the note at its end."""

    def __init__(self, model: Model, several: bool) -> None:
        self.model, self.several = model, several
        self.done = self.failed = 0
        self.network_ms = 0.0

    def count(self, row: Row) -> None:
        self.done += 1
        self.failed += not row.ok
        self.network_ms += row.ms

    def report(self) -> None:
        """Write which network ran, how fast, and how many inputs failed."""
        classified = self.done - self.failed
        if classified:
            ms = self.network_ms / classified
            dialect = self.model.file.dialect.name
            parts = [f"{self.model.name} ({dialect})", f"{self.model.size} px", f"{ms:.1f} ms"]
            if self.several:
                parts[-1] += " a picture"
                parts.append(f"{classified:,} picture{'s' * (classified > 1)}")
            output.note(" · ".join(parts))
        if self.failed:
            output.note(f"{self.failed:,} of {self.done:,} inputs failed")
