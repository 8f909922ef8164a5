"""``minimix step``: walk through a network in the terminal, one node after another."""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from typing import TYPE_CHECKING

from minimix.cli import output
from minimix.cli.loading import load_model
from minimix.cli.parser import (
    CommandParser,
    add_color,
    add_engine,
    add_exif,
    add_model,
    add_quiet,
    add_threads,
)
from minimix.cli.progress import note_compilation
from minimix.errors import UsageError
from minimix.inputs import find_inputs

if TYPE_CHECKING:
    from minimix.images import Source

_EXAMPLES = """
minimix step panda.jpg                    n next, p back, ? all keys
minimix step panda.jpg --from blocks.3 --all
minimix step panda.jpg --only '*.se' --print
minimix step panda.jpg | less             every step, one after another
"""


def add_command(parser: CommandParser) -> None:
    """Add ``step`` to the parser."""
    command = parser.add_command(
        "step",
        "IMAGE [options]",
        "walk through a network in the terminal, node by node",
        _EXAMPLES,
        group="LOOK",
    )
    command.add_argument(
        "input", metavar="IMAGE", help="a picture: a file, an http(s) URL, or - for standard input"
    )
    command.add_argument(
        "--all", action="store_true", help="batch norms and activations as steps of their own"
    )
    command.add_argument(
        "--from", dest="start", metavar="NODE", help="begin at this node, or at what begins so"
    )
    command.add_argument(
        "--only", metavar="PATTERN", default="*", help="stop at what matches, such as '*.mixconv'"
    )
    command.add_argument(
        "--print", action="store_true", help="print the steps, as when output is no terminal"
    )
    add_model(command)
    add_engine(command)
    add_exif(command)
    add_color(command)
    add_threads(command)
    add_quiet(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Walk, or print every step; 0."""
    from minimix.cli.step_terminal import Terminal, print_steps, walk_through
    from minimix.stepping import Walk

    source = _open(arguments.input, arguments.offline)
    model = load_model(arguments, arguments.engine, arguments.threads)
    if model.engine.name == "compiled" and not arguments.quiet:
        note_compilation()
    walk = Walk(model, source, exif=arguments.exif, whole=arguments.all, only=arguments.only)
    start = 0 if arguments.start is None else walk.jump(arguments.start)
    terminal = Terminal(output.screen(arguments.color))
    if arguments.print or sys.stdout is None or not sys.stdout.isatty():
        print_steps(walk, start, terminal)
    else:
        walk_through(walk, start, terminal)
    return 0


def _open(name: str, offline: bool) -> Source:
    """The one picture that was named.

    Raises:
        InputError: it cannot be had.
        UsageError: the name stands for several, or for none.
    """
    found = list(islice(find_inputs([name], offline=offline), 2))
    if len(found) != 1:
        raise UsageError(f"{name}: stands for {'no picture' if not found else 'several'}; name one")
    return found[0].open()
