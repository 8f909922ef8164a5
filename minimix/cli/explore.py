"""``minimix explore``: what a network makes of a picture, as one page."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from minimix.cli import output
from minimix.cli.loading import load_model
from minimix.cli.machine import cpu_name
from minimix.cli.parser import (
    CommandParser,
    add_engine,
    add_exif,
    add_model,
    add_quiet,
    add_threads,
)
from minimix.cli.progress import note_compilation, progress
from minimix.errors import UsageError
from minimix.files import check_apart, check_free, replacing
from minimix.inputs import STDIN, find_inputs

if TYPE_CHECKING:
    from minimix.explorer import Record
    from minimix.images import Source

_EXAMPLES = """
minimix explore panda.jpg -o panda.html
minimix explore panda.jpg -o both.html --compare bus.jpg
minimix explore panda.jpg -o big.html --full --model mixnet-s
minimix explore panda.jpg -o panda.html --save-trace panda.npz
minimix explore panda.npz -o again.html         the same page, from what was saved
"""


def add_command(parser: CommandParser) -> None:
    """Add ``explore`` to the parser."""
    command = parser.add_command(
        "explore",
        "INPUT -o PAGE.html [options]",
        "show what a network makes of a picture, as one page",
        _EXAMPLES,
        group="LOOK",
    )
    command.add_argument(
        "input",
        metavar="INPUT",
        help="a picture: a file, an http(s) URL, or - for standard input; or a saved trace (.npz)",
    )
    command.add_argument(
        "-o", "--out", type=Path, required=True, metavar="PAGE", help="the page to write (.html)"
    )
    command.add_argument("--force", action="store_true", help="replace existing files")
    command.add_argument("--compare", metavar="INPUT", help="a second picture, shown beside it")
    command.add_argument(
        "--full", action="store_true", help="more feature maps and kernels: 10 MB, not 3 MB"
    )
    command.add_argument(
        "--no-times", action="store_true", help="measure nothing: same picture, same page"
    )
    command.add_argument(
        "--save-trace", type=Path, metavar="TRACE.npz", help="keep what the page is made from"
    )
    add_model(command)
    add_engine(command)
    add_exif(command)
    add_threads(command)
    add_quiet(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the page; 0."""
    from minimix.explorer import Record, write_page  # brings NumPy and Pillow
    from minimix.explorer.record import is_recording

    trace = arguments.save_trace
    for path in filter(None, (arguments.out, trace)):
        check_free(path, force=arguments.force)
        check_apart(path, *(Path(name) for name in _named(arguments)))
    if trace is not None:
        check_apart(arguments.out, trace)
    if is_recording(Path(arguments.input)):
        _check_nothing_to_record(arguments)
        record = Record.load(arguments.input)
    else:
        record = _record(arguments)
    if trace is not None:
        record.save(trace, force=arguments.force)
    page = write_page(record)
    with replacing(arguments.out, force=arguments.force) as temporary:
        temporary.write_bytes(page)
    if not arguments.quiet:
        output.note(output.printable(_closing(record, arguments.out, len(page))))
    return 0


def _named(arguments: argparse.Namespace) -> list[str]:
    return [name for name in (arguments.input, arguments.compare) if name is not None]


def _check_nothing_to_record(arguments: argparse.Namespace) -> None:
    for option in ("compare", "full", "no_times", "save_trace"):
        if getattr(arguments, option):
            raise UsageError(
                f"--{option.replace('_', '-')} says what to record, but {arguments.input} is "
                "recorded already; name a picture"
            )


def _record(arguments: argparse.Namespace) -> Record:
    from minimix.explorer import record

    if _named(arguments).count(STDIN) > 1:
        raise UsageError("standard input cannot be both pictures; name a file")
    sources = [_open(name, arguments.offline) for name in _named(arguments)]
    model = load_model(arguments, arguments.engine, arguments.threads)
    if model.engine.name == "compiled" and not arguments.quiet:
        note_compilation()
    model.prepare()
    with progress(not arguments.quiet, None) as bar:
        return record(
            model,
            sources[0],
            compare=sources[1] if len(sources) > 1 else None,
            full=arguments.full,
            times=not arguments.no_times,
            machine=cpu_name(),
            exif=arguments.exif,
            progress=bar.show,
        )


def _open(name: str, offline: bool) -> Source:
    """The one picture that was named.

    Raises:
        InputError: it cannot be had.
        UsageError: the name stands for several.
    """
    first, *more = islice(find_inputs([name], offline=offline), 2)
    if more:
        raise UsageError(f"{name}: stands for several pictures; name one, such as {first.name}")
    return first.open()


def _closing(record: Record, path: Path, size_bytes: int) -> str:
    """What was written, and what the network saw."""
    document = record.document
    seen = " and ".join(
        f"{picture['top'][0]['label']} ({picture['top'][0]['p']:.1%})".replace("%", " %")
        for picture in document["pictures"]
    )
    return f"{path}: {seen} · {document['model']['name']} · {size_bytes / 1e6:.1f} MB"
