"""The one family of errors.  Each child knows the exit code that the command line gives it."""

from __future__ import annotations


class MinimixError(Exception):
    """Base of every error that minimix raises on purpose.

    A message says where, what was expected, what was found, and what to do next.
    """

    exit_code = 1


class UsageError(MinimixError):
    """The call itself is wrong: an unknown option, an impossible size, an output that exists."""

    exit_code = 2


class InputError(MinimixError):
    """One input (a picture, a list of paths, a URL) is missing, unreadable or refused."""

    exit_code = 3


class WeightsError(MinimixError):
    """A model or checkpoint is missing, corrupt, refused, or is not what it was said to be."""

    exit_code = 4


class CheckError(MinimixError):
    """A comparison ran and its result is outside the stated budget."""

    exit_code = 5


class GraphError(MinimixError):
    """A graph, a block string or a shape that cannot be executed; the message names the node."""

    exit_code = 2


class OutputError(MinimixError):
    """A result could not be written: the disk is full, the folder is read-only."""

    exit_code = 1


def brief(found: object, most: int = 500) -> str:
    r"""What a file says of itself -> a text that is short and does not speak to the terminal.

    >>> brief("\x1b[2J" + "a" * 9, 10)
    '\\x1b[2Jaaa ...'
    """
    text = str(found)
    text = text if text.isprintable() else text.encode("unicode_escape").decode()
    return text if len(text) <= most else f"{text[:most]} ..."
