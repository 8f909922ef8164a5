"""``fetch``: a released checkpoint as it is, checked and unconverted."""

from __future__ import annotations

import argparse
from pathlib import Path

from minimix.cli.fetching import fetch_progress
from minimix.cli.parser import CommandParser, add_offline, add_quiet, add_weights
from minimix.errors import UsageError
from weights_tools.commands.writing import say

_EXAMPLES = """
python -m weights_tools fetch mixnet-s
python -m weights_tools fetch mixnet-l --weights tf -o mixnet-l.tar.gz
"""
_MORE = """
To use a model there is no need to fetch it first: minimix --model NAME does that, and converts.
This keeps the released file itself.  minimix models show NAME says what it is checked against."""


def add_command(parser: CommandParser) -> None:
    """Add ``fetch`` to the parser."""
    command = parser.add_command(
        "fetch",
        "NAME [-o FILE] [options]",
        "download a released checkpoint and check it",
        _EXAMPLES,
    )
    command.epilog = _MORE
    command.add_argument("name", metavar="NAME", help="a model's name, such as mixnet-s")
    add_weights(command)
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        metavar="FILE",
        help="the file to write (default: the release's own name, which says what is in it)",
    )
    add_offline(command)
    add_quiet(command)
    command.add_argument("--force", action="store_true", help="replace an existing file")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Download the file; 0.

    Raises:
        UsageError: it is the embedded model.
    """
    from minimix import hub

    release = hub.find(arguments.name, arguments.weights)
    if release is None:
        raise UsageError(f"{arguments.name}: ships inside the package; there is nothing to fetch")
    with fetch_progress(quiet=arguments.quiet) as progress:
        path = hub.fetch_release(
            release,
            arguments.out or Path(release.file),
            progress=progress,
            offline=arguments.offline,
            force=arguments.force,
        )
    say(f"{path}: {release.title}, {path.stat().st_size:,} bytes")
    say(f"checked: {release.check_text}")
    return 0
