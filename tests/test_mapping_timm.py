"""timm's names and layouts: turned into ours whole, or refused; nothing is cut to fit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from minimix.dialect import DIALECTS
from minimix.errors import WeightsError
from minimix.zoo import build
from tests.golden.recordings import timm_tensors
from tests.golden.seeded import CASES
from weights_tools.mappings.layouts import from_oihw, to_oihw
from weights_tools.mappings.timm import map_timm

Array = NDArray[Any]
TENSORS = timm_tensors(CASES["mixnet_s-odd"])
"""A narrow mixnet-s with 7 classes, under timm's names."""

SHAPES: dict[str, Callable[[Array], Array | None]] = {
    "missing": lambda t: None,
    "scalar": lambda t: np.array(1.0, np.float32),
    "no values": lambda t: t[:0],
    "one more": lambda t: np.concatenate([t, t[:1]]),
    "one fewer": lambda t: t[:-1],
    "turned": lambda t: np.ascontiguousarray(t.T),
    "one axis more": lambda t: t[..., None],
    "one axis fewer": lambda t: t[0],
    "flat": lambda t: t.reshape(-1),
    "empty last": lambda t: t[..., :0],
    "doubled second": lambda t: np.concatenate([t, t], min(1, t.ndim - 1)),
    "doubled last": lambda t: np.concatenate([t, t], -1),
}


@settings(max_examples=200)
@given(
    name=st.sampled_from([name for name, tensor in TENSORS.items() if tensor.ndim]),
    change=st.sampled_from(sorted(SHAPES)),
)
def test_any_tensor_that_is_missing_or_misshapen_is_a_weights_error(name: str, change: str) -> None:
    tensor = SHAPES[change](TENSORS[name])
    tensors = {n: t for n, t in {**TENSORS, name: tensor}.items() if t is not None}
    is_changed = tensor is None or tensor.shape != TENSORS[name].shape
    with pytest.raises(WeightsError, match=".") if is_changed else nullcontext():
        map_timm(tensors)


@pytest.mark.parametrize("name", ["stem.conv", "blocks.3.mixconv", "blocks.3.expand", "classifier"])
def test_layouts_turned_forth_and_back_are_unchanged(name: str) -> None:
    graph = build(map_timm(TENSORS).architecture, DIALECTS["timm"])
    operator = graph[name].operator
    for full_name in graph.param_names[name]:
        if full_name.endswith("weight"):
            shape = graph.param_shapes[full_name]
            ours = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
            np.testing.assert_array_equal(from_oihw(to_oihw(ours, operator), operator), ours)
