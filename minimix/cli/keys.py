"""Single keys from the terminal, without waiting for a line; the terminal is left as it was."""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

ESCAPE = "\x1b"
_SEQUENCE = re.compile("\x1b(?:\\[|O)([0-9;]*)([A-Za-z~])")
_LETTERS = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end"}
_NUMBERS = {"1": "home", "4": "end", "5": "page up", "6": "page down", "7": "home", "8": "end"}
_CONTROLS = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x04": "end of input",
    "\x1a": "suspend",
}
# What Windows sends after a zero or 0xe0.
_WINDOWS = {"H": "up", "P": "down", "M": "right", "K": "left", "G": "home", "O": "end",
            "I": "page up", "Q": "page down"}  # fmt: skip


def split_keys(text: str) -> list[str]:
    r"""What a terminal sent -> keys: characters, and names for those without one.

    >>> split_keys("n\x1b[C\x1b[6~\r\x1b")
    ['n', 'right', 'page down', 'enter', 'escape']
    """
    keys: list[str] = []
    place = 0
    while place < len(text):
        found = _SEQUENCE.match(text, place)
        if found:
            number, letter = found.groups()
            name = _NUMBERS.get(number, "") if letter == "~" else _LETTERS.get(letter, "")
            keys += [name] if name else []  # a key that we know no name of
            place = found.end()
        else:
            character = text[place]
            keys.append("escape" if character == ESCAPE else _CONTROLS.get(character, character))
            place += 1
    return keys


class Keys(Protocol):
    """Where keys come from."""

    def read(self, seconds: float) -> list[str]:
        """Keys that were pressed, waiting at most that long; ``end of input`` if none can come."""

    def suspend(self) -> None:
        """Stop the process as Ctrl-Z does, with the terminal as it was; return when it goes on."""


@contextmanager
def keyboard() -> Iterator[Keys | None]:
    """Yield the terminal's keys, or None where there is no terminal to read them from."""
    if sys.platform == "win32":
        yield _WindowsKeys() if sys.stdin is not None and sys.stdin.isatty() else None
        return
    with _terminal() as handle:
        if handle is None:
            yield None
            return
        keys = _PosixKeys(handle)
        keys.start()
        try:
            yield keys
        finally:
            keys.stop()


@contextmanager
def _terminal() -> Iterator[int | None]:
    """Standard input if it is a terminal, else the one that the process belongs to, if any."""
    if sys.stdin is not None and sys.stdin.isatty():
        yield sys.stdin.fileno()
        return
    handle = None
    # A picture may have come through standard input; without a terminal there is nobody to ask.
    with suppress(OSError):
        handle = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


if sys.platform != "win32":
    import select
    import signal
    import termios
    import tty

    _SEQUENCE_SECONDS = 0.05
    """How long the rest of an arrow key may take after its escape, over a slow line."""

    class _PosixKeys:
        def __init__(self, handle: int) -> None:
            self.handle = handle
            self.before = termios.tcgetattr(handle)
            self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

        def start(self) -> None:
            tty.setcbreak(self.handle)
            attributes = termios.tcgetattr(self.handle)
            # Ctrl-Z must come as a key: first the screen has to be given back.
            attributes[6][termios.VSUSP] = b"\x00"
            termios.tcsetattr(self.handle, termios.TCSANOW, attributes)

        def stop(self) -> None:
            # The terminal may be gone, and with it what there was to restore.
            with suppress(termios.error):
                termios.tcsetattr(self.handle, termios.TCSADRAIN, self.before)

        def read(self, seconds: float) -> list[str]:
            """Read what was typed."""
            if not self._waits(seconds):
                return []
            content = os.read(self.handle, 1024)
            if not content:
                return ["end of input"]
            while content.endswith((b"\x1b", b"\x1b[", b"\x1bO")) and self._waits(
                _SEQUENCE_SECONDS
            ):
                content += os.read(self.handle, 1024)
            return split_keys(self.decoder.decode(content))

        def suspend(self) -> None:
            """Stop until the shell lets the process go on."""
            self.stop()
            os.kill(os.getpid(), signal.SIGTSTP)
            self.start()

        def _waits(self, seconds: float) -> bool:
            return bool(select.select([self.handle], [], [], seconds)[0])


if sys.platform == "win32":
    import msvcrt
    import time

    class _WindowsKeys:
        def read(self, seconds: float) -> list[str]:
            """Read one key."""
            until = time.monotonic() + seconds
            while not msvcrt.kbhit():
                if time.monotonic() >= until:
                    return []
                time.sleep(0.02)
            key = msvcrt.getwch()
            if key in ("\x00", "\xe0"):
                name = _WINDOWS.get(msvcrt.getwch(), "")
                return [name] if name else []
            if key == "\x03":
                raise KeyboardInterrupt
            return split_keys(key)

        def suspend(self) -> None:
            """Windows has no such thing."""
