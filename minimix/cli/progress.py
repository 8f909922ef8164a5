"""A progress bar on standard error, for people who wait."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from minimix.cli import output

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import ProgressColumn


class Progress:
    """A bar that steps aside while results are written; silent if made without one."""

    def __init__(self, bar: RichProgress | None, total: int | None) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("pictures", total=total)

    def advance(self, count: int) -> None:
        """Count so many inputs as done."""
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, count)

    def show(self, done: int, total: int) -> None:
        """Say how many inputs are done, of how many."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the bar off the terminal, which results may share with it."""
        if self._bar is not None:
            self._bar.stop()
        yield
        if self._bar is not None:
            self._bar.start()


@contextmanager
def progress(wanted: bool, total: int | None) -> Iterator[Progress]:
    """Yield a bar for so many inputs (None: unknown) if wanted and standard error is a terminal."""
    if not wanted or sys.stderr is None or not sys.stderr.isatty():
        yield Progress(None, total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with rich_bar(*columns) as bar:
        yield Progress(bar, total)


def rich_bar(*columns: ProgressColumn) -> RichProgress:
    """A bar of these columns, on standard error while it is entered, and gone afterwards."""
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    # Redirection would send results, too, to the console's standard error.
    return RichProgress(
        *columns,
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )


def note_compilation() -> None:
    """Have a note written if the compiled engine must compile before it can run."""
    from minimix.engine import watch_compilation

    told = False

    def tell(_: int) -> None:
        nonlocal told
        if not told:
            told = True
            output.note("compiling kernels for this machine, once ...")

    watch_compilation(tell)


@contextmanager
def compilation_bar() -> Iterator[None]:
    """Show a bar while kernels are compiled, if standard error is a terminal."""
    from minimix.engine import watch_compilation

    with ExitStack() as stack:
        bar: Progress | None = None

        def show(left: int) -> None:
            nonlocal bar
            if bar is None:
                bar = stack.enter_context(progress(True, left))
            else:
                bar.advance(1)

        watch_compilation(show)
        stack.callback(watch_compilation, None)
        yield
