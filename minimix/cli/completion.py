"""``minimix completion``: a script that lets the shell complete minimix's command line."""

from __future__ import annotations

import argparse

from minimix.cli import output
from minimix.cli.parser import CommandParser

_EXAMPLES = """
minimix completion bash > ~/.local/share/bash-completion/completions/minimix
minimix completion zsh > "${fpath[1]}/_minimix"
eval "$(minimix completion bash)"      for this shell only
"""

_FILES = ("inputs", "from_file", "model")


def add_command(parser: CommandParser) -> None:
    """Add ``completion`` to the parser."""
    command = parser.add_command(
        "completion", "SHELL", "print a shell's completion script", _EXAMPLES, group="MANAGE"
    )
    command.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="the shell")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; 0."""
    import shtab

    from minimix.cli.parser import build_parser

    parser = build_parser()
    _complete_files(parser, shtab.FILE)
    output.write(shtab.complete(parser, shell=arguments.shell) + "\n")
    return 0


def _complete_files(parser: CommandParser, how: object) -> None:
    """Mark the arguments that name files, here and in all commands below."""
    for action in parser._actions:
        if action.dest in _FILES:
            action.complete = how  # type: ignore[attr-defined]
    for command in parser.commands.values():
        _complete_files(command, how)
