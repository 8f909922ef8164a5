"""The confusion of classes as a table of counts, and as a picture of shares."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from minimix.palette import coloured

Counts = NDArray[np.int64]
"""(classes, classes): pictures by true class (rows) and predicted class (columns)."""

LEGIBLE = 100
"""Classes up to which the picture names them."""

_SIDE, _MARGIN, _LINE, _TEXT = 1000, 16, 18, 12
_ROOMY = 2 * _TEXT
"""Pixels of a cell from which on a number fits into it."""
_LONGEST = 40
"""Characters of a name that are shown."""
_INK, _PAPER, _ABSENT = (17, 24, 39), (255, 255, 255), (229, 231, 235)


def write_csv(path: Path, confusion: Counts, labels: Sequence[str]) -> None:
    """Write the counts; the first column names the true class, the first line the predicted."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["true \\ predicted", *labels])
        for label, row in zip(labels, confusion.tolist(), strict=True):
            writer.writerow([label, *row])


def write_picture(path: Path, confusion: Counts, labels: Sequence[str]) -> None:
    """Write a PNG: each row shows what became of a class's pictures; grey rows have none."""
    picture(confusion, labels).save(path, "PNG")


def shares(confusion: Counts) -> NDArray[np.float64]:
    """Counts -> shares of each row; NaN where a class has no pictures."""
    counts = confusion.sum(axis=1, keepdims=True)
    result: NDArray[np.float64] = np.divide(
        confusion, counts, out=np.full(confusion.shape, np.nan), where=counts > 0
    )
    return result


def cells(confusion: Counts, side: int) -> NDArray[np.uint8]:
    """Counts -> (classes * side, classes * side, 3) colours, a square of pixels a cell.

    Colours stand for the root of a share: what is confused now and then would else be as dark as
    what never is.
    """
    values = shares(confusion)
    colours = coloured(np.sqrt(values), 0, 1)
    colours[np.isnan(values)] = _ABSENT
    return colours.repeat(side, axis=0).repeat(side, axis=1)


def picture(confusion: Counts, labels: Sequence[str]) -> Image.Image:
    """The matrix with its scale, and the classes' names where they can be read."""
    classes = len(labels)
    side = max(1, _SIDE // max(1, classes), _TEXT + 2 if classes <= LEGIBLE else 1)
    matrix = Image.fromarray(cells(confusion, side))
    font = ImageFont.load_default(_TEXT)
    named = classes <= LEGIBLE
    labels = [_shortened(label) for label in labels]
    widest = max((int(font.getlength(label)) for label in labels), default=0)
    indent = (widest if named else _LINE) + 2 * _MARGIN
    head = _MARGIN + 2 * _LINE
    foot = (widest if named else _LINE) + 3 * _MARGIN + 2 * _LINE
    sheet = Image.new("RGB", (indent + matrix.width + _MARGIN, head + matrix.height + foot), _PAPER)
    sheet.paste(matrix, (indent, head))
    draw = ImageDraw.Draw(sheet)
    title = "rows: true class; columns: predicted class"
    if not confusion.any(axis=1).all():
        title += "; grey: no pictures"
    draw.text((indent, _MARGIN), title, _INK, font)
    if named:
        _name_rows_and_columns(sheet, labels, side, (indent, head), font)
    if side >= _ROOMY:
        _number_cells(draw, shares(confusion), side, (indent, head), font)
    _scale(sheet, (indent, sheet.height - _MARGIN - 2 * _LINE), font)
    return sheet


def _name_rows_and_columns(
    sheet: Image.Image, labels: Sequence[str], side: int, origin: tuple[int, int], font: Any
) -> None:
    left, top = origin
    draw = ImageDraw.Draw(sheet)
    for n, label in enumerate(labels):
        middle = n * side + side // 2
        draw.text((left - _MARGIN // 2, top + middle), label, _INK, font, anchor="rm")
        strip = Image.new("RGB", (max(1, int(font.getlength(label)) + 2), _LINE), _PAPER)
        ImageDraw.Draw(strip).text((strip.width, _LINE // 2), label, _INK, font, anchor="rm")
        turned = strip.transpose(Image.Transpose.ROTATE_90)
        below = top + len(labels) * side + _MARGIN // 2
        sheet.paste(turned, (left + middle - _LINE // 2, below))


def _shortened(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 3] + "..."


def _number_cells(
    draw: ImageDraw.ImageDraw,
    values: NDArray[np.float64],
    side: int,
    origin: tuple[int, int],
    font: Any,
) -> None:
    """Write the share in percent into every cell that has one, as far as it rounds to 1 or more."""
    left, top = origin
    for i, j in np.argwhere(values >= 0.005).tolist():
        # The map goes from dark to light; at a quarter both inks can be read.
        ink = _INK if values[i, j] > 0.25 else _PAPER
        middle = (left + j * side + side // 2, top + i * side + side // 2)
        draw.text(middle, f"{100 * values[i, j]:.0f}", ink, font, anchor="mm")


def _scale(sheet: Image.Image, origin: tuple[int, int], font: Any) -> None:
    """What the colours mean: from no picture of a class to all of them."""
    left, top = origin
    ramp = coloured(np.linspace(0, 1, 256)[None].repeat(_LINE, axis=0), 0, 1)
    sheet.paste(Image.fromarray(ramp), (left, top))
    draw = ImageDraw.Draw(sheet)
    for percent in (0, 5, 25, 50, 100):
        place = left + round(255 * math.sqrt(percent / 100))
        draw.line((place, top + _LINE, place, top + _LINE + 3), _INK)
        draw.text((place, top + _LINE + 5), f"{percent}", _INK, font, anchor="ma")
    draw.text((left + 280, top + _LINE + 5), "% of the class", _INK, font)
