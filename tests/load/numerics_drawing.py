"""The errors of ``numerics.py`` as SVG: a panel a model, a place a layer, a bar an engine."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10

import numpy as np

from minimix.palette import KERNEL_COLOURS

# In the order in which they are measured; the palette's, told apart with any colour blindness.
COLOURS = (KERNEL_COLOURS[3], KERNEL_COLOURS[5], KERNEL_COLOURS[7])
LEFT, TOP, STEP, HEIGHT, FOOT, GAP = 64, 68, 34, 190, 104, 26
BAR = 8
"""From one engine's bar to the next, in pixels."""

STYLE = """
svg { color: #1b1f24; font: 11px system-ui, -apple-system, "Segoe UI", sans-serif;
  font-variant-numeric: tabular-nums; }
text { fill: currentColor; }
.paper { fill: #fff; }
.bold { font-weight: 600; font-size: 12px; }
.grid { stroke: currentColor; stroke-opacity: .15; }
@media (prefers-color-scheme: dark) { svg { color: #e6e8eb; } .paper { fill: #15181c; } }
"""


def drawing(models):
    """Title -> engine -> layer -> errors, as an SVG document."""
    most = max(len(next(iter(measured.values()))) for measured in models.values())
    width = LEFT + STEP * most + GAP
    height = TOP + len(models) * (HEIGHT + FOOT + GAP)
    labels = list(next(iter(models.values())))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">',
        "<title>Distance from float64, by layer</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="paper" fill="#fff" width="{width}" height="{height}"/>',
        *legend(labels),
    ]
    for n, (title, measured) in enumerate(models.items()):
        parts += panel(title, measured, TOP + n * (HEIGHT + FOOT + GAP))
    return "\n".join([*parts, "</svg>"]) + "\n"


def legend(labels):
    """What the colours and the ends of a bar mean."""
    yield (
        f'<text x="{LEFT}" y="20" class="bold">Distance from float64, in units of the last place '
        "of a picture’s largest number in a layer</text>"
    )
    x = LEFT
    for label, colour in zip(labels, COLOURS, strict=False):
        yield f'<rect x="{x}" y="32" width="10" height="10" rx="2" fill="{colour}"/>'
        yield f'<text x="{x + 15}" y="41">{escape(label)}</text>'
        x += 26 + 7 * len(label)
    yield (
        f'<text x="{x + 8}" y="41">a bar: from the median, which may lie below the scale, '
        "to the largest; its dot: 99 %</text>"
    )


def panel(title, measured, top):
    """One model's axes and bars; the scale is logarithmic."""
    found = np.array([e.of_largest for layers in measured.values() for e in layers.values()])
    # After an activation half of the numbers may be zero, and exactly right: no bar ends there.
    low = floor(log10(max(np.median(found[:, 0]), 1e-3)))
    high = max(ceil(log10(max(found.max(), 1e-3))), low + 1)
    layers = list(next(iter(measured.values())))
    right = LEFT + STEP * len(layers)

    def y_of(value):
        share = (log10(max(value, 10.0**low)) - low) / (high - low)
        return round(top + HEIGHT - share * (HEIGHT - 20), 1)

    yield f'<text x="{LEFT}" y="{top + 4}" class="bold">{escape(title)}</text>'
    for power in range(low, high + 1):
        y = y_of(10.0**power)
        yield f'<path class="grid" d="M{LEFT} {y}H{right}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{10.0**power:g}</text>'
    for place, name in enumerate(layers):
        middle = LEFT + STEP * place + STEP / 2
        yield (
            f'<text transform="translate({middle + 4} {top + HEIGHT + 12}) rotate(-60)" '
            f'text-anchor="end">{escape(name)}</text>'
        )
        for n, (label, colour) in enumerate(zip(measured, COLOURS, strict=False)):
            half, most, all_ = measured[label][name].of_largest
            x = middle + BAR * (n - (len(measured) - 1) / 2)
            tip = f"{name}, {label}: {half:.2f}, {most:.2f}, {all_:.2f} ULP"
            yield (
                f'<g><title>{escape(tip)}</title><path d="M{x} {y_of(half)}V{y_of(all_)}" '
                f'stroke="{colour}" stroke-width="3" stroke-linecap="round"/>'
                f'<circle cx="{x}" cy="{y_of(most)}" r="3.6" fill="{colour}"/></g>'
            )
