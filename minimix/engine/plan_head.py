"""Phases of matrix-vector products: squeeze-excite's gates, the classifier."""

from __future__ import annotations

from itertools import accumulate

from minimix.engine.draft import Draft, chunks
from minimix.engine.kernels.pointwise import PointwiseKernel
from minimix.engine.layout import RUN, Layout
from minimix.engine.plan import Item
from minimix.engine.plan_pointwise import AT_ONCE, Piece, Product, columns_of
from minimix.graph import Node
from minimix.operators import Linear, SqueezeExcite

MATRIX_VECTORS = 8
"""Output vectors at a time: enough chains to hide the latency."""

LINEAR_AT_ONCE = 64
"""As ``AT_ONCE``, of the classifier: it waits for memory, and nothing behind it averages out what
it rounds away."""


def _matrix_vector(
    draft: Draft,
    node: Node,
    work: str,
    source: str,
    target: str,
    weight: str,
    bias: str,
    activation: str | None,
    factor: float = 1.0,
    at_once: int = AT_ONCE,
) -> None:
    """(C,) @ (C, R) + (R,): one pixel, all of whose lanes are read in a row."""
    ins, out = draft.buffers[source].layout, draft.buffers[target].layout
    sizes = [n * ins.width // RUN for n in chunks(ins.blocks, at_once // ins.width)]
    pieces = tuple(
        Piece(*draft.run_table([(first * RUN * 4, steps)]), first)
        for first, steps in zip(accumulate(sizes, initial=0), sizes, strict=False)
    )
    shift = draft.gather(bias, (0,), out.channel_of_lane)
    items, block = [], 0
    for vectors in chunks(out.blocks, MATRIX_VECTORS):
        lanes = columns_of(out, block, vectors, 0)
        product = Product(
            PointwiseKernel(1, vectors, activation),
            block,
            draft.place(source),
            pieces,
            draft.gather(weight, ins.channel_of_lane, lanes, factor),
            shift.plus(block * draft.machine.vector_bytes),
            draft.next_weights,
            draft.machine.vector_bytes,
            len(ins.channel_of_lane),
            (),
        )
        plane = draft.buffers[target].block_bytes
        calls = product.calls(product.source, draft.place(target, block), plane, 0, 1)
        items.append(Item(calls, vectors))
        block += vectors
    draft.phase(node, work, items)


def plan_gates(draft: Draft, node: Node, sums: str, divisor: int, *, gates: str) -> None:
    """Squeeze-excite's two products, from the sums over pixels to the gates."""
    operator = node.operator
    assert isinstance(operator, SqueezeExcite)
    squeezed = f"{node.name} squeezed"
    draft.allocate(squeezed, Layout((operator.reduced_channels,), draft.machine.width))
    _matrix_vector(
        draft,
        node,
        "squeeze",
        sums,
        squeezed,
        f"{node.name}.reduce.weight",
        f"{node.name}.reduce.bias",
        operator.activation,
        1 / divisor,
    )
    draft.allocate(gates, draft.layout[node.name])
    _matrix_vector(
        draft,
        node,
        "excite",
        squeezed,
        gates,
        f"{node.name}.expand.weight",
        f"{node.name}.expand.bias",
        "sigmoid",
    )


def plan_linear(draft: Draft, node: Node) -> None:
    """The classifier."""
    assert isinstance(node.operator, Linear)
    draft.result(node)
    _matrix_vector(
        draft,
        node,
        "linear",
        node.inputs[0],
        node.name,
        f"{node.name}.weight",
        f"{node.name}.bias",
        None,
        at_once=LINEAR_AT_ONCE,
    )
