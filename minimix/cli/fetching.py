"""How a fetch looks: a bar on a terminal, a line elsewhere, nothing if quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from minimix.cli import output
from minimix.cli.progress import rich_bar
from minimix.hub.events import FetchEvent, Progress, unwatched

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


@contextmanager
def fetch_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield what shows the progress of ``minimix.hub`` on standard error, while it fetches."""
    if quiet:
        yield unwatched
        return
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    with ExitStack() as stack:
        shown = _Bar(stack) if on_terminal else _Lines()
        try:
            yield shown.show
        except KeyboardInterrupt:
            stack.close()
            if shown.is_downloading:
                output.note("interrupted: the next run goes on with the download")
            raise


class _Lines:
    """One line when a download begins, and one for each thing that goes wrong."""

    is_downloading = False

    def show(self, event: FetchEvent) -> None:
        """Write a line, unless it has been written."""
        if event.stage in ("waiting", "retrying"):
            output.note(output.printable(event.text))
        elif event.stage == "converting":
            self.is_downloading = False
        elif not self.is_downloading:
            self.is_downloading = True
            size = f" ({event.total_bytes / 1e6:.1f} MB)" if event.total_bytes else ""
            output.note(output.printable(f"downloading {event.text}{size}"))


class _Bar:
    """A bar that fills as bytes arrive; it appears with the first of them."""

    is_downloading = False

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def show(self, event: FetchEvent) -> None:
        """Bring the bar, or a line above it, up to date."""
        self.is_downloading = event.stage in ("downloading", "retrying")
        text = output.printable(event.text)
        if event.stage == "waiting":
            output.note(text)
            return
        if self._bar is None or self._task is None:
            self._bar = self._stack.enter_context(_download_bar())
            self._task = self._bar.add_task(text, total=None)
        if event.stage == "retrying":
            self._bar.console.print(text, markup=False, highlight=False)
        elif event.stage == "converting":
            self._bar.update(self._task, description=text)
        else:
            self._bar.update(
                self._task,
                description=text,
                total=event.total_bytes,
                completed=event.done_bytes,
            )


def _download_bar() -> RichProgress:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return rich_bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
