"""Phases of the convolutions with spatial extent: the stem, MixConv, and expansion with MixConv."""

from __future__ import annotations

from typing import NamedTuple

from minimix.engine.draft import Draft, one
from minimix.engine.kernels.conv import DepthwiseKernel, RowGeometry, StemKernel
from minimix.engine.layout import Layout
from minimix.engine.plan import IMAGE, SCRATCH, Call, Item, Place
from minimix.engine.plan_pointwise import Product, group_products
from minimix.geometry import pad_amounts
from minimix.graph import Node
from minimix.operators import Conv, MixConv, Pointwise

STRIP_BYTES = 400_000
"""An expansion's strip of rows stays below this, so that it lives in the second-level cache."""

ROWS = 14
"""Rows of an item, where rows can be divided among threads."""


def _row_ranges(rows: int, step: int = ROWS) -> list[tuple[int, int]]:
    return [(first, min(rows, first + step)) for first in range(0, rows, step)]


def _lanes(layout: Layout, block: int) -> tuple[int, ...]:
    return layout.channel_of_lane[block * layout.width : (block + 1) * layout.width]


def plan_stem(draft: Draft, node: Node, operator: Conv) -> None:
    """A full convolution of the image."""
    _, H, W, C = draft.specs[node.inputs[0]].shape
    K, stride = operator.kernel_size, operator.stride
    above, _ = pad_amounts(H, K, stride, operator.padding)
    before, _ = pad_amounts(W, K, stride, operator.padding)
    out = draft.result(node)
    row = RowGeometry(W, out.width, K, stride, 1, before, draft.machine.tile_outputs)
    kernel = StemKernel(row, C, operator.activation)
    bias = draft.bias(node)
    items = []
    for block in range(out.layout.blocks):
        lanes = _lanes(out.layout, block)
        weights = draft.gather(f"{node.name}.weight", range(K * K * C), lanes)
        shift = bias.plus(block * draft.machine.vector_bytes)
        for first, last in _row_ranges(out.height):
            target = draft.place(node.name, block)
            row_of_arguments = (Place(IMAGE), weights, shift, target, first, last, H, above)
            items.append(one(Call(kernel, row_of_arguments), last - first))
    draft.phase(node, "stem", items)


class DepthwiseBlock(NamedTuple):
    """What computes one block of a MixConv's channels."""

    kernel: DepthwiseKernel
    weights: Place
    bias: Place
    above: int

    @property
    def cost(self) -> int:
        """Multiply-adds per output vector."""
        return self.kernel.row.kernel_size**2


def depthwise_blocks(draft: Draft, node: Node, pool: bool) -> list[DepthwiseBlock]:
    """The blocks of a MixConv, each of one kernel size."""
    operator, layout = node.operator, draft.layout[node.name]
    assert isinstance(operator, MixConv)
    _, H, W, _ = draft.specs[node.inputs[0]].shape
    Wo, stride = draft.specs[node.name].shape[2], operator.stride
    bias, first, found = draft.bias(node), 0, []
    for g, channels in enumerate(operator.group_channels(layout.channels)):
        K, dilation = operator.kernel_sizes[g], operator.dilations[g]
        above, _ = pad_amounts(H, K, stride, operator.padding, dilation)
        before, _ = pad_amounts(W, K, stride, operator.padding, dilation)
        row = RowGeometry(W, Wo, K, stride, dilation, before, draft.machine.tile_outputs)
        kernel = DepthwiseKernel(row, operator.activation, pool)
        for block in range(*layout.block_range(first, channels)):
            columns = [c - first if c >= 0 else -1 for c in _lanes(layout, block)]
            weights = draft.gather(f"{node.name}.{g}.weight", range(K * K), columns)
            shift = bias.plus(block * draft.machine.vector_bytes)
            found.append(DepthwiseBlock(kernel, weights, shift, above))
        first += channels
    return found


def _depthwise_call(
    draft: Draft,
    node: Node,
    part: DepthwiseBlock,
    block: int,
    source: Place,
    rows: tuple[int, int],
    sums: str | None,
) -> Call:
    H = draft.specs[node.inputs[0]].shape[1]
    target = draft.place(node.name, block)
    pooled = draft.place(sums, block) if sums else 0
    return Call(
        part.kernel,
        (source, part.weights, part.bias, target, pooled, *rows, H, part.above),
    )


def plan_mixconv(draft: Draft, node: Node, sums: str | None) -> None:
    """A MixConv that reads a stored map; ``sums`` names where its sums over pixels go."""
    out = draft.result(node)
    ranges = [(0, out.height)] if sums else _row_ranges(out.height)
    items = [
        one(
            _depthwise_call(
                draft, node, part, block, draft.place(node.inputs[0], block), rows, sums
            ),
            (rows[1] - rows[0]) * part.cost,
        )
        for block, part in enumerate(depthwise_blocks(draft, node, sums is not None))
        for rows in ranges
    ]
    draft.phase(node, "depthwise", items)


def plan_expansion(draft: Draft, expand: Node, node: Node, sums: str | None) -> None:
    """A 1x1 convolution and the MixConv that alone reads it, a few channel blocks at a time."""
    operator = node.operator
    assert isinstance(expand.operator, Pointwise) and isinstance(operator, MixConv)
    _, H, W, _ = draft.specs[expand.name].shape
    out = draft.result(node)
    blocks = depthwise_blocks(draft, node, sums is not None)
    items: list[Item] = []
    for product in group_products(draft, expand, draft.machine.tile_vectors):
        mine = range(product.block, product.block + product.vectors)
        reach = max(part.kernel.row.kernel_size for part in (blocks[b] for b in mine))
        rows_at_once = _strip_rows(draft, product.vectors, H, W, operator, reach, sums)
        for rows in _row_ranges(out.height, rows_at_once or out.height):
            items.append(_expansion_item(draft, node, product, blocks, rows, sums, (H, W)))
    draft.phase(node, "expand+depthwise", items)


def _strip_rows(
    draft: Draft, vectors: int, H: int, W: int, operator: MixConv, reach: int, sums: str | None
) -> int:
    """Output rows per strip, 0 for all: sums over all pixels need the whole plane at once."""
    row_bytes = vectors * W * draft.machine.vector_bytes
    if sums or H * row_bytes <= STRIP_BYTES:
        return 0
    return max(4, (STRIP_BYTES // row_bytes - reach) // operator.stride)


def _expansion_item(
    draft: Draft,
    node: Node,
    product: Product,
    blocks: list[DepthwiseBlock],
    rows: tuple[int, int],
    sums: str | None,
    size: tuple[int, int],
) -> Item:
    """Expand the rows that some output rows need, into scratch; filter them from there."""
    operator, (H, W) = node.operator, size
    assert isinstance(operator, MixConv)
    parts = {b: blocks[b] for b in range(product.block, product.block + product.vectors)}
    # The strip must cover the largest kernel of the item, not the first one's.
    low = min(rows[0] * operator.stride - part.above for part in parts.values())
    high = max(
        (rows[1] - 1) * operator.stride
        - part.above
        + part.kernel.row.dilation * (part.kernel.row.kernel_size - 1)
        + 1
        for part in parts.values()
    )
    low, high = max(0, low), min(H, high)
    pixels, vector_bytes = (high - low) * W, draft.machine.vector_bytes
    tile = product.kernel.pixels
    tiles = -(-pixels // tile)
    plane = tiles * tile * vector_bytes
    draft.scratch_bytes = max(draft.scratch_bytes, plane * product.vectors)
    source = product.source.plus(low * W * vector_bytes)
    calls = [*product.calls(source, Place(SCRATCH), plane, 0, tiles)]
    calls += [
        _depthwise_call(
            draft,
            node,
            part,
            block,
            # Kernels count rows from the picture's top, of which only these are here.
            Place(SCRATCH, n * plane - low * W * vector_bytes),
            rows,
            sums,
        )
        for n, (block, part) in enumerate(parts.items())
    ]
    cost = pixels * product.depth * product.vectors + sum(
        (rows[1] - rows[0]) * part.kernel.row.size_out * part.cost for part in parts.values()
    )
    return Item(tuple(calls), cost)
