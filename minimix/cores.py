"""How many threads to use: what is asked for, what the environment says, what there is."""

from __future__ import annotations

import os

from minimix.errors import UsageError

THREADS_VARIABLE = "MINIMIX_THREADS"
MOST_THREADS = 128


def available_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_count(asked: int | None = None) -> int:
    """Threads for the compiled engine: the argument, else ``MINIMIX_THREADS``, else the cores.

    >>> thread_count(3)
    3

    Raises:
        UsageError: it is no whole number from 1 to 128.
    """
    text = os.environ.get(THREADS_VARIABLE, "")
    if asked is None and text:
        if not (text.isascii() and text.isdigit()):
            raise UsageError(f"{THREADS_VARIABLE} is {text!r}; expected a whole number from 1 up")
        asked = int(text)
    threads = min(available_cores(), MOST_THREADS) if asked is None else asked
    if not 1 <= threads <= MOST_THREADS:
        raise UsageError(f"threads is {threads}; expected at least 1 and at most {MOST_THREADS}")
    return threads
