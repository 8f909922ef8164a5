"""The graph drawn: as SVG by ourselves, and as DOT for graphviz."""

from __future__ import annotations

from minimix.drawing.dot import dot
from minimix.drawing.svg import svg

__all__ = ["dot", "svg"]
