"""The engines that run a graph: ``reference``, plain NumPy, and ``compiled``, for this machine."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Literal, Protocol

from minimix.arrays import Array
from minimix.errors import UsageError
from minimix.graph import Graph, Node
from minimix.params import Params

EngineName = Literal["auto", "compiled", "reference"]

Observe = Callable[[Node, Array], None]
"""Called with each node and the array it produced, in the order of execution."""


class Engine(Protocol):
    """What runs a graph."""

    name: str
    graph: Graph

    def run(self, x: Array, observe: Observe | None = None) -> tuple[Array, ...]:
        """(N, H, W, C) -> the graph's outputs, in order."""


def make_engine(
    name: EngineName, graph: Graph, params: Params, *, threads: int | None = None
) -> Engine:
    """Return the engine of that name; ``auto`` is the reference engine.

    Args:
        name: which engine.
        graph: what it will compute.
        params: with these parameters.
        threads: of the compiled engine; by default one per core.

    Raises:
        UsageError: there is no such engine, or it cannot run here.
    """
    if name == "compiled":
        if find_spec("llvmlite") is None or find_spec("numba") is None:
            raise UsageError(
                "engine 'compiled' needs Numba, which is not installed: pip install numba, or use "
                "the reference engine"
            )
        from minimix.engine.compiled import CompiledEngine

        return CompiledEngine(graph, params, threads=threads)
    if name not in ("auto", "reference"):
        raise UsageError(f"engine {name!r}; known: auto, compiled, reference")
    from minimix.engine.reference import ReferenceEngine

    return ReferenceEngine(graph, params)
