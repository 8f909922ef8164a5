"""Parameters by name: what passes take and give, what engines read."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from minimix.arrays import Array
from minimix.errors import WeightsError
from minimix.graph import Graph

Params = Mapping[str, Array]
"""Read-only arrays by full name, such as ``blocks.3.mixconv.0.weight``."""


def frozen(params: Params) -> Params:
    """Return a read-only mapping of read-only views of the arrays."""
    views = {}
    for name, array in params.items():
        views[name] = array.view()
        views[name].flags.writeable = False
    return MappingProxyType(views)


def check_shapes(graph: Graph, params: Params) -> None:
    """Check that every parameter of the graph is there once, in its shape, and no other.

    Raises:
        WeightsError: names the first parameter that is missing, left over, of another shape, or of
            another type than floating point.
    """
    expected = graph.param_shapes
    missing = [name for name in expected if name not in params]
    extra = [name for name in params if name not in expected]
    if missing or extra:
        lines = [
            f"{what}: {', '.join(names[:3])}{f' and {len(names) - 3} more' * (len(names) > 3)}"
            for what, names in (("missing", missing), ("left over", extra))
            if names
        ]
        raise WeightsError(f"parameters do not match {graph.name}; {'; '.join(lines)}")
    for name, shape in expected.items():
        array = params[name]
        if array.shape != shape:
            raise WeightsError(f"{name}: expected {shape}, found {array.shape}")
        if array.dtype.kind != "f":
            raise WeightsError(f"{name}: expected floating point, found {array.dtype}")


def check_params(graph: Graph, params: Params) -> None:
    """Check what ``check_shapes`` does, and the values.

    Raises:
        WeightsError: names the first parameter that does not fit, has values that are not finite,
            or is a variance below zero.
    """
    check_shapes(graph, params)
    for name in graph.param_shapes:
        array = params[name]
        if not np.isfinite(array).all():
            bad = int(array.size - np.isfinite(array).sum())
            raise WeightsError(f"{name}: {bad} of {array.size} values are not finite")
        if name.endswith(".variance") and array.size and array.min() < 0:
            raise WeightsError(f"{name}: a variance is negative ({array.min()})")
