"""The command line: one file per command; the only room that prints or exits."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from minimix.cli import output
from minimix.cli.parser import CommandParser, build_parser, parse
from minimix.errors import MinimixError

BUG, NO_MEMORY, INTERRUPTED, TERMINATED = 1, 1, 130, 143
"""Exit codes beside those of ``minimix.errors``; 0 is all done, 2 is argparse's for usage."""

_NO_THREAD = "can't start new thread"
"""Python's words where the system has no room for another stack: a RuntimeError of no own kind."""


class _Terminated(KeyboardInterrupt):
    """SIGTERM arrived: leave as on Ctrl-C, with another exit code."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line on ``argv``, by default the process's own, and exit with its code."""
    run_parser(build_parser, argv)


def run_parser(build: Callable[[], CommandParser], argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``argv`` names in a parser, and exit with minimix's codes."""
    output.escape_what_cannot_be_encoded()
    try:
        with _sigterm_raises():
            code = _run(build, sys.argv[1:] if argv is None else argv)
            output.flush()
    except _Terminated:
        code = TERMINATED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough, as in `minimix models list | head -1`: no error of ours.
        output.abandon(sys.stdout)
        code = 0
    except MinimixError as error:
        output.error(str(error))
        code = error.exit_code
    sys.exit(code)


def _run(build: Callable[[], CommandParser], argv: Sequence[str]) -> int:
    try:
        arguments = parse(build(), argv)
        code: int = arguments.run(arguments)
    except SystemExit as left:  # argparse, after --help or an error
        return left.code if isinstance(left.code, int) else 0
    except (BrokenPipeError, MinimixError):
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or _NO_THREAD in str(error):
            output.error(
                f"the system gives this process no more memory: {error or 'none at all'}. "
                "--threads 1 and --batch 1 need the least; ulimit -a shows the limits"
            )
            return NO_MEMORY
        import traceback  # costs more than the rest of this file, and is seldom needed

        traceback.print_exc()
        output.error("this is a bug in minimix; please report it with the lines above")
        return BUG
    return code


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    def raise_terminated(signum: int, frame: FrameType | None) -> NoReturn:
        raise _Terminated

    # Only the main thread may set handlers; elsewhere the process keeps its own.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
