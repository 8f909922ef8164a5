"""Maps and kernels in a terminal's cells: two pixels to a cell in colour, or characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.style import Style
from rich.text import Text

from minimix.cli.output import cells
from minimix.palette import coloured

GREYS = " .:-=+*#%@"
"""Characters that fill more and more of a cell."""

SIGNED = "#=- +*@"
"""From the lowest through zero to the highest weight; three of each sign."""

GAP = 2

# Of the 216 colours of older terminals, those nearest to both maps: few, but in even steps.
_SEQUENTIAL = ("00005f", "005f87", "008787", "00af87", "5faf87", "87d787", "d7d787", "ffff87")
_DIVERGING = ("005faf", "5f87d7", "87afd7", "afd7ff", "eeeeee", "ffd7af", "ffaf87", "d7875f",
              "d75f00")  # fmt: skip


@dataclass(frozen=True)
class Paper:
    """What a terminal can show.

    Attributes:
        width: in cells.
        colours: what pictures are painted with; with none they are made of characters.
        unicode: whether it has every character.
    """

    width: int
    colours: Literal["truecolor", "256", "none"]
    unicode: bool

    @property
    def pixels(self) -> bool:
        """Whether a cell shows two pixels in their colours."""
        return self.colours != "none"


Picture = list[Text]
"""Lines of equal width."""


@cache
def _style(upper: tuple[int, int, int], lower: tuple[int, int, int] | None) -> Style:
    background = None if lower is None else Color.from_rgb(*lower)
    return Style(color=Color.from_rgb(*upper), bgcolor=background)


def half_blocks(rgb: NDArray[np.uint8]) -> Picture:
    """(H, W, 3) uint8 -> a line for every two rows of pixels."""
    lines = []
    for n in range(0, len(rgb), 2):
        uppers = rgb[n].tolist()
        lowers = rgb[n + 1].tolist() if n + 1 < len(rgb) else [None] * len(uppers)
        line = Text()
        for (upper, lower), run in groupby(zip(uppers, lowers, strict=True)):
            style = _style(tuple(upper), None if lower is None else tuple(lower))
            line.append("▀" * len(list(run)), style)
        lines.append(line)
    return lines


def characters(values: NDArray[Any], low: float, high: float) -> Picture:
    """(H, W) -> a line for every two rows, brighter characters for higher values."""
    pairs = [values[n : n + 2].mean(axis=0) for n in range(0, len(values), 2)]
    span = high - low or 1.0
    places = np.clip((np.array(pairs) - low) / span * len(GREYS), 0, len(GREYS) - 1).astype(int)
    return [Text("".join(GREYS[n] for n in row)) for row in places]


def _coloured(
    values: NDArray[Any], low: float, high: float, paper: Paper, *, signed: bool = False
) -> NDArray[np.uint8]:
    """(...) -> (..., 3) colours that the terminal has."""
    if paper.colours == "truecolor":
        return coloured(values, low, high, signed=signed)
    table = np.array([list(bytes.fromhex(c)) for c in (_DIVERGING if signed else _SEQUENTIAL)])
    places = (np.asarray(values) - low) / (high - low or 1.0) * len(table)
    colours: NDArray[np.uint8] = table.astype(np.uint8)[
        np.clip(places, 0, len(table) - 1).astype(np.intp)
    ]
    return colours


def paint(values: NDArray[Any], low: float, high: float, paper: Paper) -> Picture:
    """(H, W) -> their picture between two ends of a scale."""
    if paper.pixels:
        return half_blocks(_coloured(values, low, high, paper))
    return characters(values, low, high)


def paint_rgb(rgb: NDArray[np.uint8], paper: Paper) -> Picture:
    """(H, W, 3) uint8 -> the picture, in greys where there are no colours."""
    return half_blocks(rgb) if paper.pixels else characters(rgb.mean(axis=2), 0, 255)


def paint_kernel(weights: NDArray[Any], largest: float, zoom: int, paper: Paper) -> Picture:
    """(K, K) weights, the largest magnitude of their scale -> their picture; zero is neutral."""
    if paper.pixels:
        enlarged = weights.repeat(zoom, axis=0).repeat(zoom, axis=1)
        return half_blocks(_coloured(enlarged, -largest, largest, paper, signed=True))
    half = len(SIGNED) // 2
    places = np.rint(weights / (largest or 1.0) * half).astype(int) + half
    # Two cells wide: a cell is about twice as high as wide.
    return [Text("".join(SIGNED[n] * 2 for n in row)) for row in places]


def scale(low: float, high: float, paper: Paper, *, signed: bool = False) -> Text:
    """Both ends of a scale -> what lies between, with the numbers."""
    if paper.pixels:
        wide = 16 if paper.width >= 60 else 8
        values = np.linspace(low, high, wide)[None].repeat(2, axis=0)
        (middle,) = half_blocks(_coloured(values, low, high, paper, signed=signed))
    else:
        middle = Text(SIGNED if signed else GREYS.strip())
    return Text.assemble(number(low), " ", middle, " ", number(high))


def number(value: float) -> str:
    """A number in three digits, its minus as long as a plus.

    >>> number(-0.12345)
    '−0.123'
    """
    return f"{value:.3g}".replace("-", "−")


def captioned(picture: Picture, caption: Text, paper: Paper) -> Picture:
    """Put a line of text over a picture, both as wide as the wider."""
    caption.truncate(paper.width)
    width = max(caption.cell_len, picture[0].cell_len)
    return [padded(line, width) for line in (caption, *picture)]


def padded(line: Text, width: int) -> Text:
    """Fill a line with spaces to a width in cells."""
    return Text.assemble(line, " " * max(0, width - line.cell_len))


def in_rows(pictures: Sequence[Picture], width: int) -> list[Text]:
    """Pictures side by side, as many as fit beside each other, then below."""
    rows: list[list[Picture]] = []
    used = 0
    for picture in pictures:
        wide = picture[0].cell_len + GAP
        if rows and used + wide <= width + GAP:
            rows[-1].append(picture)
            used += wide
        else:
            rows.append([picture])
            used = wide
    return [line for row in rows for line in _beside(row)]


def _beside(row: Sequence[Picture]) -> list[Text]:
    lines = []
    for n in range(max(map(len, row))):
        line = Text()
        for picture in row:
            part = picture[n] if n < len(picture) else Text()
            line.append_text(padded(part, picture[0].cell_len + GAP))
        line.rstrip_end(max(0, cells(line.plain.rstrip())))
        lines.append(line)
    return lines
