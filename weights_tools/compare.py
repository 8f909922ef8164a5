"""Are two models one network?  Their parameters side by side, then what both make of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minimix.arrays import Array
from minimix.engine import EngineName
from minimix.errors import CheckError
from minimix.model import Model
from minimix.operators import Shape
from minimix.tolerances import RECORDED_LAYER, SAME_NETWORK
from minimix.weights import ModelFile
from minimix.zoo import build
from weights_tools.recordings import normalised
from weights_tools.verify import Check, recorded_layers

_SEED = 20190722


@dataclass(frozen=True)
class ParamDifference:
    """A parameter of which two models have different values.

    Attributes:
        differing: how many values differ.
        largest: the largest |difference|.
        share: the same, as a share of the parameter's largest |value| in the first model.
    """

    name: str
    differing: int
    largest: float
    share: float


@dataclass(frozen=True)
class ParamComparison:
    """Two models' parameters.

    Attributes:
        exact: how many parameters are the same, bit by bit.
        different: the others, the worst first.
        problem: why they cannot be compared, or empty.
    """

    exact: int = 0
    different: tuple[ParamDifference, ...] = ()
    problem: str = ""


def compare_params(a: ModelFile, b: ModelFile) -> ParamComparison:
    """Compare two models' parameters; those of a folded and an unfolded one have no counterparts.

    Raises:
        CheckError: the models are of different architectures.
    """
    check_comparable(a, b)
    if a.dialect.is_folded != b.dialect.is_folded:
        return ParamComparison(problem="batch norm is folded in one of them: outputs are compared")
    return _compare_arrays(a.params, b.params)


def _compare_arrays(a: Mapping[str, Array], b: Mapping[str, Array]) -> ParamComparison:
    different = []
    for name, ours in a.items():
        theirs = b[name]
        if ours.tobytes() == theirs.tobytes():
            continue
        distance = np.abs(ours.astype(np.float64) - theirs)
        largest, scale = float(distance.max()), float(np.abs(ours).max())
        differing = int((ours.view(np.uint32) != theirs.view(np.uint32)).sum())
        share = largest / scale if scale else float(largest > 0)
        different.append(ParamDifference(name, differing, largest, share))
    different.sort(key=lambda difference: -difference.share)
    return ParamComparison(len(a) - len(different), tuple(different))


def check_comparable(a: ModelFile, b: ModelFile) -> None:
    """Check that two models have the same blocks in the same widths.

    Raises:
        CheckError: they do not; the message names the first parameter that tells them apart.
    """
    ours, theirs = _shapes(a), _shapes(b)
    if ours == theirs:
        return
    name = next(n for n in [*ours, *theirs] if ours.get(n) != theirs.get(n))
    found = [f"{shapes[name]}" if name in shapes else "not there" for shapes in (ours, theirs)]
    raise CheckError(
        f"different networks: {a.architecture.name} and {b.architecture.name}; {name} is "
        f"{found[0]} in one, {found[1]} in the other"
    )


def _shapes(file: ModelFile) -> dict[str, Shape]:
    """Shapes of a model's parameters, batch norm folded, and of what its stages give."""
    graph = build(file.architecture, file.dialect.folded())
    side = graph.input.smallest
    specs = graph.infer(1, side, side)
    outputs = {f"output of {n[-1].stage}": specs[n[-1].name].shape for n in graph.stages.values()}
    return graph.param_shapes | outputs


def seeded_pictures(size: int, count: int = 2) -> NDArray[np.uint8]:
    """(count, size, size, 3) in 0..255: slopes, squares and noise, the same on every machine.

    >>> seeded_pictures(32).shape, int(seeded_pictures(32).sum()) == int(seeded_pictures(32).sum())
    ((2, 32, 32, 3), True)
    """
    # The legacy stream: NumPy has frozen it.
    random, cells = np.random.RandomState(_SEED), -(-size // 16)
    slope = np.linspace(0.0, 0.4, size)[:, None, None] * random.random_sample((count, 1, 1, 3))
    squares = 0.5 * random.random_sample((count, cells, cells, 3))
    coarse = squares.repeat(16, axis=1).repeat(16, axis=2)[:, :size, :size]
    noise = 0.1 * random.random_sample((count, size, size, 3))
    return np.asarray(255 * (slope + coarse + noise), np.uint8)


def compare_outputs(a: ModelFile, b: ModelFile, engine: EngineName) -> list[Check]:
    """Run both models on the seeded pictures, at the first one's size; every difference is a share.

    Each model normalises the pixels by its own pipeline; a folded model and an unfolded one of
    the same network agree.

    Raises:
        CheckError: the models are of different architectures.
    """
    check_comparable(a, b)
    pixels = seeded_pictures(a.pipeline.size)
    models = [Model(file, engine=engine) for file in (a, b)]
    inputs = [normalised(pixels, file.pipeline) for file in (a, b)]
    layers = [recorded_layers(model.graph) for model in models]
    traces = []
    for model, x, keep in zip(models, inputs, layers, strict=True):
        with model.trace(x, keep=keep) as trace:
            traces.append(trace)
    name = models[0].engine.name
    checks = [
        Check(ours, name, _share(traces[0][ours].output, traces[1][theirs].output), RECORDED_LAYER)
        for ours, theirs in zip(*layers, strict=True)
    ]
    logits = [model(x) for model, x in zip(models, inputs, strict=True)]
    return [*checks, Check("logits", name, _share(*logits), SAME_NETWORK)]


def _share(a: Array, b: Array) -> float:
    """Largest |difference|, as a share of the first one's largest |value|."""
    largest, scale = float(np.abs(a - b).max()), float(np.abs(a).max())
    return largest / scale if scale else largest
