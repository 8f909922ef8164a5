"""The narrowest mixnet-s there is, so that a whole model fits into a small file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from minimix.dialect import DIALECTS
from minimix.operators import SqueezeExcite
from minimix.zoo import Architecture, architecture, build
from tests import foreign_names
from tests.golden import recordings
from tests.golden.seeded import CASES
from tests.strategies import random_params
from weights_tools.mappings.layouts import to_oihw
from weights_tools.mappings.timm import map_timm

CHANNELS = 2
CLASSES = 3

Arrays = Mapping[str, np.ndarray[Any, Any]]


def narrow_architecture() -> Architecture:
    """mixnet-s with two channels everywhere."""
    family = architecture("mixnet-s", num_classes=CLASSES)
    blocks = tuple(
        replace(block, in_channels=CHANNELS, out_channels=CHANNELS) for block in family.blocks
    )
    return replace(
        family, name="narrow", stem_channels=CHANNELS, head_channels=CHANNELS, blocks=blocks
    )


@cache
def narrow_params() -> dict[str, Any]:
    """Parameters of the model, by our names."""
    graph = build(narrow_architecture(), DIALECTS["timm"])
    return dict(random_params(graph, 0))  # type: ignore[no-untyped-call]


def mindcv_tensors() -> Arrays:
    """The model under MindCV's names."""
    return foreign_names.mindcv_tensors(narrow_architecture(), narrow_params())


def tensorflow_tensors() -> Arrays:
    """The model under TensorFlow's names, without averages."""
    return foreign_names.tensorflow_tensors(narrow_architecture(), narrow_params())


@cache
def timm_tensors() -> Arrays:
    """The model under timm's names, which a wider one of the same structure tells."""
    names = map_timm(recordings.timm_tensors(CASES["mixnet_s-odd"])).sources
    graph = build(narrow_architecture(), DIALECTS["timm"])
    params, tensors = narrow_params(), {}
    for node in graph:
        for ours in graph.param_names[node.name]:
            array = params[ours]
            if array.ndim > 1 and isinstance(node.operator, SqueezeExcite):
                array = array.T[:, :, None, None]
            elif array.ndim > 1:
                array = to_oihw(array, node.operator)
            tensors[names[ours][0]] = np.ascontiguousarray(array)
    return tensors
