"""What a notebook shows of a model, a prediction, a trace and its steps: ``_repr_html_`` of each.

Plain HTML: no scripts, no files beside it, pictures as data URIs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from minimix import markup
from minimix.arrays import Array
from minimix.markup import Html, card, element, facts, kernels, shape_text, table, text
from minimix.mosaic import liveliest, side_by_side
from minimix.operators import Activation, BatchNorm, Input, MixConv, SqueezeExcite
from minimix.palette import coloured
from minimix.png import data_uri

if TYPE_CHECKING:
    from minimix.graph import Node
    from minimix.model import Model
    from minimix.results import Prediction, Step, Trace

MAPS, MAP_SIDE, LARGE_SIDE = 4, 36, 96
"""Feature maps of a step, their side in a trace's table, and on a step's own card, in pixels."""

SMALLEST_SIDE = 24
"""Pixels of a map's picture at least, along its longer side."""

GATES = 5
"""Channels that are named at either end of the sorted gates."""


def model_html(model: Model) -> Html:
    """A model -> its facts, and a table of its blocks."""
    graph, file = model.graph, model.file
    specs, macs = graph.infer(1, model.size, model.size), graph.macs(model.size, model.size)
    rows = [
        (
            text(stage),
            kernels(_widest(nodes)),
            text(shape_text(specs[nodes[-1].name].shape[1:])),
            text(_count(sum(map(graph.param_count, nodes)))),
            text(_count(sum(macs[node.name] for node in nodes))),
        )
        for stage, nodes in graph.stages.items()
    ]
    pairs = [
        ("weights", text(f"{file.dialect.name}, {_first_words(model.labels)}")),
        ("input", text(f"{model.size} × {model.size} px, pipeline {model.pipeline.name}")),
        ("parameters", text(f"{sum(map(graph.param_count, graph)):,}")),
        ("multiply-adds", text(f"{sum(macs.values()):,}")),
        ("engine", text(model.engine.name)),
        ("licence", text(file.provenance.get("license", ""))),
    ]
    heads = ("block", "kernels", "output", "parameters", "multiply-adds")
    return card(model.name, facts(pairs), table(heads, rows, "  >>>"))


def _first_words(labels: Sequence[str]) -> str:
    more = ", ..." if len(labels) > 3 else ""
    return f"{len(labels):,} classes: {', '.join(labels[:3])}{more}"


def _widest(nodes: Iterable[Node]) -> tuple[int, ...]:
    """The kernel sizes that a block is known for."""
    return max((node.kernel_sizes for node in nodes), key=lambda sizes: (len(sizes), sizes))


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def prediction_html(prediction: Prediction) -> Html:
    """A prediction -> its classes, with a bar for each probability."""
    rows = [
        (text(score.label), markup.bar(score.p), text(f"{score.p:.1%}".replace("%", " %")))
        for score in prediction.top
    ]
    return card(prediction.label, table(("class", "", "probability"), rows, "  >"))


def trace_html(trace: Trace) -> Html:
    """A trace -> a table of its steps, the liveliest feature maps of each beside it."""
    # What batch norm or an activation goes on with is on its way: the result is shown once.
    passing = {
        source
        for step in trace
        if isinstance(step.node.operator, BatchNorm | Activation)
        for source in step.node.inputs
    }
    rows = [
        (
            text(step.name),
            text(step.node.kind.replace("_", " ")),
            kernels(step.kernel_sizes),
            text(shape_text(step.output.shape[1:])),
            text(_range(step.output)),
            Html("") if step.name in passing else _maps(step, MAP_SIDE),
        )
        for step in trace
    ]
    heads = ("step", "kind", "kernels", "output", "lowest to highest", "liveliest channels")
    said = (
        f"The {MAPS} channels with the most energy, of the first picture; dark is the lowest value "
        "shown, light the highest."
    )
    note = element("p", text(said), "note")
    return card(f"{len(trace)} steps", table(heads, rows, "   >>"), note)


def step_html(step: Step) -> Html:
    """A step -> its node, what it gave, its liveliest feature maps, its gates."""
    y = step.output
    groups = _groups(step)
    extents = () if groups else step.kernel_sizes
    with np.errstate(invalid="ignore"):  # of infinities there is neither
        mean, deviation = y.mean(), y.std()
    pairs = [
        *markup.node_facts(step.node.operator, extents, step.node.inputs),
        ("groups", groups),
        ("output", text(f"{shape_text(y.shape[1:])}, {_pictures(len(y))}")),
        ("values", text(_number(f"{_range(y)}, mean {mean:.3g}, std {deviation:.3g}"))),
        ("maps", _maps(step, LARGE_SIDE)),
        ("gates", _gates(step) if isinstance(step.node.operator, SqueezeExcite) else Html("")),
    ]
    return card(step.name, facts(pairs))


def _pictures(count: int) -> str:
    return f"{count} picture{'s' * (count > 1)}"


def _range(y: Array) -> str:
    return _number(f"{y.min():.3g} to {y.max():.3g}")


def _number(written: str) -> str:
    """A minus as long as a plus."""
    return written.replace("-", "\N{MINUS SIGN}")


def _groups(step: Step) -> Html:
    """Channels of each kernel size."""
    if not isinstance(step.node.operator, MixConv):
        return Html("")
    channels = step.node.operator.group_channels(step.output.shape[-1])
    return markup.joined(
        element("div", Html(markup.kernel(extent) + text(f"{count:,} channels")))
        for extent, count in zip(step.kernel_sizes, channels, strict=True)
    )


def _gates(step: Step) -> Html:
    """The first picture's gates at both ends, sorted."""
    gates = step.gates[0]
    order = np.argsort(-gates, kind="stable")
    shown = [*order[:GATES], *order[max(GATES, len(order) - GATES) :]]
    rows = [
        (
            text(f"channel {channel}"),
            markup.bar(float(gates[channel])),
            text(f"{gates[channel]:.3f}"),
        )
        for channel in shown
    ]
    return table((f"of {len(gates):,}, sorted", "", "gate"), rows, "  >")


def _maps(step: Step, side: int) -> Html:
    """The liveliest maps in a row, as a picture; a picture itself as it entered."""
    if step.output.ndim != 4:
        return Html("")
    channels = liveliest(step.output[:1], MAPS)
    if isinstance(step.node.operator, Input):
        channels = list(range(step.output.shape[-1]))
    planes = [step.output[0, :, :, channel] for channel in channels]
    # No more pixels than it takes for thin gaps: the browser enlarges.
    longest = max(planes[0].shape)
    drawn = min(side, longest * -(-SMALLEST_SIDE // longest))
    row = side_by_side(planes, drawn)
    alt = f"channels {', '.join(map(str, channels))} of {step.name}"
    height, width = (round(pixels * side / drawn) for pixels in row.shape)
    picture = markup.image(data_uri(_picture(row)), alt, width, height)
    if side < LARGE_SIDE:
        return picture
    low, high = _ends(row)
    ends = _number(f"{low:.3g} (dark) to {high:.3g} (light)")
    scale = f"{alt}; from {ends}"
    return Html(picture + element("p", text(scale), "note"))


def _ends(row: Array) -> tuple[float, float]:
    """The lowest and the highest number of a row of maps; 0 and 0 if nothing in it is finite."""
    found = row[np.isfinite(row)]
    return (float(found.min()), float(found.max())) if found.size else (0.0, 0.0)


def _picture(row: Array) -> NDArray[np.uint8]:
    """A row of maps, NaN between -> its colours; the gaps see-through."""
    colours = coloured(row, *_ends(row))
    opaque = np.where(np.isnan(row), 0, 255).astype(np.uint8)
    return np.concatenate([colours, opaque[..., None]], axis=-1)
