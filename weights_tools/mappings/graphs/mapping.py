"""Blocks that were read off a network's operations -> a folded model of ours.

Scales and shifts become part of the convolutions, normalisation of the picture part of the
pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from minimix.arrays import Array
from minimix.errors import GraphError, WeightsError
from minimix.graph import Graph, Node
from minimix.operators import Linear, Operator, Pointwise
from minimix.zoo import build
from weights_tools.mappings.graphs.arithmetic import MAX_ELEMENTS
from weights_tools.mappings.graphs.checks import (
    check_architecture,
    dialects_of,
    observed,
    stages_of,
)
from weights_tools.mappings.graphs.combine import scale_and_shift, step_names
from weights_tools.mappings.graphs.network import FoundNetwork, read_network
from weights_tools.mappings.graphs.pictures import pipelines, unturned
from weights_tools.mappings.graphs.running import Run
from weights_tools.mappings.graphs.running import run as run_operations
from weights_tools.mappings.graphs.values import Activated, Affine, Picture
from weights_tools.mappings.layouts import from_oihw
from weights_tools.mappings.mapped import Mapped
from weights_tools.readers.checkpoint import Checkpoint, shown
from weights_tools.recognise import recognise

_Made = tuple[Array, tuple[str, ...]]
"""A parameter of ours, and the names of the constants that it was made of."""


def _folded(affine: Affine, operator: Operator, names: Sequence[str]) -> Iterator[_Made]:
    """Convolutions with their scale -> weights in our layout, group by group; then the bias.

    Args:
        affine: the convolutions.
        operator: ours.
        names: of our parameters, for messages.
    """
    scale, shift = scale_and_shift(affine)
    steps, begin = step_names(affine), 0
    for branch, name in zip(affine.branches, names, strict=False):
        end = begin + branch.out_channels
        weight = branch.weight
        with np.errstate(all="ignore"):
            if scale is not None:
                weight = weight * scale[begin:end, None, None, None]
            ours = from_oihw(weight.astype(np.float32, copy=False), operator)
        yield _finite(name, ours, (*branch.names, *(steps if scale is not None else ())))
        begin = end
    with np.errstate(all="ignore"):
        bias = (np.zeros(begin) if shift is None else shift).astype(np.float32)
    yield _finite(names[-1], bias, steps)


def _finite(name: str, array: Array, constants: tuple[str, ...]) -> _Made:
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name}: {int(array.size - np.isfinite(array).sum())} of {array.size} values are not "
            f"finite; it is made of {_listed(constants)}"
        )
    return array, constants


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(shown(name) for name in names[:4]) + more or "nothing"


def _arrays(node: Node, stage: tuple[Affine, ...], names: Sequence[str]) -> list[_Made]:
    """The parameters of a node, in its order, each with the constants that it was made of."""
    if len(stage) == 2:
        # The layers of a squeeze-excite are 1x1 convolutions to other frameworks.
        reduce, expand = stage
        return [
            *_folded(reduce, node.operator, names[:2]),
            *_folded(expand, node.operator, names[2:]),
        ]
    (affine,) = stage
    operator = Pointwise(1) if isinstance(node.operator, Linear) else node.operator
    return list(_folded(affine, operator, names))


def _fill(network: FoundNetwork, graph: Graph) -> Mapping[str, _Made]:
    """Every parameter of our graph, and the constants that it was made of."""
    filled: dict[str, _Made] = {}
    stages = stages_of(network)
    for node in graph:
        names = graph.param_names[node.name]
        if not names:
            continue
        for name, made in zip(names, _arrays(node, stages[node.name], names), strict=True):
            if made[0].shape != graph.param_shapes[name]:
                raise ValueError(
                    f"{_listed(made[1])} gives {made[0].shape}, but {name} of {graph.name} is "
                    f"{graph.param_shapes[name]}"
                )
            filled[name] = made
    return filled


def _ignored(checkpoint: Checkpoint, used: set[str], picture: Picture, run: Run) -> dict[str, str]:
    """Constants that are no parameters -> why; weights that nothing uses are an error.

    Raises:
        ValueError: a floating-point constant is left over.
    """
    ignored: dict[str, str] = {}
    for name, array in checkpoint.tensors.items():
        if name in used:
            continue
        if name in picture.names:
            ignored[name] = "normalisation of the picture: mean and std of the pipeline"
        elif name in run.read and (array.dtype.kind != "f" or array.size <= MAX_ELEMENTS):
            ignored[name] = "axes, sizes and numbers of the operations"
        elif array.dtype.kind != "f":
            ignored[name] = "whole numbers that the logits do not depend on"
        else:
            raise ValueError(
                f"{shown(name)}, {array.dtype.name} of shape {array.shape}, is left over: the "
                "logits do not depend on it"
            )
    return ignored


def map_topology(checkpoint: Checkpoint, expected: str | None = None) -> Mapped:
    """Map a checkpoint whose container states the operations.

    Raises:
        WeightsError: the operations are of no MixNet; the message says where they differ.
    """
    try:
        return _map(checkpoint, expected)
    except (ValueError, GraphError) as error:
        raise WeightsError(f"the graph is of no MixNet that minimix knows: {error}") from error


def _map(checkpoint: Checkpoint, expected: str | None) -> Mapped:
    run = run_operations(checkpoint)
    network = read_network(run.logits, run.made_by)
    arch = recognise(
        [observed(f"blocks.{n}", block) for n, block in enumerate(network.blocks)],
        stem_channels=network.stem.of.out_channels,
        head_channels=network.head.of.out_channels,
        num_classes=network.classifier.out_channels,
        expected=expected,
    )
    check_architecture(network, arch)
    dialects, picture = dialects_of(network, arch), network.picture
    stem = Activated(unturned(network.stem.of, picture), network.stem.function)
    filled = _fill(replace(network, stem=stem), build(arch, dialects[0]))
    sources = {name: constants for name, (_, constants) in filled.items()}
    used = {name for constants in sources.values() for name in constants}
    return Mapped(
        architecture=arch,
        params={name: array for name, (array, _) in filled.items()},
        sources=sources,
        ignored=_ignored(checkpoint, used, picture, run),
        dialects=dialects,
        pipelines=pipelines(picture),
        likely="omz" if [dialect.name for dialect in dialects] == ["omz"] else "",
        normalises=picture.is_normalised,
    )
