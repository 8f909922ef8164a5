"""``export``: a model file for other runtimes and frameworks."""

from __future__ import annotations

import argparse
from pathlib import Path

from minimix.cli import output
from minimix.cli.parser import CommandParser, positive_int
from minimix.errors import UsageError
from weights_tools.commands.writing import say

FORMATS = ("onnx", "safetensors")
"""Also the endings by which a format is known."""

_EXAMPLES = """
python -m weights_tools export mixnet-s.h5 -o mixnet-s.onnx          for other runtimes
python -m weights_tools export mixnet-s.h5 -o mixnet_s.safetensors   for timm, strict=True
"""


def add_command(parser: CommandParser) -> None:
    """Add ``export`` to the parser."""
    command = parser.add_command(
        "export",
        "FILE -o OUT.onnx|OUT.safetensors [options]",
        "write a model file as ONNX, or as timm's safetensors",
        _EXAMPLES,
    )
    command.add_argument("file", type=Path, metavar="FILE", help="a minimix model file")
    command.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT", help="the file to write"
    )
    command.add_argument(
        "--format", choices=FORMATS, help="needed where the ending of OUT does not say"
    )
    command.add_argument(
        "--size",
        type=positive_int,
        metavar="PX",
        help="ONNX: side of the input, if not the model's own",
    )
    command.add_argument("--force", action="store_true", help="replace an existing file")
    command.set_defaults(run=run)


def format_of(out: Path, requested: str | None) -> str:
    """Name of the result, and what was asked for -> the format.

    >>> format_of(Path("mixnet-s.ONNX"), None)
    'onnx'

    Raises:
        UsageError: neither says which.
    """
    found = requested or out.suffix.removeprefix(".").lower()
    if found not in FORMATS:
        raise UsageError(
            f"{out}: the ending says no format; end it in .onnx or .safetensors, or say which: "
            f"--format {' or '.join(FORMATS)}"
        )
    return found


def run(arguments: argparse.Namespace) -> int:
    """Write the file; 0."""
    if format_of(arguments.out, arguments.format) == "onnx":
        _onnx(arguments)
    elif arguments.size is not None:
        raise UsageError("--size goes with ONNX: safetensors hold parameters, which fit any size")
    else:
        _safetensors(arguments)
    return 0


def _onnx(arguments: argparse.Namespace) -> None:
    from weights_tools.export_onnx import export

    made = export(arguments.file, arguments.out, size=arguments.size, force=arguments.force)
    (image,) = made.graph.input
    sides = [axis.dim_param or str(axis.dim_value) for axis in image.type.tensor_type.shape.dim]
    say(
        f"{arguments.out}: {made.graph.name}, {len(made.graph.node)} nodes, opset "
        f"{made.opset_import[0].version}, input {image.name} ({', '.join(sides)})"
    )


def _safetensors(arguments: argparse.Namespace) -> None:
    from weights_tools.export_safetensors import export_safetensors

    made = export_safetensors(arguments.file, arguments.out, force=arguments.force)
    to = f" for timm.create_model({made.timm_model!r})" if made.timm_model else ""
    say(f"{arguments.out}: {made.tensors} tensors{to}")
    output.flush()
    for note in made.notes:
        output.note(f"note: {note}")
