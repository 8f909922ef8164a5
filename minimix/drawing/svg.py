"""A drawing as SVG that stands on its own: light and dark, every shape with its name."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from math import hypot

from minimix.drawing.layout import draw
from minimix.drawing.shapes import Box, Drawing, Label, Line, Point, Sign
from minimix.graph import Graph
from minimix.palette import KERNEL_COLOURS, KERNEL_HATCHES, kernel_colour

CORNER = 8.0

# Matplotlib's hatch -> what is repeated, and how far it is turned, in degrees.
_STRIPE = '<path d="M3 0V6"/>'
_HATCHES = {
    "//": (_STRIPE, 45),
    "\\\\": (_STRIPE, -45),
    "xx": ('<path d="M3 0V6M0 3H6"/>', 45),
    "..": ('<circle cx="3" cy="3" r=".9"/>', 0),
}
_STYLE = """
.minimix-graph { color: #1b1f24; font: 11px system-ui, -apple-system, "Segoe UI", sans-serif;
  font-variant-numeric: tabular-nums; }
.minimix-graph text { fill: currentColor; white-space: pre; }
.minimix-graph .paper { fill: #fff; }
.minimix-graph .bold { font-weight: 600; }
.minimix-graph .quiet { opacity: .78; }
.minimix-graph .part { fill: currentColor; fill-opacity: .05; stroke: currentColor;
  stroke-opacity: .45; }
.minimix-graph .cost { fill: currentColor; fill-opacity: .45; }
.minimix-graph .lane { fill-opacity: .14; }
.minimix-graph .sign { fill: none; stroke: currentColor; stroke-width: 1.4; }
.minimix-graph .flow, .minimix-graph .gates, .minimix-graph .residual { fill: none;
  stroke: currentColor; stroke-opacity: .5; stroke-width: 1.4; }
.minimix-graph .residual { stroke-opacity: .9; }
.minimix-graph .gates { stroke-dasharray: 4 3; }
.minimix-graph .hatch { stroke: #fff; stroke-opacity: .75; stroke-width: 1.3; }
@media (prefers-color-scheme: dark) {
  .minimix-graph { color: #e6e8eb; }
  .minimix-graph .paper { fill: #15181c; }
  .minimix-graph .lane { fill-opacity: .24; }
}
"""


def svg(graph: Graph, size: int) -> str:
    """A graph and the side of its input in pixels -> an SVG document.

    Raises:
        GraphError: the graph does not take pictures of that size.

    >>> from minimix.dialect import DIALECTS
    >>> from minimix.zoo import architecture, build
    >>> svg(build(architecture("mixnet-s"), DIALECTS["timm"]), 224).splitlines()[1]
    '<title>mixnet-s, 224 × 224 px</title>'
    """
    return "\n".join(_document(draw(graph, size))) + "\n"


def _document(sheet: Drawing) -> Iterator[str]:
    width, height = _number(sheet.width), _number(sheet.height)
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="minimix-graph" role="img" '
        f'width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    )
    yield f"<title>{escape(sheet.title)}</title>"
    yield f"<desc>{escape(sheet.description)}</desc>"
    yield f"<style>{_STYLE}</style>"
    yield "<defs>"
    yield from _definitions()
    yield "</defs>"
    yield f'<rect class="paper" fill="#fff" width="{width}" height="{height}"/>'
    yield from map(_line, sheet.lines)
    for box in sheet.boxes:
        yield from _box(box)
    yield from map(_sign, sheet.signs)
    yield from map(_label, sheet.labels)
    yield "</svg>"


def _definitions() -> Iterator[str]:
    yield (
        '<marker id="minimix-arrow" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto" markerUnits="userSpaceOnUse">'
        '<path d="M0 0L8 4L0 8Z" fill="currentColor"/></marker>'
    )
    for extent, hatch in KERNEL_HATCHES.items():
        if hatch:
            drawn, degrees = _HATCHES[hatch]
            yield (
                f'<pattern id="minimix-hatch-{extent}" width="6" height="6" '
                f'patternUnits="userSpaceOnUse" patternTransform="rotate({degrees})">'
                f'<g class="hatch" fill="#fff" stroke="#fff">{drawn}</g></pattern>'
            )


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _box(box: Box) -> Iterator[str]:
    area = box.area
    place = " ".join(
        f'{name}="{_number(value)}"'
        for name, value in (
            ("x", area.x),
            ("y", area.y),
            ("width", area.width),
            ("height", area.height),
        )
    )
    tip = f"<title>{escape(box.tip)}</title>" if box.tip else ""
    paint = ""
    if box.kernel is not None:
        colour = kernel_colour(box.kernel)
        paint = f' fill="{colour}" stroke="{colour}"'
    yield f'<rect class="{box.css}" {place} rx="3"{paint}>{tip}</rect>'
    if box.css == "swatch" and box.kernel in KERNEL_COLOURS and KERNEL_HATCHES[box.kernel]:
        yield f'<rect {place} rx="3" fill="url(#minimix-hatch-{box.kernel})"/>'


def _sign(sign: Sign) -> str:
    arm = sign.radius * (0.5 if sign.sign == "+" else 0.36)
    ends = ((-arm, 0.0, arm, 0.0), (0.0, -arm, 0.0, arm))
    if sign.sign == "x":
        ends = ((-arm, -arm, arm, arm), (-arm, arm, arm, -arm))
    strokes = "".join(
        f"M{_number(sign.x + a)} {_number(sign.y + b)}L{_number(sign.x + c)} {_number(sign.y + d)}"
        for a, b, c, d in ends
    )
    tip = f"<title>{escape(sign.tip)}</title>" if sign.tip else ""
    return (
        f'<g class="sign">{tip}<circle cx="{_number(sign.x)}" cy="{_number(sign.y)}" '
        f'r="{_number(sign.radius)}"/><path d="{strokes}"/></g>'
    )


def _label(label: Label) -> str:
    css = " ".join(name for name in ("bold", "quiet") if getattr(label, name))
    return (
        f'<text x="{_number(label.x)}" y="{_number(label.y)}" font-size="{_number(label.size)}" '
        f'text-anchor="{label.anchor}"' + (f' class="{css}"' if css else "") + ">"
        f"{escape(label.text)}</text>"
    )


def _line(line: Line) -> str:
    arrow = ' marker-end="url(#minimix-arrow)"' if line.arrow else ""
    return f'<path class="{line.css}" d="{_rounded(line.points)}"{arrow}/>'


def _rounded(points: tuple[Point, ...]) -> str:
    """Points -> a path whose corners are quarter turns, smaller where there is no room."""
    commands = [f"M{_pair(points[0])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(CORNER, _distance(before, corner) / 2, _distance(corner, after) / 2)
        start, end = _towards(corner, before, radius), _towards(corner, after, radius)
        commands.append(f"L{_pair(start)}Q{_pair(corner)} {_pair(end)}")
    return "".join([*commands, f"L{_pair(points[-1])}"])


def _pair(point: Point) -> str:
    return f"{_number(point[0])} {_number(point[1])}"


def _distance(a: Point, b: Point) -> float:
    return hypot(b[0] - a[0], b[1] - a[1])


def _towards(a: Point, b: Point, length: float) -> Point:
    distance = _distance(a, b)
    if distance == 0:
        return a
    return a[0] + (b[0] - a[0]) * length / distance, a[1] + (b[1] - a[1]) * length / distance
