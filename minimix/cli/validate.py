"""``minimix validate``: how often a model is right about pictures of known classes."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from minimix.cli import output
from minimix.cli.loading import load_model
from minimix.cli.parser import (
    CommandParser,
    add_format,
    add_model,
    add_quiet,
    add_threads,
)
from minimix.cli.preparing import add_preparing, describe_pipeline
from minimix.cli.progress import note_compilation, progress
from minimix.cli.resuming import add_resuming, kept_when_interrupted, report_failed
from minimix.errors import CheckError, InputError, UsageError
from minimix.files import check_apart, check_free, replacing

if TYPE_CHECKING:
    from minimix.model import Model
    from minimix.workflows.validation.classes import Layout
    from minimix.workflows.validation.validate import Report

DEFAULT_WITHIN = 0.2

_EXAMPLES = """
minimix validate imagenet/val --model mixnet-s            class folders by synset, index or name
minimix validate flat/ --labels val.txt --format json
minimix validate val/ --model mixnet-s --expect-top1 76.0 --within 0.2
minimix validate photos/ -o rows.csv --confusion confusion.csv --confusion-picture confusion.png
"""


def add_command(parser: CommandParser) -> None:
    """Add ``validate`` to the parser."""
    command = parser.add_command(
        "validate",
        "FOLDER [options]",
        "measure accuracy on pictures of known classes",
        _EXAMPLES,
        group="MEASURE",
    )
    command.add_argument(
        "folder", type=Path, metavar="FOLDER", help="class folders, or files with --labels"
    )
    _add_labels(command)
    _add_results(command)
    add_model(command)
    add_format(command, "auto", "table", "json", "csv")
    add_preparing(command, "ignore", ", as published accuracies do")
    add_threads(command)
    add_quiet(command)
    command.set_defaults(run=run)


def _add_labels(command: CommandParser) -> None:
    command.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help='true classes: "NAME LABEL" a line, a .csv, a label a line in the order of names, or'
        " ReaL's real.json",
    )
    command.add_argument(
        "--devkit-map",
        type=Path,
        metavar="FILE",
        help='what the ids of ImageNet\'s devkit in --labels mean: "id synset" a line',
    )


def _add_results(command: CommandParser) -> None:
    command.add_argument(
        "-o", "--out", type=Path, metavar="OUT.csv", help="write a line per picture"
    )
    command.add_argument(
        "--confusion", type=Path, metavar="OUT.csv", help="write counts by true and predicted class"
    )
    command.add_argument(
        "--confusion-picture", type=Path, metavar="OUT.png", help="draw them as shares"
    )
    command.add_argument(
        "--expect-top1", type=_percent, metavar="PERCENT", help="exit with 5 if top-1 is another"
    )
    command.add_argument(
        "--within",
        type=_percent,
        metavar="POINTS",
        help=f"how far from it top-1 may be, either way (default: {DEFAULT_WITHIN})",
    )
    add_resuming(command)


def _percent(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"expected a percentage from 0 to 100, found {text!r}")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Validate; 0, 3 if pictures could not be read, 5 if top-1 is not what was expected."""
    from minimix.cli.validate_report import write_report
    from minimix.workflows.validation.classes import Classes
    from minimix.workflows.validation.layout import look

    _check(arguments)
    # Before the model: it may have to be fetched.
    data_set = look(arguments.folder, arguments.labels, arguments.devkit_map)
    model = load_model(arguments, arguments.engine, arguments.threads)
    layout = data_set.layout(Classes.of(model))
    if not layout.is_single and (arguments.confusion or arguments.confusion_picture):
        raise UsageError("ReaL gives a picture several classes, which leaves no confusion to count")
    if not arguments.quiet:
        output.note(output.printable(_opening(model, layout)))
    if arguments.verbose:
        output.note(describe_pipeline(model, arguments.exif))
    report = _validate(arguments, model, layout)
    write_report(report, model, arguments.format, output.screen(arguments.color))
    _write_confusion(arguments, report)
    output.flush()
    report_failed(report.failed, len(layout.pictures))
    _check_expectation(arguments, report)
    return InputError.exit_code if report.failed else 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what would fail at the end."""
    if arguments.within is not None and arguments.expect_top1 is None:
        raise UsageError("--within says how far from --expect-top1; give that too")
    written = [arguments.confusion, arguments.confusion_picture]
    for path in filter(None, written):
        check_free(path, force=arguments.force)
        check_apart(path, arguments.labels, arguments.devkit_map, arguments.out)
    if arguments.out is not None:
        check_apart(arguments.out, arguments.labels, arguments.devkit_map)
    if all(written):
        check_apart(*written)


def _opening(model: Model, layout: Layout) -> str:
    left = f", {layout.left_out:,} left out" if layout.left_out else ""
    pictures = f"{len(layout.pictures):,} pictures in {layout.description}{left}"
    return f"{model.name} ({model.file.dialect.name}) · {model.size} px · {pictures}"


def _validate(arguments: argparse.Namespace, model: Model, layout: Layout) -> Report:
    from minimix.workflows.validation.validate import validate, work_folder

    if model.engine.name == "compiled" and not arguments.quiet:
        note_compilation()
    with (
        kept_when_interrupted(work_folder(model, arguments.folder, arguments.out)),
        progress(not arguments.quiet, len(layout.pictures)) as bar,
    ):
        return validate(
            model,
            layout,
            arguments.folder,
            out=arguments.out,
            exif=arguments.exif,
            batch_size=arguments.batch,
            force=arguments.force,
            restart=arguments.restart,
            progress=bar.show,
        )


def _write_confusion(arguments: argparse.Namespace, report: Report) -> None:
    from minimix.workflows.validation.confusion import write_csv, write_picture

    for path, write in (
        (arguments.confusion, write_csv),
        (arguments.confusion_picture, write_picture),
    ):
        if path is not None:
            with replacing(path, force=arguments.force) as temporary:
                write(temporary, report.scores.confusion, report.labels)


def _check_expectation(arguments: argparse.Namespace, report: Report) -> None:
    if arguments.expect_top1 is None:
        return
    within = DEFAULT_WITHIN if arguments.within is None else arguments.within
    found = 100 * report.scores.top1.value
    # A millionth of a point: what the decimal numbers of the options lose as binary ones.
    if not abs(found - arguments.expect_top1) <= within + 1e-6:
        raise CheckError(
            f"top-1 is {found:.2f} %, expected {arguments.expect_top1:g} within {within:g} points. "
            "Look at the model's pipeline and weights (minimix models show), then at the labels"
        )
