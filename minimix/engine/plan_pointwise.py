"""Phases of matrix products: 1x1 convolutions, squeeze-excite's gates, the classifier."""

from __future__ import annotations

from dataclasses import dataclass, replace

from minimix.engine.draft import Draft, chunks, one
from minimix.engine.kernels.head import GateActivations, GateWeights
from minimix.engine.kernels.pointwise import PointwiseKernel
from minimix.engine.layout import RUN, Layout
from minimix.engine.plan import Call, Item, Place
from minimix.fused import FusedPointwise
from minimix.graph import Node
from minimix.operators import Linear, Pointwise, SqueezeExcite

MATRIX_VECTORS = 8
"""Output vectors of a matrix-vector product at a time: enough chains to hide the latency."""

ITEM_PIXELS = 196
"""Pixels of an item, where they can be divided among threads."""


@dataclass(frozen=True)
class Product:
    """Some output blocks of a 1x1 convolution: kernel, weights, and what it reads.

    Attributes:
        block: the first output block.
        depth: input channels that are multiplied, padding included.
    """

    kernel: PointwiseKernel
    block: int
    source: Place
    runs: Place
    run_count: int
    weights: Place
    bias: Place
    after: Place
    depth: int
    lanes: tuple[tuple[int, int], ...]

    @property
    def vectors(self) -> int:
        """Output blocks."""
        return self.kernel.vectors

    def call(
        self, source: Place, target: Place, plane: int, residual: Place | int, tiles: int
    ) -> Call:
        """The product over ``tiles`` tiles of pixels."""
        return Call(
            self.kernel,
            (
                source,
                self.runs,
                self.run_count,
                self.weights,
                self.bias,
                target,
                plane,
                residual,
                tiles,
                self.after,
            ),
        )


def _prefetch(pixels: int) -> int:
    """Cache lines to ask for per step: the fewer pixels, the sooner new weights are needed."""
    return 2 if 1 < pixels <= 49 else 1 if 1 < pixels <= 196 else 0


def group_products(draft: Draft, node: Node, most: int) -> list[Product]:
    """A 1x1 convolution cut into products of at most ``most`` output blocks."""
    operator = node.operator
    assert isinstance(operator, Pointwise)
    name, layout = node.inputs[0], draft.layout[node.name]
    buffer, out_first, in_first, found = draft.buffers[name], 0, 0, []
    bias = draft.bias(node)
    pixels = buffer.pixels
    kernel = PointwiseKernel(
        draft.machine.tile_pixels(pixels),
        most,
        operator.activation,
        residual=isinstance(operator, FusedPointwise) and operator.residual,
        pool=pixels if isinstance(operator, FusedPointwise) and operator.pool else 0,
        prefetch=_prefetch(pixels),
    )
    for g, (ins, outs) in enumerate(operator.group_shapes(buffer.layout.channels)):
        input_runs = buffer.layout.runs(in_first, ins)
        runs, run_count = draft.run_table(
            (block * buffer.block_bytes + lane * 4, steps) for block, lane, steps in input_runs
        )
        rows = buffer.layout.rows(in_first, ins)
        block, last = layout.block_range(out_first, outs)
        for vectors in chunks(last - block, most):
            lanes = _columns(layout, block, vectors, out_first)
            weights = draft.gather(f"{node.name}.{g}.weight", rows, lanes)
            found.append(
                Product(
                    replace(kernel, vectors=vectors),
                    block,
                    draft.place(name),
                    runs,
                    run_count,
                    weights,
                    bias.plus(block * draft.machine.vector_bytes),
                    draft.next_weights,
                    len(rows),
                    tuple(((b * layout.width + lane) * 4, steps) for b, lane, steps in input_runs),
                )
            )
            block += vectors
        in_first, out_first = in_first + ins, out_first + outs
    return found


def _columns(layout: Layout, block: int, vectors: int, first: int) -> tuple[int, ...]:
    lanes = layout.channel_of_lane[block * layout.width : (block + vectors) * layout.width]
    return tuple(c - first if c >= 0 else -1 for c in lanes)


def plan_pointwise(draft: Draft, node: Node) -> None:
    """A 1x1 convolution of a stored map, with its gates, residual and pooling if it has any."""
    operator = node.operator
    draft.result(node)
    residual = node.inputs[-1] if getattr(operator, "residual", False) else None
    pooled = getattr(operator, "pool", False)
    # What is added has other planes than a pooled result; a single block needs no stride.
    most = 1 if residual and pooled else draft.machine.tile_vectors
    products = group_products(draft, node, most)
    if getattr(operator, "gated", False):
        products = _plan_gating(draft, node, products)
        # The gating was a phase of its own: the result begins with this one, its source lives on.
        draft.result(node)
        draft.place(node.inputs[0])
    items: list[Item] = []
    for product in products:
        items += (
            _pooled_items(draft, node, product, residual)
            if pooled
            else _items(draft, node, product, residual)
        )
    draft.phase(node, "head+pool" if pooled else "pointwise", items)


def _items(draft: Draft, node: Node, product: Product, residual: str | None) -> list[Item]:
    """One product over all pixels, cut for threads or for the cache."""
    out = draft.buffers[node.name]
    tile = product.kernel.pixels
    tiles = -(-out.pixels // tile)
    parts = max(1, out.pixels // ITEM_PIXELS)
    if draft.machine.threads > 1:
        parts = max(parts, 2)
    elif out.pixels <= 4 * ITEM_PIXELS:
        parts = 1
    parts = min(parts, tiles)
    items = []
    for n in range(parts):
        first, last = tiles * n // parts, tiles * (n + 1) // parts
        shift = first * tile * draft.machine.vector_bytes
        added = draft.place(residual, product.block).plus(shift) if residual else 0
        call = product.call(
            product.source.plus(shift),
            draft.place(node.name, product.block).plus(shift),
            out.block_bytes,
            added,
            last - first,
        )
        items.append(one(call, (last - first) * tile * product.depth * product.vectors))
    return items


def _pooled_items(draft: Draft, node: Node, product: Product, residual: str | None) -> list[Item]:
    """One product, summed over exactly the pixels that exist."""
    pixels = draft.buffers[node.inputs[0]].pixels
    tile = product.kernel.pixels
    whole, rest = divmod(pixels, tile)
    target = draft.place(node.name, product.block)
    plane = draft.buffers[node.name].block_bytes
    added = draft.place(residual, product.block) if residual else None
    calls = []
    if whole:
        first = replace(product, kernel=replace(product.kernel, partial=rest > 0))
        calls.append(first.call(product.source, target, plane, added or 0, whole))
    if rest:
        last = replace(product, kernel=replace(product.kernel, pixels=rest, more=whole > 0))
        shift = whole * tile * draft.machine.vector_bytes
        more = added.plus(shift) if added else 0
        calls.append(last.call(product.source.plus(shift), target, plane, more, 1))
    return [Item(tuple(calls), pixels * product.depth * product.vectors)]


def _plan_gating(draft: Draft, node: Node, products: list[Product]) -> list[Product]:
    """Multiply the gates into the weights or the activations, whichever are fewer."""
    source, gates = node.inputs[0], node.inputs[1]
    buffer, width = draft.buffers[source], draft.machine.width
    weight_floats = sum(p.depth * p.vectors * width for p in products)
    # In place is only possible where nobody else wants the map without its gates.
    shared = draft.keep or len(draft.graph.readers[source]) > 2 or source in draft.graph.outputs
    if shared or weight_floats < buffer.layout.blocks * buffer.pixels * width:
        return _gate_weights(draft, node, products)
    items = [
        one(
            Call(
                GateActivations(),
                (
                    draft.place(source, block),
                    draft.place(gates).plus(block * draft.machine.vector_bytes),
                    draft.place(source, block),
                    buffer.pixels,
                ),
            ),
            1,
        )
        for block in range(buffer.layout.blocks)
    ]
    draft.phase(node, "gate activations", items)
    return products


def _gate_weights(draft: Draft, node: Node, products: list[Product]) -> list[Product]:
    name, gates, width = f"{node.name} weights", node.inputs[1], draft.machine.width
    floats = sum(p.depth * p.vectors * width for p in products)
    draft.allocate(name, Layout((floats,), width))
    items, gated, offset = [], [], 0
    for product in products:
        target = draft.place(name).plus(offset * 4)
        runs, run_count = draft.run_table(product.lanes)
        call = Call(
            GateWeights(product.vectors),
            (product.weights, runs, run_count, draft.place(gates), target),
        )
        size = product.depth * product.vectors * width
        items.append(one(call, size))
        gated.append((product, offset))
        offset += size
    draft.phase(node, "gate weights", items)
    # Placed again, so that the memory lives until the product has read it.
    return [replace(p, weights=draft.place(name).plus(o * 4)) for p, o in gated]


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
) -> None:
    """(C,) @ (C, R) + (R,): one pixel, all of whose lanes are read in a row."""
    ins, out = draft.buffers[source].layout, draft.buffers[target].layout
    runs, run_count = draft.run_table([(0, ins.blocks * ins.width // RUN)])
    shift = draft.gather(bias, (0,), out.channel_of_lane)
    items, block = [], 0
    for vectors in chunks(out.blocks, MATRIX_VECTORS):
        lanes = _columns(out, block, vectors, 0)
        weights = draft.gather(weight, ins.channel_of_lane, lanes, factor)
        kernel = PointwiseKernel(1, vectors, activation)
        arguments = (
            draft.place(source),
            runs,
            run_count,
            weights,
            shift.plus(block * draft.machine.vector_bytes),
            draft.place(target, block),
            draft.buffers[target].block_bytes,
            0,
            1,
            weights,
        )
        items.append(one(Call(kernel, arguments), vectors))
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
    )
