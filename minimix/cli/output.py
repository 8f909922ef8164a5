"""How results and notes reach the terminal: streams, colour, bars, aligned columns, tables."""

from __future__ import annotations

import io
import json
import math
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TextIO

from minimix.errors import OutputError

ColorWish = Literal["auto", "always", "never"]
Alignment = Literal["<", ">"]

BAR_CELLS = 19
"""Width of a bar that stands for 100 %."""

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_PLAIN_SIGNS = str.maketrans({"·": "|", "—": "-", "…": "...", "×": "x", "─": "-"})
# What would move the cursor, break the line, reorder the text, or cannot be encoded.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

# Kernel size -> its colour, as 24-bit RGB and as the nearest of the 256 of older terminals.
_KERNEL_COLORS = {
    3: ((0x00, 0x72, 0xB2), 25),
    5: ((0xE6, 0x9F, 0x00), 178),
    7: ((0x00, 0x9E, 0x73), 36),
    9: ((0xCC, 0x79, 0xA7), 175),
    11: ((0xD5, 0x5E, 0x00), 166),
}


@dataclass(frozen=True)
class Screen:
    """What standard output can show.

    Attributes:
        color: whether escape sequences are wanted.
        bars: whether a person is looking, so that bars belong into the table.
        unicode: whether the encoding has every character.
    """

    color: bool
    bars: bool
    unicode: bool

    def bold(self, text: str) -> str:
        """Return the text, emphasised where colour is wanted."""
        return f"\x1b[1m{text}\x1b[0m" if self.color else text

    def dim(self, text: str) -> str:
        """Return the text, stepping back where colour is wanted."""
        return f"\x1b[2m{text}\x1b[0m" if self.color else text

    def kernel(self, size: int) -> str:
        """Return a kernel size in its own colour."""
        if not self.color or size not in _KERNEL_COLORS:
            return str(size)
        (red, green, blue), index = _KERNEL_COLORS[size]
        rich = os.environ.get("COLORTERM") in ("truecolor", "24bit")
        code = f"2;{red};{green};{blue}" if rich else f"5;{index}"
        return f"\x1b[1;38;{code}m{size}\x1b[0m"

    def bar(self, p: float) -> str:
        """A probability in 0..1 -> a bar of up to ``BAR_CELLS``, in eighths of a cell.

        What is printed as 0.1 % gets an eighth, and what is printed as 0.0 % none.

        >>> Screen(color=False, bars=True, unicode=True).bar(0.002)
        '▏'
        """
        eighths = math.ceil(round(p, 3) * BAR_CELLS * 8)
        if not self.unicode:
            return "#" * -(-eighths // 8)
        return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def screen(wish: ColorWish = "auto") -> Screen:
    """What standard output can show, given the user's wish about colour."""
    colored = _wants_color(wish, sys.stdout)
    looked_at = sys.stdout is not None and sys.stdout.isatty()
    return Screen(colored, looked_at or colored, has_unicode(sys.stdout))


def _wants_color(wish: ColorWish, stream: TextIO | None) -> bool:
    if wish != "auto":
        return wish == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def has_unicode(stream: TextIO | None) -> bool:
    """Whether the stream's encoding has the characters that bars and notes are made of."""
    try:
        "█▏·".encode(getattr(stream, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def escape_what_cannot_be_encoded() -> None:
    r"""Let both streams write ``\udcff`` or ``\u2588`` where they would raise an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    r"""Replace what would disturb the terminal, in a file's name or anywhere, by its escape.

    >>> print(printable("a\nb\udcff"))
    a\nb\udcff
    """
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def write(text: str) -> None:
    """Write results to standard output.

    Raises:
        OutputError: the stream is closed, or the disk is full.
        BrokenPipeError: the reader has gone.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed; send it to a file or to /dev/null")
    try:
        sys.stdout.write(text if has_unicode(sys.stdout) else text.translate(_PLAIN_SIGNS))
    except OSError as error:
        raise _unwritten(error) from error


def write_json(value: Any) -> None:
    """Write one result, indented, as a program that was asked for json expects it."""
    write(json.dumps(value, ensure_ascii=not has_unicode(sys.stdout), indent=2) + "\n")


class Results:
    """Standard output as the csv module wants it, with the errors of ``write``."""

    def write(self, text: str) -> None:
        """Write results to standard output."""
        write(text)


def flush() -> None:
    """Send what was written on its way; raises as ``write`` does."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        raise _unwritten(error) from error


def _unwritten(error: OSError) -> OSError | OutputError:
    if isinstance(error, BrokenPipeError):
        return error
    abandon(sys.stdout)
    return OutputError(f"standard output cannot be written: {error.strerror or error}")


def abandon(stream: TextIO) -> None:
    """Point a stream that cannot be written to nowhere, so that its buffer makes no noise."""
    with suppress(io.UnsupportedOperation):  # no file behind it, so nothing is left to flush
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def note(text: str) -> None:
    """Write one line to standard error."""
    if sys.stderr is None:
        return
    plain = text if has_unicode(sys.stderr) else text.translate(_PLAIN_SIGNS)
    with suppress(BrokenPipeError):  # nobody listens any more; the results still matter
        sys.stderr.write(plain + "\n")
        sys.stderr.flush()


def error(message: str) -> None:
    """Write ``error: ...`` to standard error; lines after the first stay lines."""
    note("error: " + "\n".join(printable(line) for line in message.split("\n")))


def cells(text: str) -> int:
    """Width of a text on a terminal: escape sequences take none, East Asian characters two.

    >>> cells("panda"), cells("大熊猫"), cells(Screen(True, True, True).bold("fox"))
    (5, 6, 3)
    """
    if "\x1b" in text:
        text = re.sub("\x1b\\[[0-9;]*m", "", text)
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def pad(text: str, width: int, align: Alignment = "<") -> str:
    """Fill a text with spaces to a width on the terminal."""
    space = " " * (width - cells(text))
    return text + space if align == "<" else space + text


def table(rows: Iterable[Sequence[str]], align: str) -> list[str]:
    """Cells -> aligned lines, two spaces between columns; ``align`` has one of ``<>`` for each.

    >>> table([("stem", "864"), ("head", "1,024")], "<>")
    ['stem    864', 'head  1,024']
    """
    listed = list(rows)
    widths = [max(cells(row[n]) for row in listed) for n in range(len(align))] if listed else []
    return [
        "  ".join(
            pad(cell, width, ">" if side == ">" else "<")
            for cell, width, side in zip(row, widths, align, strict=True)
        ).rstrip()
        for row in listed
    ]
