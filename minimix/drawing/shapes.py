"""What a drawing is made of: boxes, circles, lines and text, in pixels from the top left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]

CHARACTER, WIDE_CHARACTER, BOLDER = 0.62, 0.86, 1.1
"""Width of a character in units of the text's size, as in the wider system fonts."""

ASCENT, DESCENT = 0.78, 0.24
"""What a text takes above and below its baseline, in units of its size."""


@dataclass(frozen=True)
class Area:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: Area) -> bool:
        """Whether the two share more than an edge."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def holds(self, other: Area) -> bool:
        """Whether the other lies within."""
        return (
            self.x <= other.x
            and self.y <= other.y
            and other.x + other.width <= self.x + self.width
            and other.y + other.height <= self.y + self.height
        )


@dataclass(frozen=True)
class Box:
    """A rectangle that is drawn; ``kernel`` gives it a kernel size's colour and hatch."""

    area: Area
    css: str
    kernel: int | None = None
    tip: str = ""


@dataclass(frozen=True)
class Sign:
    """A circle with a sign of arithmetic: ``+`` or ``x``."""

    x: float
    y: float
    radius: float
    sign: Literal["+", "x"]
    tip: str = ""

    @property
    def area(self) -> Area:
        """What it takes."""
        side = 2 * self.radius
        return Area(self.x - self.radius, self.y - self.radius, side, side)


def text_width(text: str) -> float:
    """Text -> its width in units of its size, estimated.

    >>> round(text_width("3×3"), 2)
    2.1
    """
    return sum(WIDE_CHARACTER if c in "×→%mwMWG" else CHARACTER for c in text)


@dataclass(frozen=True)
class Label:
    """A line of text on a baseline."""

    x: float
    y: float
    text: str
    size: float = 11
    anchor: Anchor = "middle"
    bold: bool = False
    quiet: bool = False

    @property
    def area(self) -> Area:
        """What it takes, estimated for a wide font."""
        width = text_width(self.text) * self.size * (BOLDER if self.bold else 1)
        left = {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        height = (ASCENT + DESCENT) * self.size
        return Area(self.x - left, self.y - ASCENT * self.size, width, height)


@dataclass(frozen=True)
class Line:
    """Points joined with rounded corners; ``css`` says what flows."""

    points: tuple[Point, ...]
    css: str = "flow"
    arrow: bool = False


@dataclass
class Drawing:
    """Shapes on a sheet of that size; what comes later lies on top."""

    title: str
    description: str
    width: float
    height: float = 0
    boxes: list[Box] = field(default_factory=list)
    signs: list[Sign] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    def stack(self, x: float, y: float, texts: Sequence[str], anchor: Anchor = "middle") -> None:
        """Lines of text whose middle is at ``y``, the first one bold."""
        step = 14.0
        baseline = y - step * (len(texts) - 1) / 2 + 4
        for n, text in enumerate(texts):
            self.labels.append(
                Label(x, baseline + n * step, text, 12 if n == 0 else 11, anchor, n == 0, n > 0)
            )
