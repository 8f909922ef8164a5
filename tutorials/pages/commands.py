"""The page of all commands, from the parsers that run them: it says what ``--help`` says."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from minimix.cli.parser import CommandParser

HERE = Path(__file__).resolve().parent
COMMANDS_PAGE = "commands"
_WIDTH = 78


def parsers() -> list[CommandParser]:
    """The parsers of both command lines."""
    from minimix.cli.parser import build_parser
    from weights_tools.commands import build_parser as build_tools

    return [build_parser(), build_tools()]


@cache
def command_names() -> frozenset[str]:
    """What can be typed: ``minimix batch``, ``minimix models list``, ..."""
    return frozenset(parser.prog for top in parsers() for parser in _leaves(top))


def anchor_of(command: str) -> str:
    """A command -> the name of its place on the page.

    >>> anchor_of("python -m weights_tools convert")
    'python-m-weights-tools-convert'
    """
    return str(nodes.make_id(command))


class Commands(SphinxDirective):
    """``commands``: a section per command."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        sections: list[nodes.Node] = []
        for top in parsers():
            part = _section(top.prog)
            part += [_section_of(parser) for parser in _leaves(top)]
            sections.append(part)
        return sections


def _leaves(parser: CommandParser) -> Iterator[CommandParser]:
    for command in parser.commands.values():
        if command.commands:
            yield from _leaves(command)
        else:
            yield command


def _section(title: str) -> nodes.section:
    name = anchor_of(title)
    return nodes.section("", nodes.title(text=title), ids=[name], names=[name])


def _section_of(parser: CommandParser) -> nodes.section:
    section = _section(parser.prog)
    summary, _, examples = (parser.description or "").partition("\n\n")
    section += nodes.paragraph(text=summary)
    section += _code(f"usage: {parser.usage}")
    if examples:
        section += _code("\n".join(line.removeprefix("  ") for line in examples.splitlines()))
    items = nodes.definition_list(classes=["options"])
    formatter = argparse.HelpFormatter(parser.prog, width=_WIDTH)
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            items += _item(action, formatter)
    if items.children:
        section += items
    if parser.epilog:
        section += nodes.paragraph(text=" ".join(parser.epilog.split()))
    return section


def _code(text: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language="none")


def _item(action: argparse.Action, formatter: argparse.HelpFormatter) -> nodes.definition_list_item:
    # argparse's own words for an option and its help; it has no public name for them.
    shown = formatter._format_action_invocation(action)
    said = formatter._expand_help(action) if action.help else ""
    return nodes.definition_list_item(
        "",
        nodes.term("", "", nodes.literal(text=shown)),
        nodes.definition("", nodes.paragraph(text=said)),
    )
