"""The graph in DOT, the language of graphviz: blocks as clusters, MixConv lanes as coloured cells.

Source: graphviz.org, "DOT Language" and "HTML-Like Labels".
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from minimix.drawing.rows import Part, Row, rows_of, shown_name
from minimix.graph import Graph
from minimix.operators import Add, SqueezeExcite
from minimix.palette import kernel_colour


def dot(graph: Graph, size: int) -> str:
    """A graph and the side of its input in pixels -> DOT; ``dot -Tsvg`` draws it.

    Raises:
        GraphError: the graph does not take pictures of that size.

    >>> from minimix.dialect import DIALECTS
    >>> from minimix.zoo import architecture, build
    >>> dot(build(architecture("mixnet-s"), DIALECTS["timm"]), 224).splitlines()[0]
    'digraph "mixnet-s" {'
    """
    return "\n".join(_document(graph, size)) + "\n"


def _document(graph: Graph, size: int) -> Iterator[str]:
    rows, name = rows_of(graph, size), shown_name(graph)
    yield f"digraph {_quoted(name)} {{"
    yield f"  label={_quoted(f'{name}, {size} × {size} px')};"
    yield '  graph [labelloc="t", fontname="Helvetica,sans-serif", rankdir="TB"];'
    yield '  node [shape="box", style="rounded", fontname="Helvetica,sans-serif", fontsize="11"];'
    yield '  edge [fontname="Helvetica,sans-serif", fontsize="10", color="#6b7280"];'
    for n, row in enumerate(rows):
        yield from _cluster(n, row)
    shapes = {part.node.name: part.shape for row in rows for part in row.parts}
    for row in rows:
        for part in row.parts:
            for n, source in enumerate(part.node.inputs):
                shown = _quoted(" × ".join(f"{side:,}" for side in shapes[source]))
                # A residual must not pull its block's input down beside its output.
                extra = ", style=bold, constraint=false" if n else ""
                ends = f"{_quoted(source)} -> {_quoted(part.node.name)}"
                yield f"  {ends} [label={shown}{extra}];"
    yield "}"


def _cluster(n: int, row: Row) -> Iterator[str]:
    yield f"  subgraph cluster_{n} {{"
    costs = f"{row.parameters:,} parameters, {row.macs / 1e6:.2f} M MACs"
    yield f"    label={_quoted(f'{row.name}: {costs}')};"
    yield '    style="rounded"; color="#c4c9d0"; fontsize="11";'
    for part in row.parts:
        yield f"    {_quoted(part.node.name)} [{_attributes(part)}];"
    yield "  }"


def _attributes(part: Part) -> str:
    tip = f"tooltip={_quoted(part.tip)}"
    if part.lanes:
        return f'shape="plain", label=<{_lanes(part)}>, {tip}'
    if isinstance(part.operator, Add):
        return f'shape="circle", label="+", {tip}'
    facts = part.facts
    if isinstance(part.operator, SqueezeExcite):
        channels, inside = part.shape[-1], part.operator.reduced_channels
        facts = (f"{channels:,} → {inside:,} → {channels:,}",)
    return f"label={_quoted(chr(10).join((part.local, *facts)))}, {tip}"


def _lanes(part: Part) -> str:
    cells = "".join(
        f'<TD BGCOLOR="{kernel_colour(extent)}" WIDTH="14"></TD>'
        f'<TD ALIGN="LEFT">{extent}×{extent}: {channels:,}</TD>'
        for extent, channels in part.lanes
    )
    title = escape(", ".join((part.local, *part.facts)))
    return (
        '<TABLE BORDER="0" CELLBORDER="1" CELLSPACING="2" CELLPADDING="4">'
        f'<TR><TD BORDER="0" COLSPAN="{2 * len(part.lanes)}"><B>{title}</B></TD></TR>'
        f"<TR>{cells}</TR></TABLE>"
    )


def _quoted(text: str) -> str:
    r"""Text -> a quoted string of DOT, in which only the quote and the backslash are special.

    >>> print(_quoted('a "b"'))
    "a \"b\""
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
