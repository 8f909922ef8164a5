"""What commands have in common that go on where they were cut: options, notes, failed inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from minimix.cli import output
from minimix.cli.parser import CommandParser


def add_resuming(parser: CommandParser) -> None:
    """Add --force and --restart."""
    parser.add_argument("--force", action="store_true", help="replace existing files")
    parser.add_argument(
        "--restart", action="store_true", help="discard what a run that was cut left behind"
    )


@contextmanager
def kept_when_interrupted(folder: Path) -> Iterator[None]:
    """On Ctrl-C, say where the work is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        if folder.is_dir():
            output.note(
                output.printable(
                    f"interrupted: what is done is kept in {folder}; the same command goes on, "
                    "with --restart it begins anew"
                )
            )
        raise


def report_failed(failed: Sequence[tuple[str, str]], count: int) -> None:
    """Write every input that failed and why, then how many of how many."""
    for name, why in failed:
        output.error(f"{name}: {why}")
    if failed:
        output.note(f"{len(failed):,} of {count:,} inputs failed")
