"""``minimix summary``: the network's nodes or stages, with their shapes and what they cost."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimix.cli import output
from minimix.cli.output import Screen
from minimix.cli.parser import CommandParser, add_format, add_model, add_threads, positive_int
from minimix.errors import UsageError
from minimix.files import check_free, replacing

if TYPE_CHECKING:
    from minimix.dialect import Dialect
    from minimix.graph import Graph, Node
    from minimix.zoo import Architecture

SCHEMA_VERSION = 1
STDOUT = "-"
HOW_COUNTED = (
    "Multiply-adds of convolutions, squeeze-excite and classifier; batch norm, activations and\n"
    "the gate's product not counted.  Moving statistics are not parameters."
)

_EXAMPLES = """
minimix summary                          every node of the embedded model
minimix summary --model mixnet-s --blocks
minimix summary --model mixnet-l --size 320 --format csv
minimix summary --model mixnet-s --plan  what the compiled engine does
minimix summary --svg graph.svg          the graph drawn; --dot for graphviz
"""


@dataclass(frozen=True)
class Line:
    """What the table says about a node, or about a stage of several."""

    name: str
    kind: str
    kernel_sizes: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    macs: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "name": self.name,
            "kind": self.kind,
            "kernel_sizes": list(self.kernel_sizes),
            "output_shape": list(self.output_shape),
            "parameters": self.parameters,
            "macs": self.macs,
        }


def add_command(parser: CommandParser) -> None:
    """Add ``summary`` to the parser."""
    command = parser.add_command(
        "summary", "[options]", "show a network's nodes, shapes and cost", _EXAMPLES, group="LOOK"
    )
    add_model(command)
    command.add_argument(
        "--batch", type=positive_int, default=1, metavar="N", help="pictures at once (default: 1)"
    )
    command.add_argument("--blocks", action="store_true", help="one line per block")
    command.add_argument(
        "--plan", action="store_true", help="what the compiled engine does, phase by phase"
    )
    for option, kind in (("--svg", "a drawing"), ("--dot", "DOT, for graphviz")):
        command.add_argument(
            option,
            metavar="FILE",
            help=f"write the graph as {kind}; - is standard output, in place of the table",
        )
    command.add_argument("--force", action="store_true", help="replace existing files")
    add_threads(command)
    add_format(command, "table", "json", "csv")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the summary; 0."""
    from minimix.zoo import build

    arch, dialect_, size = _find_architecture(arguments.model, arguments.weights)
    graph, dialect = build(arch, dialect_), dialect_.name
    size = arguments.size or size
    if arguments.plan:
        if arguments.svg or arguments.dot:
            raise UsageError("--plan is text; leave out --svg and --dot")
        output.write(_plan(build(arch, dialect_.folded()), size, arguments.threads) + "\n")
        return 0
    if arguments.svg or arguments.dot:
        if arguments.blocks or arguments.format != "table" or arguments.batch > 1:
            raise UsageError(
                "--svg and --dot draw one picture's graph, whole; leave out --blocks, "
                "--format and --batch"
            )
        _draw(graph, size, arguments)
        return 0
    lines = _node_lines(graph, size, arguments.batch)
    shown = _stage_lines(graph, lines) if arguments.blocks else lines
    macs, parameters = sum(line.macs for line in lines), sum(line.parameters for line in lines)
    if arguments.format == "json":
        output.write_json(
            {
                "schema_version": SCHEMA_VERSION,
                "model": graph.name,
                "dialect": dialect,
                "size": size,
                "batch": arguments.batch,
                "stages" if arguments.blocks else "nodes": [line.to_json() for line in shown],
                "parameters": parameters,
                "macs": macs,
                "paper_macs": _paper_macs(graph.name),
            }
        )
    elif arguments.format == "csv":
        _write_csv(shown)
    else:
        screen = output.screen(arguments.color)
        output.write("\n".join(_table(shown, parameters, macs, screen)) + "\n\n")
        output.write(_closing(graph, size, dialect, arguments.batch) + "\n")
    return 0


def _find_architecture(name: str, whose: str | None) -> tuple[Architecture, Dialect, int]:
    """A family's name or a model file -> architecture, dialect, input size in pixels.

    Nothing is fetched: what is shown of a family does not depend on the values of its weights.
    """
    from minimix.dialect import DIALECTS
    from minimix.hub.releases import find_release
    from minimix.zoo import FAMILIES, architecture

    if name in FAMILIES:
        dialect = "timm" if whose is None else find_release(name, whose).dialect
        return architecture(name), DIALECTS[dialect], FAMILIES[name].size
    from minimix import hub, weights  # h5py and NumPy, which a family does not need

    file = weights.load(hub.locate(name, whose))
    return file.architecture, file.dialect, file.pipeline.size


def _plan(folded: Graph, size: int, threads: int | None) -> str:
    """What the compiled engine does: phases and their kernels.  Weights are not needed for it."""
    from minimix.engine import host_plan
    from minimix.passes import optimize

    graph, _ = optimize(folded, {})
    described = host_plan(graph, size, size, threads=threads).describe()
    return f"{graph.name}, {size} x {size} px, planned for this machine\n\n{described}"


def _draw(graph: Graph, size: int, arguments: argparse.Namespace) -> None:
    """Write the drawings that were asked for, none if one cannot be."""
    from minimix import drawing  # brings NumPy

    wanted = [
        (name, draw(graph, size))
        for name, draw in ((arguments.svg, drawing.svg), (arguments.dot, drawing.dot))
        if name
    ]
    if len({name for name, _ in wanted}) < len(wanted):
        raise UsageError(f"--svg and --dot both name {wanted[0][0]}; name a file for each")
    paths = [Path(name) for name, _ in wanted if name != STDOUT]
    for path in paths:
        check_free(path, force=arguments.force)
    for name, text in wanted:
        if name == STDOUT:
            output.write(text)
            continue
        with replacing(Path(name), force=arguments.force) as temporary:
            temporary.write_text(text, "utf-8")


def _paper_macs(name: str) -> int | None:
    from minimix.zoo import FAMILIES

    return FAMILIES[name].paper_macs if name in FAMILIES else None


def _node_lines(graph: Graph, size: int, batch: int) -> list[Line]:
    specs, macs = graph.infer(batch, size, size), graph.macs(size, size, batch)
    return [
        Line(
            node.name,
            _kind(node),
            (1,) if node.kind == "pointwise" else node.kernel_sizes,
            specs[node.name].shape,
            graph.param_count(node),
            macs[node.name],
        )
        for node in graph
    ]


def _kind(node: Node) -> str:
    """The kind, and what a reader would ask next: which function, how many groups."""
    function, groups = getattr(node.operator, "function", ""), getattr(node.operator, "groups", 1)
    return function or (f"{node.kind}, {groups} groups" if groups > 1 else node.kind)


def _stage_lines(graph: Graph, lines: Sequence[Line]) -> list[Line]:
    by_name = {line.name: line for line in lines}
    stages = []
    for stage, nodes in graph.stages.items():
        parts = [by_name[node.name] for node in nodes]
        widest = max((part.kernel_sizes for part in parts), key=lambda sizes: (len(sizes), sizes))
        stages.append(
            Line(
                stage,
                f"{len(parts)} node{'s' * (len(parts) > 1)}",
                widest,
                parts[-1].output_shape,
                sum(part.parameters for part in parts),
                sum(part.macs for part in parts),
            )
        )
    return stages


def _table(lines: Sequence[Line], parameters: int, macs: int, screen: Screen) -> list[str]:
    heading = ("name", "kind", "kernels", "output", "parameters", "multiply-adds")
    rows = [
        (
            line.name,
            line.kind,
            " ".join(map(screen.kernel, line.kernel_sizes)),
            _shape(line.output_shape),
            _count(line.parameters),
            _count(line.macs),
        )
        for line in lines
    ]
    total = ("total", "", "", "", _count(parameters), _count(macs))
    aligned = output.table([heading, *rows, total], "<<<>>>")
    width = max(map(output.cells, aligned))
    rule = screen.dim("─" * width)
    # What computes little steps back, so that the convolutions and their kernels stand out.
    body = [
        text if line.macs else screen.dim(text)
        for line, text in zip(lines, aligned[1:-1], strict=True)
    ]
    return [screen.bold(aligned[0]), rule, *body, rule, screen.bold(aligned[-1])]


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _count(number: int) -> str:
    return f"{number:,}" if number else "-"


def _closing(graph: Graph, size: int, dialect: str, batch: int) -> str:
    pictures = f", {batch} pictures" if batch > 1 else ""
    lines = [f"{graph.name} ({dialect}), {size} x {size} px{pictures}.", HOW_COUNTED]
    paper = _paper_macs(graph.name)
    if paper is not None:
        lines.append(
            f"The paper prints {paper / 1e6:.0f} M multiply-adds for {graph.name} at 224 px, "
            "counted otherwise."
        )
    return "\n".join(lines)


def _write_csv(lines: Sequence[Line]) -> None:
    rows = csv.writer(output.Results(), lineterminator="\n")
    rows.writerow(("name", "kind", "kernel_sizes", "output_shape", "parameters", "macs"))
    for line in lines:
        rows.writerow(
            (
                line.name,
                line.kind,
                " ".join(map(str, line.kernel_sizes)),
                " ".join(map(str, line.output_shape)),
                line.parameters,
                line.macs,
            )
        )
