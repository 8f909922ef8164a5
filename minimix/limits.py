"""Limits that a user may meet: a constant where each is needed, and a variable that overrides it.

``SECURITY.md`` lists all of them.  The environment is read whenever a limit is asked for.
"""

from __future__ import annotations

import os
from typing import TypeVar

from minimix.errors import UsageError

Number = TypeVar("Number", int, float)

_MOST_DIGITS = 15


def in_force(variable: str, default: Number) -> Number:
    """Variable of the environment, default -> the limit in force.

    >>> in_force("MINIMIX_MAX_NOTHING", 7)
    7

    Raises:
        UsageError: the variable is set, but to no whole number from 1 up.
    """
    value = os.environ.get(variable, "")
    return positive(variable, value, type(default)) if value else default


def positive(where: str, value: str, kind: type[Number]) -> Number:
    """Text -> the whole number from 1 up that it is.

    Raises:
        UsageError: it is none, or beyond what any machine has.
    """
    is_number = value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS
    if not is_number or int(value) < 1:
        raise UsageError(
            f"{where} is {value[:40]!r}; expected a positive whole number of at most "
            f"{_MOST_DIGITS} digits"
        )
    return kind(value)
