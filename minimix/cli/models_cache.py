"""``minimix models fetch``, ``path`` and ``rm``: what the cache holds of the released models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from minimix.cli import output
from minimix.cli.fetching import fetch_progress
from minimix.cli.parser import CommandParser, add_format, add_offline, add_quiet, add_weights
from minimix.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from minimix.hub.releases import Release

SCHEMA_VERSION = 1

_FETCH_EXAMPLES = """
minimix models fetch mixnet-s
minimix models fetch mixnet-l --weights tf
"""
_PATH_EXAMPLES = """
minimix models path mixnet-s
"""
_RM_EXAMPLES = """
minimix models rm mixnet-s
minimix models rm mixnet-s --weights tf --pins    accept another file at the next fetch
"""


def add_commands(models: CommandParser) -> None:
    """Add the three to ``models``."""
    fetch = models.add_command(
        "fetch", "NAME [options]", "fetch and convert a model now, print its file", _FETCH_EXAMPLES
    )
    _add_name(fetch)
    add_offline(fetch)
    add_quiet(fetch)
    add_format(fetch, "table", "json")
    fetch.set_defaults(run=run_fetch)
    path = models.add_command(
        "path", "NAME [options]", "print a model's file, if it is here", _PATH_EXAMPLES
    )
    _add_name(path)
    add_format(path, "table", "json")
    path.set_defaults(run=run_path)
    remove = models.add_command(
        "rm", "NAME [options]", "remove a model from the cache", _RM_EXAMPLES
    )
    _add_name(remove)
    remove.add_argument(
        "--pins", action="store_true", help="forget its checksum, too: accept another release"
    )
    add_quiet(remove)
    add_format(remove, "table", "json")
    remove.set_defaults(run=run_remove)


def _add_name(command: CommandParser) -> None:
    command.add_argument("model", metavar="NAME", help="see: minimix models list")
    add_weights(command)


def run_fetch(arguments: argparse.Namespace) -> int:
    """Have the model here and print its file; 0."""
    from minimix import hub

    release = hub.find(arguments.model, arguments.weights)
    if release is None:
        return _write_path(arguments, None, hub.embedded_path())
    with fetch_progress(quiet=arguments.quiet) as progress:
        path = hub.fetch_model(release, arguments.offline, progress)
    return _write_path(arguments, release, path)


def run_path(arguments: argparse.Namespace) -> int:
    """Print the model's file; 0.

    Raises:
        WeightsError: it is not here.
    """
    from minimix import hub
    from minimix.hub.modelcache import cached_path, is_cached

    release = hub.find(arguments.model, arguments.weights)
    path = hub.embedded_path() if release is None else cached_path(release)
    if release is not None and not is_cached(release):
        raise WeightsError(
            f"{release.title}: not in the cache. Fetch it: minimix models fetch {release.arguments}"
        )
    return _write_path(arguments, release, path)


def _write_path(arguments: argparse.Namespace, release: Release | None, path: Path) -> int:
    if arguments.format == "json":
        weights = None if release is None else release.weights
        facts = {"name": arguments.model, "weights": weights, "path": str(path)}
        output.write_json({"schema_version": SCHEMA_VERSION, "model": facts})
    else:
        output.write(f"{output.printable(str(path))}\n")
    return 0


def run_remove(arguments: argparse.Namespace) -> int:
    """Remove the model's files and print which; 0, even if there were none.

    Raises:
        UsageError: it is the embedded model.
    """
    from minimix import hub
    from minimix.hub.modelcache import remove

    release = hub.find(arguments.model, arguments.weights)
    if release is None:
        raise UsageError(f"{arguments.model}: ships inside the package and stays there")
    removed = [str(path) for path in remove(release, pins_too=arguments.pins)]
    if arguments.format == "json":
        output.write_json({"schema_version": SCHEMA_VERSION, "removed": removed})
        return 0
    for path in removed:
        output.write(f"removed {output.printable(path)}\n")
    if not removed and not arguments.quiet:
        output.note(f"nothing of {release.title} is in the cache")
    return 0
