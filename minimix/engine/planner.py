"""Graph -> Plan: which kernel computes what, where, in which order.  Integers only.

Every node becomes a phase or a few; an expansion that only a MixConv reads is computed together
with it, a few channel blocks at a time, so that the widest maps of the network never reach main
memory.
"""

from __future__ import annotations

from minimix.engine.draft import Draft, Machine
from minimix.engine.layout import layouts
from minimix.engine.plan import Plan
from minimix.engine.plan_conv import plan_expansion, plan_mixconv, plan_stem
from minimix.engine.plan_elementwise import (
    plan_activation,
    plan_add,
    plan_apply_gates,
    plan_batch_norm,
    plan_mean,
)
from minimix.engine.plan_head import plan_gates, plan_linear
from minimix.engine.plan_pointwise import plan_pointwise
from minimix.errors import GraphError
from minimix.fused import FusedPointwise, Gates
from minimix.graph import Graph, Node
from minimix.operators import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    Linear,
    MixConv,
    Pointwise,
    SqueezeExcite,
)


def plan(graph: Graph, height: int, width: int, machine: Machine, *, keep: bool = False) -> Plan:
    """Plan a graph for one picture of ``height`` x ``width`` pixels.

    Args:
        graph: optimised for speed, or as it was built.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        machine: the vectors and threads to plan for.
        keep: leave every node's result in memory, as its own node computes it.

    Raises:
        GraphError: the size is too small, or a node other than a convolution reads the image.
    """
    draft = Draft(
        graph, graph.infer(1, height, width), layouts(graph, machine.width), machine, keep
    )
    image = graph.nodes[0].name
    merged: dict[str, Node] = {}
    sums: dict[str, tuple[str, int]] = {}
    for node in graph.nodes[1:]:
        if image in node.inputs and not isinstance(node.operator, Conv):
            raise GraphError(f"{node.name}: the compiled engine reads the image by a conv only")
        reader = _only_reader(graph, node)
        if (
            not keep
            and type(node.operator) is Pointwise
            and isinstance(getattr(reader, "operator", None), MixConv)
        ):
            assert reader is not None
            merged[reader.name] = node
            continue
        _plan_node(draft, node, merged.get(node.name), sums)
    return draft.finish()


def _only_reader(graph: Graph, node: Node) -> Node | None:
    readers = graph.readers[node.name]
    return graph[readers[0]] if len(readers) == 1 and node.name not in graph.outputs else None


def _plan_node(
    draft: Draft, node: Node, expand: Node | None, sums: dict[str, tuple[str, int]]
) -> None:
    match node.operator:
        case Conv() as operator:
            if node.inputs[0] != draft.graph.nodes[0].name:
                raise GraphError(f"{node.name}: the compiled engine runs a conv on the image only")
            plan_stem(draft, node, operator)
        case MixConv():
            _plan_mixconv(draft, node, expand, sums)
        case FusedPointwise() | Pointwise():
            plan_pointwise(draft, node)
        case Gates():
            plan_gates(draft, node, *_sums(draft, node, sums), gates=node.name)
        case SqueezeExcite():
            gates = f"{node.name} gates"
            plan_gates(draft, node, *_sums(draft, node, sums), gates=gates)
            plan_apply_gates(draft, node, gates)
        case Linear():
            plan_linear(draft, node)
        case GlobalAveragePool():
            plan_mean(draft, node, node.name)
        case Activation():
            plan_activation(draft, node)
        case BatchNorm():
            plan_batch_norm(draft, node)
        case Add():
            plan_add(draft, node)
        case _:
            raise GraphError(f"{node.name}: no kernel computes a {node.kind}")


def _plan_mixconv(
    draft: Draft, node: Node, expand: Node | None, sums: dict[str, tuple[str, int]]
) -> None:
    """A MixConv, which leaves its sums over pixels behind where a squeeze-excite wants them."""
    wanted = any(
        isinstance(draft.graph[name].operator, SqueezeExcite)
        for name in draft.graph.readers[node.name]
    )
    target = f"{node.name} sums" if wanted else None
    if target is not None:
        draft.allocate(target, draft.layout[node.name])
        _, Ho, Wo, _ = draft.specs[node.name].shape
        sums[node.name] = target, Ho * Wo
    if expand is not None:
        plan_expansion(draft, expand, node, target)
    else:
        plan_mixconv(draft, node, target)


def _sums(draft: Draft, node: Node, sums: dict[str, tuple[str, int]]) -> tuple[str, int]:
    """(where the sums over pixels of a node's input are, what to divide them by)."""
    source = node.inputs[0]
    if source not in sums:
        target = f"{node.name} mean"
        plan_mean(draft, node, target)
        return target, 1
    return sums[source]
