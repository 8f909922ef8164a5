"""A terminal: how text gets there, and walking through the stops on it, with keys or lines."""

from __future__ import annotations

import io
import os
import shutil
import sys
from typing import Literal

from rich.console import Console
from rich.text import Text

from minimix.cli import output
from minimix.cli.keys import Keys, keyboard
from minimix.cli.step_browser import Browser, Lines
from minimix.cli.step_pictures import Paper
from minimix.cli.step_view import View
from minimix.stepping import Walk

NARROWEST, WIDEST = 40, 200
POLL_SECONDS = 0.25
"""How often a new size of the window is looked for."""

_ENTER = "\x1b[?1049h\x1b[?25l"
_LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"


class Terminal:
    """How text becomes what standard output can show."""

    def __init__(self, screen: output.Screen) -> None:
        self.screen = screen

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        found = shutil.get_terminal_size()
        return min(max(found.columns, NARROWEST), WIDEST), max(found.lines, 2)

    def lines_of(self, walk: Walk, width: int) -> Lines:
        """Return what shows a stop on that many columns."""
        colours: Literal["truecolor", "256", "none"] = "none"
        if self.screen.color and self.screen.unicode and (found := _colours()) != "standard":
            colours = found
        return View(walk, Paper(width, colours, self.screen.unicode)).lines

    def encoded(self, lines: list[Text], width: int) -> list[str]:
        """Lines with their colours as escape sequences, if any are wanted."""
        if not self.screen.color:
            found = [line.plain.rstrip() for line in lines]
        else:
            console = self._console(width)
            with console.capture() as capture:
                for line in lines:
                    console.print(line, no_wrap=True, crop=False, overflow="ignore")
            found = capture.get().split("\n")[:-1]
        return found if self.screen.unicode else [text.translate(_ASCII) for text in found]

    def _console(self, width: int) -> Console:
        return Console(
            file=io.StringIO(),  # on standard output, rich would end the process at a closed pipe
            width=width,
            force_terminal=self.screen.color,
            color_system=_colours() if self.screen.color else None,
            legacy_windows=False,
            highlight=False,
            markup=False,
            emoji=False,
        )


def _colours() -> Literal["standard", "256", "truecolor"]:
    """What colours the terminal has: ``truecolor``, ``256`` or ``standard``."""
    if os.environ.get("COLORTERM") in ("truecolor", "24bit") or "WT_SESSION" in os.environ:
        return "truecolor"
    return "256" if os.environ.get("TERM", "").endswith("256color") else "standard"


_ASCII = str.maketrans(
    {"×": "x", "→": "->", "−": "-", "–": "-", "·": ".", "■": "#", "Σ": "sum", "√": "sqrt",
     "γ": "gamma", "β": "beta", "μ": "mu", "σ": "sigma", "²": "^2", "₁": "1", "₂": "2",
     "↓": "down", "↑": "up", "←": "<-", "…": "..."}
)  # fmt: skip


def print_steps(walk: Walk, start: int, terminal: Terminal) -> None:
    """Write every step from a place on, an empty line between."""
    width, _ = terminal.size
    lines = terminal.lines_of(walk, width)
    for place in range(start, len(walk)):
        text = "\n".join(terminal.encoded(lines(place), width))
        output.write(("\n" if place > start else "") + text + "\n")


def walk_through(walk: Walk, start: int, terminal: Terminal) -> None:
    """Walk with keys where the terminal has them, with lines where it is a plain one."""
    width, _ = terminal.size
    browser = Browser(walk, terminal.lines_of(walk, width), start)
    if os.environ.get("TERM") == "dumb":
        _walk_by_lines(browser, terminal)
        return
    with keyboard() as keys:
        if keys is None:
            print_steps(walk, start, terminal)
        else:
            _walk_by_keys(browser, keys, terminal)


def _walk_by_keys(browser: Browser, keys: Keys, terminal: Terminal) -> None:
    output.write(_ENTER)
    try:
        shown: tuple[int, int] | None = None
        goes_on = True
        while goes_on:
            if terminal.size != shown:
                shown = terminal.size
                browser.lines = terminal.lines_of(browser.walk, shown[0])
                _show(browser, shown, terminal)
            for key in keys.read(POLL_SECONDS):
                if key == "suspend":
                    _suspend(keys)
                elif not browser.press(key):
                    goes_on = False
                    break
                shown = None
    finally:
        output.write(_LEAVE)
        output.flush()


def _suspend(keys: Keys) -> None:
    output.write(_LEAVE)
    output.flush()
    keys.suspend()
    output.write(_ENTER)


def _show(browser: Browser, size: tuple[int, int], terminal: Terminal) -> None:
    lines = terminal.encoded(browser.frame(*size), size[0])
    body = f"{_CLEAR_LINE}\r\n".join(lines)
    output.write(f"{_HOME}{body}{_CLEAR_LINE}{_CLEAR_REST}")
    output.flush()


def _walk_by_lines(browser: Browser, terminal: Terminal) -> None:
    """For terminals that cannot move the cursor: a line with a key, or j NODE, or /TEXT."""
    last: int | None = None
    while True:
        if browser.place != last:
            last = browser.place
            width, _ = terminal.size
            output.write("\n".join(terminal.encoded(browser.lines(last), width)) + "\n")
        output.write(f"{browser.message or 'Enter next, p back, b block, j NODE, /TEXT, q quit'}: ")
        output.flush()
        line = sys.stdin.readline() if sys.stdin is not None else ""
        if not line or not press_line(browser, line.strip()):
            return


def press_line(browser: Browser, line: str) -> bool:
    """What was typed before Enter, as keys."""
    if line[:1] in ("j", "/"):
        keys = [line[0], *line[1:].strip(), "enter"]
    else:
        keys = [line or "n"]
    return all([browser.press(key) for key in keys])
