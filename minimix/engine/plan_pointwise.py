"""Phases of 1x1 convolutions, and what they share with the products of ``plan_head``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

from minimix.engine.draft import Draft, chunks, one
from minimix.engine.kernels.head import GateActivations, GateWeights
from minimix.engine.kernels.pointwise import PointwiseKernel
from minimix.engine.layout import RUN, Layout
from minimix.engine.plan import Call, Item, Place
from minimix.fused import FusedPointwise
from minimix.graph import Node
from minimix.operators import Pointwise

AT_ONCE = 128
"""Input channels, about, whose products are added up before they join those of the channels before
them: in float32 a few short sums lose less to rounding than a long one."""

ITEM_PIXELS = 196
"""Pixels of an item, where they can be divided among threads."""


class Piece(NamedTuple):
    """Input channels that are multiplied by one call: a table of runs, and steps of them before."""

    runs: Place
    run_count: int
    first_step: int


@dataclass(frozen=True)
class Product:
    """Some output blocks of a 1x1 convolution: kernel, weights, and what it reads.

    Attributes:
        block: the first output block.
        pieces: its input channels; each piece joins the sum of those before.
        vector_bytes: of the machine.
        depth: input channels that are multiplied, padding included.
        lanes: runs of input channels, as the gates have them.
    """

    kernel: PointwiseKernel
    block: int
    source: Place
    pieces: tuple[Piece, ...]
    weights: Place
    bias: Place
    after: Place
    vector_bytes: int
    depth: int
    lanes: tuple[tuple[int, int], ...]

    @property
    def vectors(self) -> int:
        """Output blocks."""
        return self.kernel.vectors

    def calls(
        self, source: Place, target: Place, plane: int, residual: Place | int, tiles: int
    ) -> tuple[Call, ...]:
        """The product over ``tiles`` tiles of pixels."""
        step_bytes = RUN * self.vectors * self.vector_bytes
        found = []
        for piece in self.pieces:
            is_last = piece is self.pieces[-1]
            kernel = replace(self.kernel, joins=piece.first_step > 0)
            if not is_last:
                kernel = replace(kernel, activation=None, residual=False)
            arguments = (
                source,
                piece.runs,
                piece.run_count,
                self.weights.plus(piece.first_step * step_bytes),
                self.bias,
                target,
                plane,
                residual if is_last else 0,
                tiles,
                # A cache line per step and tile has been asked for by the pieces before.
                self.after.plus(64 * self.kernel.prefetch * piece.first_step * tiles),
            )
            found.append(Call(kernel, arguments))
        return tuple(found)


def _prefetch(pixels: int) -> int:
    """Cache lines to ask for per step: the fewer pixels, the sooner new weights are needed."""
    return 2 if 1 < pixels <= 49 else 1 if 1 < pixels <= 196 else 0


def _pieces(draft: Draft, runs: list[tuple[int, int]], at_once: int | None) -> tuple[Piece, ...]:
    """(offset, steps) of channel runs, in pieces of about ``at_once`` channels or in one."""
    steps = [count for _, count in runs]
    total, before = sum(steps), [0, *accumulate(steps)][:-1]
    number = -(-total * RUN // at_once) if at_once else 1
    cut: list[list[int]] = [[] for _ in range(number)]
    for n, first_step in enumerate(before):
        cut[first_step * number // total].append(n)
    return tuple(
        Piece(*draft.run_table(runs[n] for n in part), before[part[0]]) for part in cut if part
    )


def group_products(
    draft: Draft, node: Node, most: int, at_once: int | None = None
) -> list[Product]:
    """A 1x1 convolution cut into products of at most ``most`` output blocks.

    With ``at_once``, about so many input channels are multiplied by one call.
    """
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
        runs = [(block * buffer.block_bytes + lane * 4, steps) for block, lane, steps in input_runs]
        pieces = _pieces(draft, runs, at_once)
        rows = buffer.layout.rows(in_first, ins)
        block, last = layout.block_range(out_first, outs)
        for vectors in chunks(last - block, most):
            lanes = columns_of(layout, block, vectors, out_first)
            weights = draft.gather(f"{node.name}.{g}.weight", rows, lanes)
            found.append(
                Product(
                    replace(kernel, vectors=vectors),
                    block,
                    draft.place(name),
                    pieces,
                    weights,
                    bias.plus(block * draft.machine.vector_bytes),
                    draft.next_weights,
                    draft.machine.vector_bytes,
                    len(rows),
                    tuple(((b * layout.width + lane) * 4, steps) for b, lane, steps in input_runs),
                )
            )
            block += vectors
        in_first, out_first = in_first + ins, out_first + outs
    return found


def columns_of(layout: Layout, block: int, vectors: int, first: int) -> tuple[int, ...]:
    """Channel of each lane of some blocks, counted from ``first``; -1 for padding."""
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
    # A pooled product has no place for the sums of a few channels only.
    products = group_products(draft, node, most, None if pooled else AT_ONCE)
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
        calls = product.calls(
            product.source.plus(shift),
            draft.place(node.name, product.block).plus(shift),
            out.block_bytes,
            added,
            last - first,
        )
        items.append(Item(calls, (last - first) * tile * product.depth * product.vectors))
    return items


def _pooled_items(draft: Draft, node: Node, product: Product, residual: str | None) -> list[Item]:
    """One product, summed over exactly the pixels that exist."""
    pixels = draft.buffers[node.inputs[0]].pixels
    tile = product.kernel.pixels
    whole, rest = divmod(pixels, tile)
    target = draft.place(node.name, product.block)
    plane = draft.buffers[node.name].block_bytes
    added = draft.place(residual, product.block) if residual else None
    # A tile has no more pixels than there are: at least one is whole.
    first = replace(product, kernel=replace(product.kernel, partial=rest > 0))
    calls = [*first.calls(product.source, target, plane, added or 0, whole)]
    if rest:
        last = replace(product, kernel=replace(product.kernel, pixels=rest, more=True))
        shift = whole * tile * draft.machine.vector_bytes
        more = added.plus(shift) if added else 0
        calls += last.calls(product.source.plus(shift), target, plane, more, 1)
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
