"""Phases of nodes that no pass has fused: activations, batch norms, sums, gates, means."""

from __future__ import annotations

from collections.abc import Callable

from minimix.engine.draft import Draft, one
from minimix.engine.kernels.elementwise import Activate, AddPlanes, MeanOfPlane, NormalizePlane
from minimix.engine.kernels.head import GateActivations
from minimix.engine.plan import Call
from minimix.graph import Node
from minimix.operators import Activation, BatchNorm


def _by_block(draft: Draft, node: Node, work: str, call: Callable[[int, int], Call]) -> None:
    """One item per channel block; ``call(block, pixels)`` says what it does."""
    out = draft.result(node)
    pixels = draft.buffers[node.inputs[0]].pixels
    draft.phase(node, work, [one(call(b, pixels), pixels) for b in range(out.layout.blocks)])


def plan_activation(draft: Draft, node: Node) -> None:
    """An activation on its own."""
    assert isinstance(node.operator, Activation)
    kernel, source = Activate(node.operator.function), node.inputs[0]
    _by_block(
        draft,
        node,
        "activation",
        lambda block, pixels: Call(
            kernel, (draft.place(source, block), draft.place(node.name, block), pixels)
        ),
    )


def plan_add(draft: Draft, node: Node) -> None:
    """A residual addition on its own."""
    a, b = node.inputs
    _by_block(
        draft,
        node,
        "add",
        lambda block, pixels: Call(
            AddPlanes(),
            (
                draft.place(a, block),
                draft.place(b, block),
                draft.place(node.name, block),
                pixels,
            ),
        ),
    )


def plan_batch_norm(draft: Draft, node: Node) -> None:
    """A batch norm on its own."""
    assert isinstance(node.operator, BatchNorm)
    kernel, lanes = NormalizePlane(node.operator.eps), draft.layout[node.name].channel_of_lane
    stored = [
        draft.gather(f"{node.name}.{name}", (0,), lanes)
        for name in ("gamma", "beta", "mean", "variance")
    ]
    step = draft.machine.vector_bytes
    _by_block(
        draft,
        node,
        "batch norm",
        lambda block, pixels: Call(
            kernel,
            (
                draft.place(node.inputs[0], block),
                *(place.plus(block * step) for place in stored),
                draft.place(node.name, block),
                pixels,
            ),
        ),
    )


def plan_apply_gates(draft: Draft, node: Node, gates: str) -> None:
    """The second half of a squeeze-excite that no convolution has taken over."""
    step = draft.machine.vector_bytes
    _by_block(
        draft,
        node,
        "gate activations",
        lambda block, pixels: Call(
            GateActivations(),
            (
                draft.place(node.inputs[0], block),
                draft.place(gates).plus(block * step),
                draft.place(node.name, block),
                pixels,
            ),
        ),
    )


def plan_mean(draft: Draft, node: Node, target: str) -> None:
    """The mean over pixels of a node's input, into ``target``."""
    source = node.inputs[0]
    layout, pixels = draft.layout[source], draft.buffers[source].pixels
    draft.allocate(target, layout)
    items = [
        one(
            Call(MeanOfPlane(pixels), (draft.place(source, b), draft.place(target, b))),
            pixels,
        )
        for b in range(layout.blocks)
    ]
    draft.phase(node, "mean", items)
