"""HTML for notebooks: text escaped, colours of kernel sizes, and a node that shows itself.

No scripts, and no colours for text or background but the notebook's own, so that light and dark
themes both work.  Without its style sheet, where a site strips it, everything remains readable.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import NewType

from minimix.formulas import formulas
from minimix.operators import Operator
from minimix.palette import KERNEL_COLOURS, kernel_colour

Html = NewType("Html", str)
"""Markup whose text is escaped."""

_KERNELS = "".join(
    f".minimix .k{size}{{border-left-color:{colour}}}" for size, colour in KERNEL_COLOURS.items()
)
_STYLE = (
    ".minimix{font-family:system-ui,sans-serif;font-size:13px;line-height:1.5;color:inherit;"
    "font-variant-numeric:tabular-nums;max-width:60em}"
    ".minimix .title{font-weight:600;font-size:15px;margin:0 0 .3em}"
    ".minimix .note{opacity:.75;margin:.4em 0 0}"
    ".minimix table{border-collapse:collapse;margin:.3em 0;background:none;color:inherit;"
    "border:0}"
    ".minimix tr,.minimix tbody tr:nth-child(odd),.minimix tbody tr:hover{background:none}"
    ".minimix th,.minimix td{padding:.2em .9em .2em 0;border:0;white-space:nowrap;"
    "vertical-align:middle;text-align:left;color:inherit}"
    ".minimix thead th,.minimix tbody tr+tr td,.minimix tbody tr+tr th{"
    "border-top:1px solid rgba(128,128,128,.25)}"
    ".minimix thead th{border-top:0;border-bottom:1px solid rgba(128,128,128,.6);font-weight:600}"
    ".minimix tbody th{font-weight:400}"
    ".minimix .facts>tbody>tr>th{vertical-align:top}"
    ".minimix .number{text-align:right}"
    ".minimix td>code{font-family:ui-monospace,monospace;background:none;color:inherit;padding:0;"
    "white-space:pre-wrap}"
    f".minimix .k{{border-left:.7em solid {kernel_colour(0)};padding-left:.3em;"
    "margin-right:.7em;white-space:nowrap}"
    f"{_KERNELS}"
    ".minimix .track{display:inline-block;width:14em;height:.8em;vertical-align:middle;"
    "background:rgba(128,128,128,.18)}"
    f".minimix .bar{{display:block;height:100%;background:{KERNEL_COLOURS[3]}}}"
    ".minimix img{image-rendering:pixelated;display:inline-block;margin:0;vertical-align:middle}"
)


def text(value: object) -> Html:
    """Anything -> its text, escaped.

    >>> text("<b>")
    '&lt;b&gt;'
    """
    return Html(html.escape(str(value)))


def joined(parts: Iterable[Html], between: str = "") -> Html:
    """Put markup together, with that text between."""
    return Html(text(between).join(parts))


def element(tag: str, content: Html, css: str = "", **attributes: str) -> Html:
    """Return an element; ``css`` names its classes.

    >>> element("p", text("a & b"), "note")
    '<p class="note">a &amp; b</p>'
    """
    named = ({"class": css} if css else {}) | attributes
    written = "".join(f' {name}="{text(value)}"' for name, value in named.items())
    return Html(f"<{tag}{written}>{content}</{tag}>")


def image(data_uri: str, alt: str, width: int, height: int) -> Html:
    """Return a picture, in pixels of the page."""
    sizes = f'width="{width}" height="{height}"'
    return Html(f'<img src="{text(data_uri)}" alt="{text(alt)}" {sizes}>')


def bar(share: float) -> Html:
    """A number in 0..1 -> a bar; what is tiny remains visible."""
    inner = element("span", Html(""), "bar", style=f"width:{max(share, 0.002):.1%}")
    return element("span", inner, "track")


def kernel(extent: int) -> Html:
    """A kernel size -> its label behind its colour.

    >>> kernel(5)
    '<span class="k k5">5×5</span>'
    """
    known = f"k k{extent}" if extent in KERNEL_COLOURS else "k"
    return element("span", text(f"{extent}×{extent}"), known)


def kernels(extents: Iterable[int]) -> Html:
    """Kernel sizes -> their labels in a row; nothing for none."""
    return joined(map(kernel, extents))


def code(lines: Iterable[str]) -> Html:
    """Lines of text -> as they are, one below the other."""
    return element("code", Html("<br>".join(map(text, lines))))


def table(head: Sequence[str], rows: Iterable[Sequence[Html]], numbers: str = "") -> Html:
    """Titles, rows of markup -> a table; ``numbers`` has a ``>`` for each column of numbers.

    The first cell of a row names it.
    """
    sides = ["number" if side == ">" else "" for side in numbers.ljust(len(head))]
    titles = joined(
        element("th", text(title), side, scope="col")
        for title, side in zip(head, sides, strict=True)
    )
    body = joined(
        element(
            "tr",
            joined(
                element("td", cell, side) if n else element("th", cell, side, scope="row")
                for n, (cell, side) in enumerate(zip(row, sides, strict=True))
            ),
        )
        for row in rows
    )
    return element("table", Html(element("thead", element("tr", titles)) + element("tbody", body)))


def facts(pairs: Iterable[tuple[str, Html]]) -> Html:
    """Names and what they are -> a table of two columns; what is empty is left out."""
    rows = joined(
        element("tr", Html(element("th", text(name), scope="row") + element("td", value)))
        for name, value in pairs
        if value
    )
    return element("table", element("tbody", rows), "facts")


def card(title: str, *parts: Html) -> Html:
    """A title and what follows -> all that a notebook is given."""
    style = element("style", Html(_STYLE))
    heading = element("div", text(title), "title")
    return element("div", Html(style + heading + joined(parts)), "minimix")


def shape_text(shape: Sequence[int]) -> str:
    """A shape without its batch, as a reader writes it.

    >>> shape_text((24, 24, 120)), shape_text((768,))
    ('24 × 24 × 120', '768')
    """
    return " × ".join(f"{size:,}" for size in shape)


def attributes_of(operator: Operator) -> str:
    """What sets an operator apart from others of its kind.

    >>> from minimix.operators import Pointwise
    >>> attributes_of(Pointwise(144, groups=2))
    '144 channels, 2 groups'
    """
    found = {
        "out_channels": "{:,} channels",
        "out_features": "{:,} features",
        "reduced_channels": "{:,} channels inside",
        "stride": "stride {}",
        "padding": "{} padding",
    }
    texts = [
        pattern.format(getattr(operator, name))
        for name, pattern in found.items()
        if getattr(operator, name, None) is not None
    ]
    groups = getattr(operator, "groups", 1)
    return ", ".join(texts + ([f"{groups} groups"] if groups > 1 else []))


def node_facts(
    operator: Operator, extents: Sequence[int], inputs: Sequence[str]
) -> list[tuple[str, Html]]:
    """What is known of a node without a run: kind, attributes, kernels, what it reads, formula."""
    return [
        ("kind", text(operator.kind.replace("_", " "))),
        ("attributes", text(attributes_of(operator))),
        ("kernels", kernels(extents)),
        ("reads", text(", ".join(inputs))),
        ("formula", code(formulas(operator)) if formulas(operator) else Html("")),
    ]


def node_html(name: str, operator: Operator, extents: Sequence[int], inputs: Sequence[str]) -> Html:
    """Return a node's card."""
    return card(name, facts(node_facts(operator, extents, inputs)))
