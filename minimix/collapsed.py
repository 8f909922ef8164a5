"""The graph as a reader draws it: batch norm and activation belong to the convolution before."""

from __future__ import annotations

from dataclasses import dataclass

from minimix.graph import Graph, Node
from minimix.operators import Activation, BatchNorm, Conv, MixConv, Pointwise


@dataclass(frozen=True)
class Collapsed:
    """A node and what directly follows it and nothing else reads.

    Attributes:
        members: the node itself, then its batch norm and activation, if any.
        inputs: names of the collapsed nodes that it reads.
    """

    members: tuple[Node, ...]
    inputs: tuple[str, ...]

    @property
    def root(self) -> Node:
        """The node that gives the name."""
        return self.members[0]

    @property
    def last(self) -> Node:
        """The node whose output is the collapsed node's."""
        return self.members[-1]

    @property
    def name(self) -> str:
        """The root's name."""
        return self.root.name

    @property
    def norm(self) -> Node | None:
        """The batch norm among the members."""
        return next((node for node in self.members if isinstance(node.operator, BatchNorm)), None)

    @property
    def activation(self) -> str | None:
        """The activation function that is applied last."""
        operator = self.last.operator
        if isinstance(operator, Activation):
            return operator.function
        return getattr(operator, "activation", None) if operator.kind in _CONVOLUTIONS else None


_CONVOLUTIONS = {"conv", "mixconv", "pointwise"}


def collapse(graph: Graph) -> tuple[Collapsed, ...]:
    """Gather every convolution with its batch norm and its activation, in order.

    >>> from minimix.dialect import DIALECTS
    >>> from minimix.zoo import architecture, build
    >>> graph = build(architecture("mixnet-s"), DIALECTS["timm"])
    >>> [node.name for node in collapse(graph)[1].members]
    ['stem.conv', 'stem.conv_bn', 'stem.conv_act']
    """
    owner: dict[str, str] = {}
    members: dict[str, list[Node]] = {}
    for node in graph:
        root = owner.get(node.inputs[0]) if node.inputs else None
        if root is not None and _follows(graph, node, members[root]):
            members[root].append(node)
            owner[node.name] = root
        else:
            members[node.name] = [node]
            owner[node.name] = node.name
    return tuple(
        Collapsed(tuple(found), tuple(owner[source] for source in found[0].inputs))
        for found in members.values()
    )


def _follows(graph: Graph, node: Node, members: list[Node]) -> bool:
    last = members[-1]
    return (
        isinstance(node.operator, BatchNorm | Activation)
        and isinstance(members[0].operator, Conv | MixConv | Pointwise)
        and node.inputs == (last.name,)
        and graph.readers[last.name] == (node.name,)
        and last.name not in graph.outputs
        and not isinstance(last.operator, Activation)
        and not (isinstance(node.operator, BatchNorm) and len(members) > 1)
    )
