"""What the commands share: lines, tables, numbers and shapes on standard output."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence

from minimix.cli import output


def say(line: str = "") -> None:
    """Write a line; what would disturb a terminal is escaped: names come from strangers' files."""
    output.write("\n".join(output.printable(part) for part in line.split("\n")) + "\n")


def say_table(rows: Sequence[Sequence[str]], align: str) -> None:
    """Write rows of cells; on a terminal the first column is cut so that a row fits on a line."""
    listed = [[output.printable(cell) for cell in row] for row in rows]
    if sys.stdout is not None and sys.stdout.isatty():
        columns = shutil.get_terminal_size().columns
        others = sum(max(output.cells(row[n]) for row in listed) + 2 for n in range(1, len(align)))
        listed = [[shortened(row[0], max(columns - others, 16)), *row[1:]] for row in listed]
    output.write("".join(f"{line}\n" for line in output.table(listed, align)))


def shortened(name: str, width: int) -> str:
    """Text -> at most so many characters; of a path the end says most, so the middle goes.

    >>> shortened("blocks.3.mixconv.1.weight", 20)
    'block...onv.1.weight'
    """
    if len(name) <= width:
        return name
    begin = (width - 3) // 3
    return f"{name[:begin]}...{name[begin - width + 3 :]}"


def shape_text(shape: Sequence[int]) -> str:
    """Shape -> text.

    >>> shape_text((3, 3, 16)), shape_text(())
    ('3x3x16', 'scalar')
    """
    return "x".join(map(str, shape)) or "scalar"


def number_text(value: float | None, digits: str = ".4g") -> str:
    """Number -> text; a dash where there is none."""
    return "-" if value is None else format(value, digits)


def listing(names: Sequence[str], most: int = 20) -> str:
    """Names -> one a line, indented; after the first ones how many more."""
    lines = [f"  {name}" for name in names[:most]]
    if len(names) > most:
        lines.append(f"  and {len(names) - most} more; --format json lists all")
    return "\n".join(lines)
