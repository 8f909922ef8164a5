"""The keyboard itself: a real terminal's bytes are read as keys, and the terminal is given back."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="terminals of this kind are POSIX")

if sys.platform != "win32":
    import pty
    import termios

from minimix.cli.keys import keyboard  # noqa: E402 - after what only some systems have


@pytest.fixture
def terminal(monkeypatch):
    """A terminal that is standard input: what a person types on, and what the program has."""
    ours, theirs = pty.openpty()
    with os.fdopen(os.dup(theirs), "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield ours, theirs
    for handle in (ours, theirs):
        try:
            os.close(handle)
        except OSError:  # a test has
            continue


@contextmanager
def restored(theirs):
    """Check that a terminal is as it was, and that it was not meanwhile."""
    before = termios.tcgetattr(theirs)
    yield before
    assert termios.tcgetattr(theirs) == before


def test_keys_come_without_a_line_and_the_terminal_is_given_back(terminal):
    ours, theirs = terminal
    with restored(theirs) as before, keyboard() as keys:
        assert termios.tcgetattr(theirs) != before
        os.write(ours, b"n\x1b[C\x1b[6~\xc3\xa4")
        assert keys.read(5) == ["n", "right", "page down", "ä"]
        assert keys.read(0) == []


def test_a_sequence_that_comes_in_pieces_is_one_key(terminal):
    ours, _ = terminal

    def send():
        for piece in (b"\x1b", b"[", b"A"):
            os.write(ours, piece)
            time.sleep(0.01)

    with keyboard() as keys:
        sender = threading.Thread(target=send)
        sender.start()
        try:
            assert keys.read(5) == ["up"]
        finally:
            sender.join()
        os.write(ours, b"\x1b")
        assert keys.read(5) == ["escape"]


def test_a_terminal_that_goes_away_is_the_end_of_input(terminal):
    ours, _ = terminal
    with keyboard() as keys:
        os.close(ours)
        try:
            assert keys.read(5) == ["end of input"]
        except OSError as error:  # what some systems say of it
            pytest.skip(f"here it is an error: {error}")


def test_while_it_is_suspended_the_terminal_is_the_shells(terminal, monkeypatch):
    _, theirs = terminal
    seen = []

    def stop(process, number):
        seen.append((process, number, termios.tcgetattr(theirs)))

    with restored(theirs) as before, keyboard() as keys:
        own = termios.tcgetattr(theirs)
        monkeypatch.setattr(os, "kill", stop)
        keys.suspend()
        assert seen == [(os.getpid(), signal.SIGTSTP, before)]
        assert termios.tcgetattr(theirs) == own


def test_where_a_picture_comes_through_standard_input_keys_come_from_the_terminal(
    terminal, monkeypatch
):
    ours, theirs = terminal
    real, opened = os.open, []

    def of_the_process(path, flags, *more):
        if path != "/dev/tty":
            return real(path, flags, *more)
        opened.append(os.dup(theirs))
        return opened[0]

    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(os, "open", of_the_process)
    with keyboard() as keys:
        os.write(ours, b"q")
        assert keys.read(5) == ["q"]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])


def test_without_a_terminal_there_are_no_keys(monkeypatch):
    def refuse(*arguments):
        raise OSError("no such device")

    monkeypatch.setattr(sys, "stdin", None)
    monkeypatch.setattr(os, "open", refuse)
    with keyboard() as keys:
        assert keys is None
