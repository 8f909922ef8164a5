"""``diff``: two checkpoints or model files, tensor by tensor."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from minimix.cli import output
from minimix.cli.parser import CommandParser
from minimix.errors import CheckError
from weights_tools.commands.writing import listing, number_text, say, say_table, shape_text

if TYPE_CHECKING:
    from weights_tools.diff import Difference, TensorDifference

SCHEMA_VERSION = 1
_ROWS = 40

_EXAMPLES = """
python -m weights_tools diff a.h5 b.h5
python -m weights_tools diff mixnet-s.tar.gz tf_mixnet_s-89d3354b.pth
"""
_MORE = """
Tensors are compared under their names; two MixNets under different origins' names, under minimix's
names.  Exit 0 if all tensors are the same, bit by bit, and 5 if not; what two
model files state beside them (dialect, pipeline, labels) is noted and does not count."""


def add_command(parser: CommandParser) -> None:
    """Add ``diff`` to the parser."""
    command = parser.add_command(
        "diff", "A B [--format json]", "compare the tensors of two files", _EXAMPLES
    )
    command.epilog = _MORE
    for name in ("a", "b"):
        command.add_argument(
            name, type=Path, metavar=name.upper(), help="a checkpoint or a model file"
        )
    command.add_argument(
        "--format", choices=("table", "json"), default="table", help="default: table"
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what differs; 0 if nothing does.

    Raises:
        CheckError: something does.
    """
    from weights_tools.diff import diff

    found = diff(arguments.a, arguments.b)
    if arguments.format == "json":
        sides = {"a": str(arguments.a), "b": str(arguments.b), "equal": found.is_empty}
        output.write_json({"schema_version": SCHEMA_VERSION, **sides, **asdict(found)})
    else:
        _print(found, arguments)
    if not found.is_empty:
        counts = (len(found.different), len(found.only_in_a), len(found.only_in_b))
        raise CheckError(
            f"{arguments.a} and {arguments.b}: {counts[0]} tensors differ, {counts[1]} are only "
            f"in the first, {counts[2]} only in the second"
        )
    return 0


def _print(found: Difference, arguments: argparse.Namespace) -> None:
    if found.note:
        say(found.note)
    for path, names in ((arguments.a, found.only_in_a), (arguments.b, found.only_in_b)):
        if names:
            say(f"only in {path}: {len(names)}")
            say(listing(names))
    if found.different:
        rows = sorted(found.different, key=_rank)
        heading = ("differs", "shape", "dtype", "values", "largest", "share")
        say_table([heading, *map(_row, rows[:_ROWS])], "<<<>>>")
        if len(rows) > _ROWS:
            say(f"and {len(rows) - _ROWS} more; --format json lists all")
    say(f"{found.identical} tensors are the same, bit by bit")


def _rank(row: TensorDifference) -> tuple[bool, float]:
    """Shapes and types first, then the largest difference."""
    return not row.is_of_kind, -(float("inf") if row.share is None else row.share)


def _row(row: TensorDifference) -> tuple[str, ...]:
    shapes, dtypes = dict.fromkeys(map(shape_text, row.shapes)), dict.fromkeys(row.dtypes)
    is_infinite = row.differing is not None and row.largest is None
    return (
        row.name,
        " / ".join(shapes),
        " / ".join(dtypes),
        number_text(row.differing, ",d"),
        "not finite" if is_infinite else number_text(row.largest, ".2e"),
        number_text(row.share, ".1e"),
    )
