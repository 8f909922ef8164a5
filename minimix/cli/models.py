"""``minimix models``: which models have a name, and everything that is known about one."""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from typing import Any

from minimix.cli import models_cache, output
from minimix.cli.model_facts import (
    embedded_json,
    file_json,
    file_pairs,
    release_json,
    release_pairs,
)
from minimix.cli.models_cache import SCHEMA_VERSION
from minimix.cli.parser import CommandParser, add_format, add_weights
from minimix.errors import WeightsError
from minimix.hub.releases import EMBEDDED, MODELS, RELEASES, by_hand

_EXAMPLES = """
minimix models list
minimix models fetch mixnet-s --weights tf
"""
_LIST_EXAMPLES = """
minimix models list
minimix models list '*-l'
"""
_SHOW_EXAMPLES = """
minimix models show mixnet-pocket
minimix models show mixnet-s --weights tf   where it lies, and what it is checked against
minimix models show mixnet-s.h5             what a converted file holds
"""
_SHOW_MORE = """
As JSON, the model has the keys of minimix models list, null where there is nothing to say, and
contents: what was read from the model file, null for a released model."""


def add_command(parser: CommandParser) -> None:
    """Add ``models`` and its commands to the parser."""
    models = parser.add_command(
        "models",
        "COMMAND ...",
        "list, describe, fetch and remove models",
        _EXAMPLES,
        group="MANAGE",
    )
    models.nest()
    listing = models.add_command(
        "list", "[PATTERN] [options]", "list the models that have a name", _LIST_EXAMPLES
    )
    listing.add_argument(
        "pattern", nargs="?", default="*", metavar="PATTERN", help="a shell pattern (default: *)"
    )
    add_format(listing, "table", "json")
    listing.set_defaults(run=run_list)
    show = models.add_command(
        "show", "NAME|PATH [options]", "describe a model, its origin and licence", _SHOW_EXAMPLES
    )
    show.add_argument("model", metavar="NAME|PATH", help="a model's name or its file")
    add_weights(show)
    add_format(show, "table", "json")
    show.epilog = _SHOW_MORE
    show.set_defaults(run=run_show)
    models_cache.add_commands(models)


def run_list(arguments: argparse.Namespace) -> int:
    """Print the models whose names match, a line for each release; 0."""
    names = [name for name in MODELS if fnmatchcase(name, arguments.pattern)]
    if not names:
        raise WeightsError(
            f"{arguments.pattern}: matches no model's name; known: {', '.join(MODELS)}"
        )
    rows = [embedded_json()] if EMBEDDED in names else []
    rows += [release_json(release) for release in RELEASES.values() if release.model in names]
    if arguments.format == "json":
        output.write_json({"schema_version": SCHEMA_VERSION, "models": rows})
        return 0
    _write_rows(rows, output.screen(arguments.color))
    return 0


def _write_rows(rows: list[dict[str, Any]], screen: output.Screen) -> None:
    heading = ("name", "weights", "state", "size", "classes", "px", "note")
    lines = output.table([heading, *map(_row, rows)], "<<<>>><")
    output.write("\n".join([screen.bold(lines[0]), *lines[1:]]) + "\n")
    output.flush()
    for row in rows:
        if row["pin_problem"]:
            output.note(f"\n{output.printable(row['pin_problem'])}")
    if any(not row["path"] for row in rows):
        output.note(
            "\nWhat is not here is fetched at its first use, or by minimix models fetch NAME."
        )


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    size = facts["stored_bytes"] or facts["release_bytes"]
    return (
        facts["name"],
        facts["weights"] or "-",
        facts["state"],
        f"{size / 1e6:.1f} MB" if size else "unknown",
        f"{facts['classes']:,}",
        str(facts["size"]),
        facts["note"],
    )


def run_show(arguments: argparse.Namespace) -> int:
    """Print what is known about one model; 0."""
    from minimix import hub

    name, weights = arguments.model, arguments.weights
    release = None if hub.is_path(name) else hub.find(name, weights)
    if release is not None:
        facts = release_json(release) | {"contents": None}
        pairs, closing = release_pairs(release, facts), f"By hand:\n{by_hand(release)}"
    else:
        facts, closing = file_json(hub.locate(name, weights), is_embedded=name == EMBEDDED), ""
        pairs = file_pairs(facts)
    if arguments.format == "json":
        output.write_json({"schema_version": SCHEMA_VERSION, "model": facts})
        return 0
    screen = output.screen(arguments.color)
    width = max(len(key) for key, _ in pairs)
    for key, value in pairs:
        output.write(f"{screen.bold(output.pad(key, width))}  {output.printable(value)}\n")
    if closing:
        output.write(f"\n{closing}\n")
    return 0
