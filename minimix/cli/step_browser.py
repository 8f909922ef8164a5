"""Walking through the stops with keys: where one is, what one types, what the screen shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rich.text import Text

from minimix.cli.output import printable
from minimix.errors import UsageError
from minimix.stepping import Walk, completed

Mode = Literal["walk", "jump", "find", "help"]
Lines = Callable[[int], list[Text]]

HELP = """\
n  →  space   next step
p  ←          previous step
b  ]          first step of the next block
B  [          first step of this block, then of the one before
g  G          first and last step
j             jump to a node: its name, or how it begins; Tab completes
/             find in names and kinds; / and Enter finds the next
↓  ↑          scroll where the screen is too low; page down, page up
q  Esc        quit"""

_MOVES: dict[str, str] = {
    **dict.fromkeys(("n", "right", " "), "next"),
    **dict.fromkeys(("p", "left"), "previous"),
    **dict.fromkeys(("b", "]"), "next block"),
    **dict.fromkeys(("B", "["), "previous block"),
    **dict.fromkeys(("g", "home"), "first"),
    **dict.fromkeys(("G", "end"), "last"),
}
_MODES: dict[str, Mode] = {"j": "jump", "/": "find", "?": "help", "h": "help"}
_SCROLLS = {"down": 1, "enter": 1, "up": -1, "page down": 10, "page up": -10}


@dataclass
class Browser:
    """The state of a walk.  ``press`` changes it, ``frame`` shows it.

    Attributes:
        place: of the stop that is shown.
        offset: lines that are scrolled away.
        typed: what was typed after j or /.
        sought: what was found last.
        message: what could not be done.
    """

    walk: Walk
    lines: Lines
    place: int = 0
    offset: int = 0
    mode: Mode = "walk"
    typed: str = ""
    sought: str = ""
    message: str = ""

    def press(self, key: str) -> bool:
        """Do what a key says; whether the walk goes on."""
        self.message = ""
        if key == "end of input":
            return False
        if self.mode in ("jump", "find"):
            self._type(key)
        elif self.mode == "help":
            self.mode = "walk"
        else:
            return self._walk(key)
        return True

    def _walk(self, key: str) -> bool:
        if key in ("q", "Q", "escape"):
            return False
        if key in _MOVES:
            self._go(self._moved(_MOVES[key]))
        elif key in _SCROLLS:
            self.offset = max(0, self.offset + _SCROLLS[key])
        elif key in _MODES:
            self.mode, self.typed = _MODES[key], ""
        else:
            self.message = f"{printable(key)}: no such key; ? lists them"
        return True

    def _moved(self, move: str) -> int:
        place, last = self.place, len(self.walk) - 1
        return {
            "next": min(place + 1, last),
            "previous": max(place - 1, 0),
            "next block": self.walk.next_block(place),
            "previous block": self.walk.previous_block(place),
            "first": 0,
            "last": last,
        }[move]

    def _go(self, place: int) -> None:
        self.place, self.offset = place, 0

    def _type(self, key: str) -> None:
        if key == "escape":
            self.mode = "walk"
        elif key == "backspace":
            self.typed = self.typed[:-1]
        elif key == "tab" and self.mode == "jump":
            self.typed = completed(self.typed, self.walk.names)
        elif key == "enter":
            self._accept()
        elif len(key) == 1 and key.isprintable():
            self.typed += key

    def _accept(self) -> None:
        mode, self.mode = self.mode, "walk"
        try:
            if mode == "jump" and self.typed:
                self._go(self.walk.jump(self.typed))
            elif mode == "find" and (self.typed or self.sought):
                self.sought = self.typed or self.sought
                self._go(self.walk.find(self.sought, self.place))
        except UsageError as error:
            self.message = str(error)

    def frame(self, width: int, height: int) -> list[Text]:
        """Lines for a screen, ``height`` of them, none wider; the last one says what to press."""
        content = [Text(line) for line in HELP.splitlines()] if self.mode == "help" else None
        shown = self.lines(self.place) if content is None else content
        room = max(1, height - 1)
        self.offset = min(self.offset, max(0, len(shown) - room))
        below = len(shown) - self.offset - room
        page = shown[self.offset : self.offset + room]
        page += [Text()] * (room - len(page))
        footer = self._footer(below)
        for line in (*page, footer):
            line.truncate(width)
        return [*page, footer]

    def _footer(self, below: int) -> Text:
        if self.mode == "jump":
            return Text.assemble(("jump to: ", "bold"), self.typed, "_", *self._offers())
        if self.mode == "find":
            again = f"  (Enter: {self.sought} again)" if self.sought and not self.typed else ""
            return Text.assemble(("find: ", "bold"), self.typed, "_", (again, "dim"))
        if self.mode == "help":
            return Text("any key goes back", "dim")
        if self.message:
            return Text(self.message, "bold")
        more = f"↓ {below} more lines   " if below > 0 else ""
        keys = "n next  p back  b B block  j jump  / find  ? help  q quit"
        return Text.assemble((more, "bold"), (keys, "dim"))

    def _offers(self) -> list[tuple[str, str]]:
        found = [name for name in self.walk.names if name.startswith(self.typed)]
        return [("  " + " ".join(found[:6]) + (" ..." if len(found) > 6 else ""), "dim")]
