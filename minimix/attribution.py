"""Why this class?  Answers without gradients: exact maps, covered pictures, changed nodes.

The class-activation map is exact here, since pooling and classifier are linear: a logit is a sum
over the cells of the last feature map, plus the bias (Zhou et al., "Learning Deep Features for
Discriminative Localization", CVPR 2016).  Occlusion covers the picture piece by piece and looks
what it costs (Zeiler & Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from minimix.arrays import Array
from minimix.errors import UsageError
from minimix.graph import Graph
from minimix.ops import run_operator
from minimix.results import Trace

if TYPE_CHECKING:
    from minimix.weights import ModelFile

Change = Callable[[Array], Array]
BATCH = 32
"""Covered pictures that run at once."""


class Network(Protocol):
    """What is asked here; a ``Model``, which itself offers these answers, is one."""

    graph: Graph
    file: ModelFile
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        """The architecture's name."""

    def __call__(self, x: Array) -> Array:
        """(N, H, W, 3) -> (N, classes) logits."""

    def trace(self, x: Array, *, keep: str | Iterable[str] = "*") -> AbstractContextManager[Trace]:
        """Run and keep what the nodes produced."""


@dataclass(frozen=True)
class ClassActivation:
    """A logit, cell by cell.

    Attributes:
        index: the class.
        label: its name.
        cells: (h, w): what each cell of the last feature map adds to the logit.
        bias: what the classifier adds; ``cells.sum() + bias`` is the logit.
        logit: as the network gave it.
    """

    index: int
    label: str
    cells: Array
    bias: float
    logit: float


@dataclass(frozen=True)
class Occlusion:
    """What covering a part of the picture costs.

    Attributes:
        index: the class.
        label: its name.
        drops: (h, w): the logit of the whole picture minus that of the covered one.
        logit: of the whole picture.
        patch: side of the covered square, in pixels.
        stride: from one square to the next, in pixels; the last one is moved to the edge.
        rows: first row of the squares, in pixels.
        columns: first column of the squares, in pixels.
    """

    index: int
    label: str
    drops: Array
    logit: float
    patch: int
    stride: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]


def class_index(model: Network, label: str | int | None, logits: Array) -> int:
    """A class's name or index, or None for the best -> its index.

    Raises:
        UsageError: there is no such class, or several have the name, or it is neither.
    """
    if label is None:
        return int(logits.argmax())
    if isinstance(label, str):
        found = [n for n, name in enumerate(model.labels) if name == label]
        if len(found) != 1:
            many = f"{len(found)} classes have this name: {found}" if found else "no such class"
            raise UsageError(f"{label!r}: {many}; name one of {model.name}'s labels, or its index")
        return found[0]
    # True would be class 1 and 1.5 too: what is no index names nothing.
    if isinstance(label, bool) or not isinstance(label, int | np.integer):
        raise UsageError(f"label is {label!r}; expected a class's name or its index")
    if not 0 <= label < len(model.labels):
        raise UsageError(f"class {label}: {model.name} has 0 to {len(model.labels) - 1}")
    return int(label)


def _one_picture(x: Array) -> Array:
    if not isinstance(x, np.ndarray):
        raise UsageError(
            f"a {type(x).__name__}; attribution takes one preprocessed picture, (1, H, W, 3), such "
            "as net.preprocess(image) makes"
        )
    if x.ndim != 4 or len(x) != 1:
        raise UsageError(
            f"an input of shape {x.shape}; attribution takes one picture, (1, H, W, 3)"
        )
    return x


def class_activation(model: Network, x: Array, label: str | int | None = None) -> ClassActivation:
    """(1, H, W, 3) -> what each cell of the last feature map adds to a class's logit.

        logit[k] = sum_ij (features[i, j] @ weight[:, k]) / (h * w) + bias[k]

    Args:
        model: with a linear classifier on pooled features, as every MixNet has.
        x: one picture, preprocessed.
        label: a class's name or index; by default the best.

    Raises:
        UsageError: not one picture, or no such class.
    """
    features_name = model.graph["pool"].inputs[0]
    with model.trace(_one_picture(x), keep=features_name) as trace:
        features = trace[features_name].output
    index = class_index(model, label, trace.logits[0])
    return activation_of(model, features, trace.logits, index)


def activation_of(model: Network, features: Array, logits: Array, index: int) -> ClassActivation:
    """(1, h, w, C) that were pooled, the (1, classes) that came of it, a class -> its map."""
    weight, bias = model.file.params["classifier.weight"], model.file.params["classifier.bias"]
    _, h, w, _ = features.shape
    cells = features[0].astype(np.float64) @ weight[:, index].astype(np.float64) / (h * w)
    return ClassActivation(
        index,
        model.labels[index],
        cells.astype(np.float32),
        float(bias[index]),
        float(logits[0, index]),
    )


def _squares(side: int, patch: int, stride: int) -> list[int]:
    """Where squares begin along one side: every ``stride`` pixels, the last one at the edge."""
    starts = list(range(0, side - patch + 1, stride))
    return starts if starts[-1] + patch == side else [*starts, side - patch]


def _covered(x: Array, places: list[tuple[int, int]], patch: int, value: Array) -> Array:
    covered = np.repeat(x, len(places), axis=0)
    for picture, (i, j) in zip(covered, places, strict=True):
        picture[i : i + patch, j : j + patch] = value
    return covered


def occlusion(
    model: Network,
    x: Array,
    label: str | int | None = None,
    *,
    patch: int | None = None,
    stride: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Occlusion:
    """(1, H, W, 3) -> how much a class's logit falls when a square of the picture is covered.

    The square is the picture's own mean colour.  Pictures run in batches.

    Args:
        model: the network.
        x: one picture, preprocessed.
        label: a class's name or index; by default the best.
        patch: side of the square in pixels; by default an eighth of the picture's.
        stride: pixels from one square to the next; by default half a square.
        progress: called with the squares done and their number.

    Raises:
        UsageError: not one picture, no such class, or a square that does not fit.
    """
    _, H, W, _ = _one_picture(x).shape
    patch = max(1, min(H, W) // 8) if patch is None else patch
    stride = max(1, patch // 2) if stride is None else stride
    if not 1 <= patch <= min(H, W) or stride < 1:
        raise UsageError(f"a square of {patch} px every {stride} px in a picture of {H} x {W} px")
    logits = model(x)[0]
    index = class_index(model, label, logits)
    rows, columns = _squares(H, patch, stride), _squares(W, patch, stride)
    places = [(i, j) for i in rows for j in columns]
    value = x.mean(axis=(0, 1, 2), dtype=np.float64).astype(x.dtype)
    found: list[Array] = []
    for start in range(0, len(places), BATCH):
        batch = places[start : start + BATCH]
        found.append(model(_covered(x, batch, patch, value))[:, index])
        if progress is not None:
            progress(start + len(batch), len(places))
    drops = logits[index] - np.concatenate(found).reshape(len(rows), len(columns))
    return Occlusion(
        index,
        model.labels[index],
        drops,
        float(logits[index]),
        patch,
        stride,
        tuple(rows),
        tuple(columns),
    )


class Patched:
    """A network of which one node's output is changed; what comes before it runs as ever.

    What follows runs on the operators of ``minimix.ops``, whichever engine the model has.
    """

    def __init__(self, model: Network, name: str, change: Change) -> None:
        if name not in model.graph:
            raise UsageError(f"{name}: {model.name} has no such node; see its graph's names")
        self.model, self.name, self.change = model, name, change

    def __call__(self, x: Array) -> Array:
        """(N, H, W, 3) -> (N, classes) logits of the changed network."""
        with self.model.trace(x) as trace:
            return self.rerun(trace)

    @property
    def affected(self) -> tuple[str, ...]:
        """The nodes that run again: all that read the changed one, directly or not."""
        changed = {self.name}
        for node in self.model.graph:
            if changed & set(node.inputs):
                changed.add(node.name)
        return tuple(n.name for n in self.model.graph if n.name in changed - {self.name})

    def rerun(self, trace: Trace) -> Array:
        """A trace that kept every node -> (N, classes) logits; only what follows runs.

        Raises:
            UsageError: the trace lacks a node that is read, or the change gives another shape.
        """
        arrays = {self.name: self._changed(trace[self.name].output)}
        again = set(self.affected)
        for node in self.model.graph:
            if node.name in again:
                inputs = [self._value(arrays, trace, source) for source in node.inputs]
                params = [
                    self.model.file.params[n] for n in self.model.graph.param_names[node.name]
                ]
                arrays[node.name] = run_operator(node.operator, params, *inputs)
        return self._value(arrays, trace, self.model.graph.outputs[0])

    def _changed(self, before: Array) -> Array:
        after = np.ascontiguousarray(self.change(before.copy()), np.float32)
        if after.shape != before.shape:
            raise UsageError(f"{self.name}: the change gave {after.shape}, expected {before.shape}")
        return after

    @staticmethod
    def _value(arrays: dict[str, Array], trace: Trace, name: str) -> Array:
        return arrays[name] if name in arrays else trace[name].output
