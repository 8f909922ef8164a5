"""``minimix finetune``: a classifier of your own classes, on a network's features."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimix.cli import output
from minimix.cli.loading import load_model
from minimix.cli.output import Screen, printable, table
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
from minimix.errors import InputError
from minimix.files import check_apart
from minimix.workflows.wording import counted

if TYPE_CHECKING:
    from minimix.model import Model
    from minimix.workflows.finetuning.assessing import Accuracy
    from minimix.workflows.finetuning.data import Pictures
    from minimix.workflows.finetuning.finetune import Finetuned, Options
    from minimix.workflows.validation.scores import Share

SCHEMA_VERSION = 1
WORST = 5
"""Classes that the table names."""

_EXAMPLES = """
minimix finetune animals/ -o animals.h5                   animals/CLASS/PICTURE, ten or more a class
minimix finetune animals/ -o animals.h5 --model mixnet-s  on a backbone that has seen more
minimix classify new.jpg --model animals.h5               what it is for
"""


def add_command(parser: CommandParser) -> None:
    """Add ``finetune`` to the parser."""
    command = parser.add_command(
        "finetune",
        "FOLDER -o OUT.h5 [options]",
        "teach a network your own classes",
        _EXAMPLES,
        group="USE",
    )
    command.add_argument(
        "folder", type=Path, metavar="FOLDER", help="a folder of pictures per class, named after it"
    )
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="OUT",
        help="the model file to write (.h5)",
    )
    _add_learning(command)
    add_resuming(command)
    add_model(command)
    add_format(command, "auto", "table", "json")
    add_preparing(command, "apply")
    add_threads(command)
    add_quiet(command)
    command.set_defaults(run=run)


def _add_learning(command: CommandParser) -> None:
    command.add_argument(
        "--classifier",
        choices=("logistic", "ridge"),
        default="logistic",
        help="logistic regression (default); or ridge: faster, but its scores are no probabilities",
    )
    command.add_argument(
        "--class-weight",
        choices=("none", "balanced"),
        default="none",
        help="balanced: a class with few pictures counts as much as one with many",
    )
    command.add_argument(
        "--held-out",
        type=_share,
        default=0.2,
        metavar="SHARE",
        help="of each class, to measure accuracy on (default: 0.2). Where that is fewer than 5"
        " pictures a class on average, as 0.2 of fewer than 25 are, or with 0, accuracy is"
        " cross-validated: every picture is asked about once",
    )
    command.add_argument(
        "--fit",
        choices=("all", "train"),
        default="all",
        help="what the classifier that is written has learned from: all pictures, once accuracy is"
        " known (default), or those that were not held out",
    )
    command.add_argument(
        "--augment",
        type=_count,
        metavar="N",
        help="views of each picture to learn from too: crops, half of them mirrored (default: 8,"
        " fewer for more than 1,000 pictures)",
    )
    command.add_argument(
        "--no-flip", action="store_true", help="mirror no view: left and right tell classes apart"
    )
    command.add_argument(
        "--seed", type=_count, default=0, metavar="N", help="of the split and the views (default 0)"
    )


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to below 1, found {text!r}")
    return share


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 up, found {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Write the model; 0 if every picture could be read, 3 if some could not."""
    from minimix.workflows.finetuning.data import gather
    from minimix.workflows.finetuning.finetune import check_result

    options = _options(arguments)
    check_result(arguments.out, force=arguments.force)
    check_apart(arguments.out, Path(arguments.model))
    pictures = gather(arguments.folder)
    model = load_model(arguments, arguments.engine, arguments.threads)
    screen = output.screen(arguments.color)
    if not arguments.quiet:
        output.note(printable(_opening(model, pictures)))
        for path, other in pictures.repeated:
            output.note(printable(f"{path}: left out, the same picture as {other}"))
    if arguments.verbose:
        output.note(describe_pipeline(model, arguments.exif))
    done = _finetune(arguments, model, pictures, options, screen)
    if arguments.format == "json":
        output.write_json({"schema_version": SCHEMA_VERSION, **to_json(done, arguments.out)})
    report_failed(done.failed, len(pictures.inputs))
    if not arguments.quiet:
        output.note(printable(_closing(done, arguments.out)))
    return InputError.exit_code if done.failed else 0


def _options(arguments: argparse.Namespace) -> Options:
    from minimix.workflows.finetuning.classifier import Learner
    from minimix.workflows.finetuning.finetune import Options

    return Options(
        learner=Learner(arguments.classifier, arguments.class_weight == "balanced"),
        held_out=arguments.held_out,
        views=arguments.augment,
        flips=not arguments.no_flip,
        final=arguments.fit,
        seed=arguments.seed,
    )


def _finetune(
    arguments: argparse.Namespace,
    model: Model,
    pictures: Pictures,
    options: Options,
    screen: Screen,
) -> Finetuned:
    from minimix.workflows.finetuning.finetune import finetune
    from minimix.workflows.resuming.parts import parts_folder

    if model.engine.name == "compiled" and not arguments.quiet:
        note_compilation()
    with (
        kept_when_interrupted(parts_folder(arguments.out)),
        progress(not arguments.quiet, len(pictures.inputs)) as bar,
    ):

        def tell(accuracy: Accuracy) -> None:
            with bar.paused(), reader_may_leave():
                lines = _lines(accuracy, pictures, screen, options.learner.is_balanced)
                if arguments.format == "json":
                    if not arguments.quiet:
                        output.note(printable(lines[0]))
                else:
                    output.write("\n".join(lines) + "\n")
                    output.flush()

        return finetune(
            model,
            pictures,
            arguments.out,
            options,
            exif=arguments.exif,
            batch_size=arguments.batch,
            force=arguments.force,
            restart=arguments.restart,
            progress=bar.show,
            told=tell,
        )


def _opening(model: Model, pictures: Pictures) -> str:
    few, many = min(pictures.counts), max(pictures.counts)
    each = f"{few:,} to {many:,} each" if few < many else f"{few:,} each"
    # Never one picture or one class: ``gather`` refuses both.
    return (
        f"{model.name} ({model.file.dialect.name}) · {model.size} px · {len(pictures.inputs):,} "
        f"pictures of {len(pictures.labels):,} classes, {each}"
    )


def _lines(accuracy: Accuracy, pictures: Pictures, screen: Screen, is_balanced: bool) -> list[str]:
    """The accuracy, how it was measured, and the classes with the lowest."""
    total = accuracy.total
    low, high = total.interval
    interval = f"95 % interval {100 * low:.2f} to {100 * high:.2f} %"
    heads = [("accuracy", _percent(total), f"{total.hits:,} of {total.count:,}; {interval}")]
    if is_balanced:
        asked = sum(share.count > 0 for share in accuracy.per_class)
        mean = f"mean of {counted(asked, 'class', 'classes')}"
        heads.insert(0, ("balanced accuracy", f"{100 * accuracy.balanced:.2f} %", mean))
    first, *others = table(heads, "<><")
    lines = [screen.bold(first), *others, _how(accuracy)]
    rows = sorted(zip(pictures.labels, accuracy.per_class, strict=True), key=lambda r: r[1].value)
    worst = [
        (printable(label), f"{share.hits:,} of {share.count:,}", _percent(share))
        for label, share in rows[:WORST]
        if share.hits < share.count
    ]
    if worst:
        lines += ["", *table([("lowest classes", "right", "accuracy"), *worst], "<>>")]
    return lines


def _how(accuracy: Accuracy) -> str:
    if accuracy.how == "held-out":
        return "of held-out pictures, which were not learned from"
    return (
        f"cross-validated in {len(accuracy.penalties)} folds: each picture was asked about once, "
        "by a classifier that had not learned from it"
    )


def _percent(share: Share) -> str:
    return f"{100 * share.value:.2f} %" if share.count else "none"


def to_json(done: Finetuned, out: Path) -> dict[str, Any]:
    """Return what was learned in plain JSON types."""
    file = done.file
    rows = zip(file.labels, done.counts, done.accuracy.per_class, strict=True)
    return {
        "out": str(out),
        "model": file.architecture.name,
        "accuracy": done.accuracy.to_json(),
        "classes": [
            {"index": k, "label": label, "learned_from": count, "accuracy": share.to_json()}
            for k, (label, count, share) in enumerate(rows)
        ],
        "learned_from": done.learned,
        "views": done.views,
        "penalty": done.penalty,
        "converged": done.has_converged,
        "failed": [{"input": name, "error": why} for name, why in done.failed],
    }


def _closing(done: Finetuned, out: Path) -> str:
    resumed = f" · {done.found:,} had been done before" if done.found else ""
    stopped = "" if done.has_converged else " · the optimiser was stopped before its end"
    return (
        f"{out}: {len(done.file.labels):,} classes, learned from {done.learned:,} pictures with "
        f"{counted(done.views, 'view')} each{stopped}{resumed}"
    )
