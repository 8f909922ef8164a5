"""``minimix features``: what the network makes of many pictures, in one file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minimix.cli import output
from minimix.cli.loading import load_model
from minimix.cli.parser import (
    CommandParser,
    add_model,
    add_quiet,
    add_threads,
)
from minimix.cli.preparing import add_preparing, describe_pipeline
from minimix.cli.progress import note_compilation, progress
from minimix.cli.resuming import add_resuming, kept_when_interrupted, report_failed
from minimix.errors import InputError, UsageError
from minimix.files import check_apart
from minimix.inputs import find_inputs

if TYPE_CHECKING:
    from minimix.workflows.features import Extracted

_EXAMPLES = """
minimix features photos/ -o photos.npz         pooled features of a folder, in order
minimix features 'photos/**/*.jpg' -o photos.parquet --model mixnet-s
minimix features --from-file list.txt -o maps.h5 --node blocks.3.mixconv
"""


def add_command(parser: CommandParser) -> None:
    """Add ``features`` to the parser."""
    command = parser.add_command(
        "features",
        "INPUT... -o OUT [options]",
        "write what a node produces for many pictures",
        _EXAMPLES,
        group="USE",
    )
    command.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="a file, folder, pattern or http(s) URL"
    )
    command.add_argument(
        "--from-file",
        metavar="FILE",
        help="a list of paths, one a line or NUL-separated; - is standard input",
    )
    command.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help=".npz, .parquet or .h5"
    )
    command.add_argument(
        "--node",
        default="pool",
        metavar="NAME",
        help="whose output (default: pool, one number per channel); see: minimix summary",
    )
    add_resuming(command)
    add_model(command)
    add_preparing(command, "apply")
    add_threads(command)
    add_quiet(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the features of every input; 0 if all have some, 3 if some could not be read."""
    from minimix.workflows.features import check_result, extract_features
    from minimix.workflows.resuming.parts import parts_folder

    if not arguments.inputs and arguments.from_file is None:
        raise UsageError("name at least one picture, folder or URL, or give --from-file FILE")
    if "-" in arguments.inputs:
        raise UsageError(
            "a picture on standard input cannot be read again to resume; save it as a file"
        )
    listed = Path(arguments.from_file) if arguments.from_file else None
    check_apart(arguments.out, Path(arguments.model), listed)
    check_result(arguments.out, force=arguments.force)
    inputs = list(
        find_inputs(arguments.inputs, listed=arguments.from_file, offline=arguments.offline)
    )
    model = load_model(arguments, arguments.engine, arguments.threads)
    if model.engine.name == "compiled" and not arguments.quiet:
        note_compilation()
    if arguments.verbose:
        output.note(describe_pipeline(model, arguments.exif))
    with (
        kept_when_interrupted(parts_folder(arguments.out)),
        progress(not arguments.quiet, len(inputs)) as bar,
    ):
        extracted = extract_features(
            model,
            inputs,
            arguments.out,
            node=arguments.node,
            exif=arguments.exif,
            batch_size=arguments.batch,
            force=arguments.force,
            restart=arguments.restart,
            progress=bar.show,
        )
    report_failed(extracted.failed, extracted.count)
    if not arguments.quiet:
        output.note(output.printable(f"{arguments.out}: {_closing(extracted, arguments.node)}"))
    return InputError.exit_code if extracted.failed else 0


def _closing(extracted: Extracted, node: str) -> str:
    shape = " x ".join(map(str, extracted.shape))
    resumed = f" · {extracted.found:,} had been done before" if extracted.found else ""
    return f"{extracted.count:,} x {shape} of {node}{resumed}"
