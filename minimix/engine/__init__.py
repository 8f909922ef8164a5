"""The engines that run a graph: ``reference``, plain NumPy, and ``compiled``, for this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from minimix.arrays import Array
from minimix.cores import thread_count
from minimix.errors import UsageError
from minimix.graph import Graph, Node
from minimix.params import Params

if TYPE_CHECKING:
    from minimix.engine.plan import Plan

EngineName = Literal["auto", "compiled", "reference"]

Observe = Callable[[Node, Array], None]
"""Called with each node and the array it produced, in the order of execution."""


class Engine(Protocol):
    """What runs a graph."""

    name: str
    graph: Graph

    def prepare(self, height: int, width: int) -> object:
        """Do now what the first picture of that size would have to wait for."""

    def run(self, x: Array, observe: Observe | None = None) -> tuple[Array, ...]:
        """(N, H, W, C) -> the graph's outputs, in order."""


def host_plan(graph: Graph, height: int, width: int, *, threads: int | None = None) -> Plan:
    """Plan an optimised graph for this machine, without weights and without compiling.

    Raises:
        GraphError: the compiled engine cannot run the graph at that size.
        UsageError: Numba is not installed or cannot be loaded, or the number of threads is
            impossible.
    """
    _need_numba()
    with _loading_the_compiler():
        from minimix.engine.compiled import host_machine
        from minimix.engine.planner import plan

        machine = host_machine(thread_count(threads))
    return plan(graph, height, width, machine)


def watch_compilation(watcher: Callable[[int], object] | None) -> None:
    """Have a function told how many kernels are still to be compiled, while some are.

    Without Numba there is nothing to watch.

    Raises:
        UsageError: Numba is installed and cannot be loaded.
    """
    if has_numba():
        with _loading_the_compiler():
            from minimix.engine.kernels.library import host_library, scheduler_library

            host_library().on_compile = scheduler_library().on_compile = watcher


def has_numba() -> bool:
    """Whether the compiled engine can be had: Numba, and the compiler it brings, are installed."""
    return find_spec("llvmlite") is not None and find_spec("numba") is not None


@cache
def _note_that_numba_is_missing() -> None:
    logging.getLogger("minimix").warning(
        "Numba is not installed: using the reference engine, which is slow; pip install numba"
    )


def _need_numba() -> None:
    if not has_numba():
        raise UsageError(
            "engine 'compiled' needs Numba, which is not installed: pip install numba, or use the "
            "reference engine"
        )


@contextmanager
def _loading_the_compiler() -> Iterator[None]:
    """Turn what the system, or Numba, says of what it cannot load into an error.

    Raises:
        UsageError: LLVM needs more memory than there is, or is not for this system; Numba is not
            for this NumPy, or a part of it is missing.
    """
    try:
        yield
    except (ImportError, OSError) as error:
        raise UsageError(
            f"engine 'compiled' cannot load Numba's compiler: {str(error).rstrip('.')}. Give the "
            "process more memory, install numba and llvmlite anew, or use the reference engine"
        ) from error


def make_engine(
    name: EngineName, graph: Graph, params: Params, *, threads: int | None = None
) -> Engine:
    """Return the engine of that name; ``auto`` is ``compiled`` where Numba is installed.

    Args:
        name: which engine.
        graph: what it will compute.
        params: with these parameters.
        threads: of the compiled engine; by default one per core.

    Raises:
        UsageError: there is no such engine, or it cannot run here.
    """
    if name not in get_args(EngineName):
        raise UsageError(f"engine {name!r}; known: {', '.join(get_args(EngineName))}")
    if name == "auto" and not has_numba():
        _note_that_numba_is_missing()
    elif name != "reference":
        _need_numba()
        with _loading_the_compiler():
            from minimix.engine.compiled import CompiledEngine

            return CompiledEngine(graph, params, threads=threads)
    from minimix.engine.reference import ReferenceEngine

    return ReferenceEngine(graph, params)
