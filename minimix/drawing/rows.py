"""The graph as rows to draw: a block in each, stem and head with what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minimix.collapsed import Collapsed, collapse
from minimix.graph import Graph
from minimix.operators import Conv, MixConv, Operator, Pointwise, Shape


@dataclass(frozen=True)
class Part:
    """A collapsed node with its shapes, without the batch, and its cost."""

    node: Collapsed
    read: Shape
    shape: Shape
    parameters: int
    macs: int

    @property
    def operator(self) -> Operator:
        """What the root computes."""
        return self.node.root.operator

    @property
    def local(self) -> str:
        """The last part of its name, such as ``mixconv``."""
        return self.node.name.rpartition(".")[2]

    @property
    def facts(self) -> tuple[str, ...]:
        """What is written below its name: kernel, stride or groups, activation."""
        operator = self.operator
        kernel, inner = "", ""
        if isinstance(operator, Conv):
            kernel = f"{operator.kernel_size}×{operator.kernel_size}"
        elif isinstance(operator, Pointwise):
            kernel = "1×1"
            inner = f"{operator.groups} groups" if operator.groups > 1 else ""
        stride = getattr(operator, "stride", 1)
        inner = f"stride {stride}" if stride > 1 else inner
        first = ", ".join(filter(None, (kernel, inner)))
        return tuple(filter(None, (first, self.node.activation)))

    @property
    def lanes(self) -> tuple[tuple[int, int], ...]:
        """(kernel size, channels) of each group of a MixConv; empty for others."""
        if not isinstance(self.operator, MixConv):
            return ()
        channels = self.operator.group_channels(self.shape[-1])
        return tuple(zip(self.operator.extents, channels, strict=True))

    @property
    def tip(self) -> str:
        """What a reader sees who points at it."""
        members = ", ".join(member.name for member in self.node.members)
        return f"{members}: {self.parameters:,} parameters, {self.macs:,} multiply-adds"


@dataclass(frozen=True)
class Row:
    """Parts in order; they run from left to right."""

    name: str
    parts: tuple[Part, ...]

    @property
    def parameters(self) -> int:
        """Of all parts."""
        return sum(part.parameters for part in self.parts)

    @property
    def macs(self) -> int:
        """Of all parts."""
        return sum(part.macs for part in self.parts)


def shown_name(graph: Graph) -> str:
    """The graph's name, which a model file may bring, without what no document can hold."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in graph.name)


def rows_of(graph: Graph, size: int) -> tuple[Row, ...]:
    """A graph and the side of its input in pixels -> its rows.

    >>> from minimix.dialect import DIALECTS
    >>> from minimix.zoo import architecture, build
    >>> rows = rows_of(build(architecture("mixnet-s"), DIALECTS["timm"]), 224)
    >>> rows[1].name, [part.local for part in rows[4].parts]
    ('blocks.0', ['expand', 'mixconv', 'se', 'project'])
    """
    specs, macs = graph.infer(1, size, size), graph.macs(size, size)
    shapes = {name: spec.shape[1:] for name, spec in specs.items()}
    gathered: list[tuple[str, list[Part]]] = []
    for node in collapse(graph):
        part = _part(node, graph, shapes, macs)
        name = node.root.stage
        is_block = name.startswith("blocks.")
        if gathered and (gathered[-1][0] == name or not (is_block or _is_block(gathered[-1]))):
            # The picture has no row of its own: it is where the stem's begins.
            first = name if gathered[-1][0] == graph.nodes[0].stage else gathered[-1][0]
            gathered[-1] = (first, [*gathered[-1][1], part])
        else:
            gathered.append((name, [part]))
    return tuple(Row(name, tuple(parts)) for name, parts in gathered)


def _is_block(row: tuple[str, list[Part]]) -> bool:
    return row[0].startswith("blocks.")


def _part(
    node: Collapsed, graph: Graph, shapes: Mapping[str, Shape], macs: Mapping[str, int]
) -> Part:
    read = node.root.inputs[0] if node.root.inputs else node.name
    return Part(
        node,
        shapes[read],
        shapes[node.last.name],
        sum(graph.param_count(member) for member in node.members),
        sum(macs[member.name] for member in node.members),
    )
