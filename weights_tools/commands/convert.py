"""``convert``: a released checkpoint becomes a minimix model file."""

from __future__ import annotations

import argparse
from pathlib import Path

from minimix.cli.parser import CommandParser
from minimix.dialect import DIALECTS, PIPELINES
from weights_tools.commands.writing import say

_EXAMPLES = """
python -m weights_tools convert mixnet_s-a907afbc.pth -o mixnet-s.h5
python -m weights_tools convert mixnet-s.tar.gz -o mixnet-s.h5 --report map.json
python -m weights_tools convert model.safetensors -o m.h5 --dialect timm-tf
"""


def add_command(parser: CommandParser) -> None:
    """Add ``convert`` to the parser."""
    command = parser.add_command(
        "convert",
        "FILE|FOLDER|PREFIX -o OUT.h5 [options]",
        "make a minimix model file of a checkpoint",
        _EXAMPLES,
    )
    command.add_argument("file", type=Path, metavar="FILE", help="a released checkpoint")
    command.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT.h5", help="the model file to write"
    )
    command.add_argument(
        "--model", metavar="NAME", help="refuse it unless it is this architecture, e.g. mixnet-s"
    )
    command.add_argument(
        "--dialect", choices=tuple(DIALECTS), help="needed where the file's name does not say"
    )
    command.add_argument(
        "--pipeline",
        choices=tuple(PIPELINES),
        help="how pictures become the input, where the file does not say",
    )
    command.add_argument(
        "--raw", action="store_true", help="TensorFlow: not the moving averages of the weights"
    )
    command.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="how to store it"
    )
    command.add_argument(
        "--labels", type=Path, metavar="TXT", help="class names, one a line, if not ImageNet's"
    )
    command.add_argument(
        "--report", type=Path, metavar="JSON", help="write where every parameter came from"
    )
    command.add_argument("--force", action="store_true", help="replace existing files")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the model file, and the report if one is wanted; 0."""
    from minimix.files import check_apart, check_free
    from weights_tools.convert import Wanted, convert
    from weights_tools.report import write_report

    if arguments.report is not None:
        check_free(arguments.report, force=arguments.force)
        check_apart(arguments.report, arguments.out, arguments.file, arguments.labels)
    wanted = Wanted(
        model=arguments.model,
        dialect=arguments.dialect,
        pipeline=arguments.pipeline,
        raw=arguments.raw,
        dtype=arguments.dtype,
        labels=arguments.labels,
    )
    conversion = convert(arguments.file, arguments.out, wanted, force=arguments.force)
    if arguments.report is not None:
        write_report(conversion, arguments.report, force=arguments.force)
    model, mapped = conversion.model, conversion.mapped
    say(f"{arguments.out}: {model.architecture.name}, {model.architecture.num_classes} classes")
    say(f"dialect {model.dialect.name}, {conversion.dialect_reason}")
    say(f"pipeline {model.pipeline.name}, {conversion.pipeline_reason}")
    say(f"license: {model.provenance['license']}")
    if conversion.notes:
        notes = (f"{key.replace('_', ' ')}: {text}" for key, text in conversion.notes.items())
        say(f"of the file {'; '.join(notes)}")
    say(f"{len(mapped.params)} parameters filled, {len(mapped.ignored)} tensors ignored")
    return 0
