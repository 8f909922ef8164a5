"""``inspect``: what is in a checkpoint or a model file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minimix.cli import output
from minimix.cli.parser import CommandParser
from minimix.errors import WeightsError
from weights_tools.commands.writing import number_text, say, say_table, shape_text

if TYPE_CHECKING:
    from weights_tools.inspect import Inspection, TensorSummary

SCHEMA_VERSION = 2

_EXAMPLES = """
python -m weights_tools inspect mixnet_s-a907afbc.pth
python -m weights_tools inspect mixnet-s.tar.gz --tensors '*/blocks_3/*'
python -m weights_tools inspect mixnet-s/model.ckpt       a TensorFlow prefix, or its folder
python -m weights_tools inspect mixnet-l.xml --format json
"""
_HEADING = ("tensor", "shape", "dtype", "mean", "std", "min", "max", "crc32", "")


def add_command(parser: CommandParser) -> None:
    """Add ``inspect`` to the parser."""
    command = parser.add_command(
        "inspect",
        "FILE|FOLDER|PREFIX [options]",
        "show what is in a checkpoint or a model file",
        _EXAMPLES,
    )
    command.add_argument(
        "file", type=Path, metavar="FILE", help="of any readable container, told by its bytes"
    )
    command.add_argument(
        "--tensors",
        default="*",
        metavar="PATTERN",
        help="describe only those whose names match this shell pattern",
    )
    command.add_argument(
        "--format", choices=("table", "json"), default="table", help="default: table"
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is in the file; 0.

    Raises:
        WeightsError: it is a pickle that ``convert`` refuses; what is known of it is printed.
    """
    from dataclasses import asdict

    from weights_tools.inspect import inspect
    from weights_tools.readers.checkpoint import shown

    found = inspect(arguments.file, arguments.tensors)
    if arguments.format == "json":
        output.write_json({"schema_version": SCHEMA_VERSION, **asdict(found)})
    else:
        _print_file(found)
        _print_network(found)
        _print_tensors(found)
    if found.refused:
        raise WeightsError(
            f"{found.path}: refused: it would import {', '.join(map(shown, found.refused[:5]))}, "
            "which no state dict needs. Save model.state_dict() alone where the file is trusted"
        )
    return 0


def _print_file(found: Inspection) -> None:
    say(f"{found.path}: {found.container}, {found.size_bytes:,} bytes")
    say(f"sha256 {found.sha256}")
    for name, digest in found.parts.items():
        say(f"part {name}: sha256 {digest}")
    for name, value in found.metadata.items():
        say(f"{name}: {value}")
    if found.refused:
        say(f"refused globals: {', '.join(found.refused)}")


def _print_network(found: Inspection) -> None:
    if found.operations:
        for name, shape in found.operations.inputs.items():
            sides = ("free" if size == 0 else str(size) for size in shape)
            say(f"input {name}: ({', '.join(sides)})")
        say(f"outputs: {', '.join(found.operations.outputs)}")
        kinds = ", ".join(f"{count} {kind}" for kind, count in found.operations.kinds.items())
        say(f"operations: {kinds}")
    if found.recognised:
        it = found.recognised
        say(f"recognised: {it.architecture} ({it.origin}), {it.num_classes} classes")
        say(f"dialect {' or '.join(it.dialects)}, pipeline {' or '.join(it.pipelines)}")
        for reason, count in it.ignored.items():
            say(f"ignored: {count} tensors: {reason}")
    if found.problem:
        say(f"not recognised: {found.problem}")


def _print_tensors(found: Inspection) -> None:
    if found.tensors:
        say()
        say_table([_HEADING, *map(_row, found.tensors)], "<><>>>>><")
        described, count = len(found.tensors), found.tensor_count
        some = f", {described} of them shown" if described < count else ""
        say(f"\n{count} tensors{some}")


def _row(tensor: TensorSummary) -> tuple[str, ...]:
    values = (tensor.mean, tensor.std, tensor.minimum, tensor.maximum)
    note = f"{tensor.not_finite} not finite" if tensor.not_finite else ""
    return (
        tensor.name,
        shape_text(tensor.shape),
        tensor.dtype,
        *map(number_text, values),
        tensor.crc32,
        note,
    )
