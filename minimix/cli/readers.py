"""Who reads standard output may leave early; what a command writes beside it still matters."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from minimix.cli import output


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Go on after the reader of standard output has gone, as ``head`` does."""
    try:
        yield
    except BrokenPipeError:
        output.abandon(sys.stdout)
