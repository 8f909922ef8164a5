"""``minimix validate``: how often a model is right about pictures of known classes."""

from __future__ import annotations

import argparse
import math
from contextlib import ExitStack
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
from minimix.cli.readers import reader_may_leave
from minimix.cli.resuming import add_resuming, kept_when_interrupted, report_failed
from minimix.errors import CheckError, InputError, OutputError, UsageError
from minimix.files import check_apart, check_free, replacing
from minimix.workflows.wording import counted

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
    report_failed(report.failed, len(layout.pictures))
    _check_expectation(arguments, report)
    return InputError.exit_code if report.failed else 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what would fail at the end."""
    from minimix.workflows.validation.validate import check_result

    if arguments.within is not None and arguments.expect_top1 is None:
        raise UsageError("--within says how far from --expect-top1; give that too")
    for path, ending in (
        (arguments.out, ".csv"),
        (arguments.confusion, ".csv"),
        (arguments.confusion_picture, ".png"),
    ):
        if path is not None:
            if path.suffix.lower() != ending:
                raise UsageError(f"{path}: expected a name that ends in {ending}, as its format is")
            check_apart(path, arguments.labels, arguments.devkit_map)
            if path is arguments.out:
                check_result(path, force=arguments.force)
            else:
                check_free(path, force=arguments.force)
    if arguments.confusion is not None:
        check_apart(arguments.confusion, arguments.out)


def _opening(model: Model, layout: Layout) -> str:
    left = f", {layout.left_out:,} left out" if layout.left_out else ""
    pictures = f"{counted(len(layout.pictures), 'picture')} in {layout.description}{left}"
    return f"{model.name} ({model.file.dialect.name}) · {model.size} px · {pictures}"


def _validate(arguments: argparse.Namespace, model: Model, layout: Layout) -> Report:
    from minimix.workflows.validation.validate import validate, work_folder

    if model.engine.name == "compiled" and not arguments.quiet:
        note_compilation()
    place = work_folder(model, arguments.folder, arguments.out)
    with (
        kept_when_interrupted(place),
        progress(not arguments.quiet, len(layout.pictures)) as bar,
    ):

        def deliver(report: Report) -> None:
            try:
                with bar.paused():
                    _deliver(arguments, model, report)
            except OutputError:
                kept = counted(len(layout.pictures), "picture is", "pictures are")
                same = (
                    "the same command without --restart"
                    if arguments.restart
                    else "the same command"
                )
                output.note(output.printable(f"{kept} kept in {place}; {same} goes on"))
                raise

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
            deliver=deliver,
        )


def _deliver(arguments: argparse.Namespace, model: Model, report: Report) -> None:
    """Write all there is to be read; files get their names when the rest is out."""
    from minimix.cli.validate_report import write_report
    from minimix.workflows.validation import confusion

    with ExitStack() as files:
        for path, write in (
            (arguments.confusion, confusion.write_csv),
            (arguments.confusion_picture, confusion.write_picture),
        ):
            if path is not None:
                temporary = files.enter_context(replacing(path, force=arguments.force))
                write(temporary, report.scores.confusion, report.labels)
        with reader_may_leave():
            write_report(report, model, arguments.format, output.screen(arguments.color))
            output.flush()


def _check_expectation(arguments: argparse.Namespace, report: Report) -> None:
    if arguments.expect_top1 is None:
        return
    if not report.scores.top1.count:
        raise InputError(
            f"{arguments.folder}: no picture could be read; expected top-1 "
            f"{arguments.expect_top1:g}"
        )
    within = DEFAULT_WITHIN if arguments.within is None else arguments.within
    found = 100 * report.scores.top1.value
    # A millionth of a point: what the decimal numbers of the options lose as binary ones.
    if not abs(found - arguments.expect_top1) <= within + 1e-6:
        raise CheckError(
            f"top-1 is {found:.2f} %, expected {arguments.expect_top1:g} within {within:g} points. "
            "Look at the model's pipeline and weights (minimix models show), then at the labels"
        )
