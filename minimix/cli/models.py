"""``minimix models``: which models have a name, and everything that is known about one."""

from __future__ import annotations

import argparse
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimix.cli import output
from minimix.cli.parser import CommandParser, add_format
from minimix.errors import WeightsError

if TYPE_CHECKING:
    from minimix.hub import ModelEntry

SCHEMA_VERSION = 1
_FIRST_LABELS = 5

_LIST_EXAMPLES = """
minimix models list
minimix models list '*-l'
"""
_SHOW_EXAMPLES = """
minimix models show mixnet-pocket
minimix models show mixnet-s       where to get it
minimix models show mixnet-s.h5    what a converted file holds
"""


def add_command(parser: CommandParser) -> None:
    """Add ``models`` and its commands to the parser."""
    models = parser.add_command(
        "models", "COMMAND ...", "list and describe models", _LIST_EXAMPLES, group="MANAGE"
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
    add_format(show, "table", "json")
    show.set_defaults(run=run_show)


def run_list(arguments: argparse.Namespace) -> int:
    """Print the models whose names match; 0."""
    from minimix.hub import MODELS

    found = [entry for name, entry in MODELS.items() if fnmatchcase(name, arguments.pattern)]
    if not found:
        raise WeightsError(
            f"{arguments.pattern}: matches no model's name; known: {', '.join(MODELS)}"
        )
    if arguments.format == "json":
        rows = [_entry_json(entry) for entry in found]
        output.write_json({"schema_version": SCHEMA_VERSION, "models": rows})
        return 0
    screen = output.screen(arguments.color)
    heading = ("name", "available", "classes", "px", "note")
    lines = output.table([heading, *map(_row, found)], "<<>><")
    output.write("\n".join([screen.bold(lines[0]), *lines[1:]]) + "\n")
    if not all(entry.is_embedded for entry in found):
        output.flush()
        output.note("\nminimix models show NAME says how to fetch the weights of one.")
    return 0


def _row(entry: ModelEntry) -> tuple[str, ...]:
    from minimix.zoo import FAMILIES

    family = FAMILIES[entry.name]
    available = "embedded" if entry.is_embedded else f"by hand, {entry.size_bytes / 1e6:.0f} MB"
    return entry.name, available, f"{family.num_classes:,}", str(family.size), entry.note


def _entry_json(entry: ModelEntry) -> dict[str, Any]:
    from minimix.zoo import FAMILIES

    family = FAMILIES[entry.name]
    return {
        "name": entry.name,
        "embedded": entry.is_embedded,
        "classes": family.num_classes,
        "size": family.size,
        "note": entry.note,
        "license": entry.license,
        "url": entry.url or None,
        "size_bytes": entry.size_bytes or None,
        "sha256_prefix": entry.sha256_prefix or None,
    }


def run_show(arguments: argparse.Namespace) -> int:
    """Print what is known about one model; 0."""
    from minimix.hub import MODELS, fetch_by_hand, locate

    entry = MODELS.get(arguments.model)
    if entry is not None and not entry.is_embedded:
        facts = _entry_json(entry)
        closing = f"Fetch it by hand:\n{fetch_by_hand(entry)}"
        pairs = _entry_pairs(entry)
    else:
        facts, closing = _file_json(locate(arguments.model)), ""
        pairs = _file_pairs(facts)
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


def _entry_pairs(entry: ModelEntry) -> list[tuple[str, str]]:
    prefix = entry.sha256_prefix
    return [
        ("name", entry.name),
        ("note", entry.note),
        ("licence", entry.license),
        ("released at", entry.url),
        ("size", f"{entry.size_bytes:,} bytes"),
        ("sha256", f"begins with {prefix}, as the release's own name states"),
        ("", f"{len(prefix) * 4} bits tell a damaged download from a good one;"),
        ("", "they do not stop someone who forges a file on purpose"),
    ]


def _file_json(path: Path) -> dict[str, Any]:
    import hashlib

    from minimix import weights

    file = weights.load(path)
    graph = file.graph
    size = file.pipeline.size
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "name": file.architecture.name,
        "path": str(path),
        "size_bytes": path.stat().st_size,
        "sha256": digest,
        "dtype": file.dtype,
        "parameters": sum(map(graph.param_count, graph)),
        "macs": sum(graph.macs(size, size).values()),
        "architecture": file.architecture.to_json(),
        "dialect": file.dialect.to_json(),
        "pipeline": file.pipeline.to_json(),
        "labels": list(file.labels),
        "provenance": {k: v for k, v in file.provenance.items() if k != "tensors"},
    }


def _file_pairs(facts: dict[str, Any]) -> list[tuple[str, str]]:
    labels, provenance = facts["labels"], facts["provenance"]
    architecture, pipeline, dialect = (facts[k] for k in ("architecture", "pipeline", "dialect"))
    eps = dialect["batch_norm_eps"]
    source = provenance.get("source", {})
    return [
        ("name", facts["name"]),
        ("file", f"{facts['path']} ({facts['size_bytes']:,} bytes, {facts['dtype']})"),
        ("sha256", facts["sha256"]),
        (
            "architecture",
            f"stem {architecture['stem_channels']}, {len(architecture['blocks'])} blocks, "
            f"head {architecture['head_channels']}, {architecture['num_classes']:,} classes",
        ),
        ("parameters", f"{facts['parameters']:,}"),
        ("multiply-adds", f"{facts['macs']:,} at {pipeline['size']} px"),
        (
            "dialect",
            f"{dialect['name']}: {dialect['padding']} padding, batch norm "
            + ("folded" if eps is None else f"eps {eps:g}")
            + f", squeeze-excite activation {dialect['se_activation']}",
        ),
        (
            "pipeline",
            f"{pipeline['name']}: {pipeline['size']} px, {pipeline['crop']} "
            f"{pipeline['crop_fraction']}, {pipeline['resize']}, {pipeline['channels']}",
        ),
        ("labels", _first(labels)),
        ("licence", str(provenance.get("license", "not stated"))),
        ("made by", str(provenance.get("tool", "not stated"))),
        *((f"source {key.replace('_', ' ')}", str(value)) for key, value in source.items()),
    ]


def _first(labels: list[str]) -> str:
    more = f" and {len(labels) - _FIRST_LABELS:,} more" * (len(labels) > _FIRST_LABELS)
    return f"{len(labels):,}: {', '.join(labels[:_FIRST_LABELS])}{more}"
