"""Two checkpoints or model files, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from minimix import weights
from minimix.errors import WeightsError
from minimix.weights import ModelFile
from weights_tools import readers
from weights_tools.origins import ORIGINS, find_origin, map_checkpoint
from weights_tools.readers.checkpoint import Checkpoint

_Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class TensorDifference:
    """A tensor that both files have, and have differently.

    Attributes:
        shapes: of the two.
        dtypes: of the two.
        differing: how many values differ in their bits, or in value where the types differ; None
            where the shapes do.
        largest: the largest |difference|; None where the shapes differ, or where one of the values
            that differ is infinite or NaN.
        share: the same, as a share of the first tensor's largest |value|; 1 where that is 0.
    """

    name: str
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    dtypes: tuple[str, str]
    differing: int | None = None
    largest: float | None = None
    share: float | None = None

    @property
    def is_of_kind(self) -> bool:
        """Whether shape or type differ, not the values alone."""
        return self.shapes[0] != self.shapes[1] or self.dtypes[0] != self.dtypes[1]


@dataclass(frozen=True)
class Difference:
    """What two files do not share.

    Attributes:
        compared_by: ``names``: each tensor with the one of its name; ``mapping``: both are MixNets
            under different names, each parameter with its counterpart, under minimix's names.
        note: why it was compared so, and what else the two say of themselves.
        identical: how many tensors are the same, bit by bit.
    """

    compared_by: Literal["names", "mapping"]
    note: str
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]
    different: tuple[TensorDifference, ...]
    identical: int

    @property
    def is_empty(self) -> bool:
        """Whether the files hold the same tensors."""
        return not (self.only_in_a or self.only_in_b or self.different)


def diff(a: Path, b: Path) -> Difference:
    """Compare the tensors of two files of any container.

    Raises:
        WeightsError: a file is missing, damaged, refused, or of a container without a reader.
    """
    sides = [_open(path) for path in (a, b)]
    ours, theirs = (side.params if isinstance(side, ModelFile) else side.tensors for side in sides)
    namings = [_naming(side) for side in sides]
    # A single name, such as classifier.bias, can be one of two origins by accident.
    if namings[0] == namings[1] and not ours.keys().isdisjoint(theirs):
        return _compare(ours, theirs, "names", _facts(*sides))
    try:
        mapped = [_mapped(side) for side in sides]
    except WeightsError as error:
        note = f"compared under their names, though these may mean different things: {error}"
        return _compare(ours, theirs, "names", note)
    found = " and ".join(name for name, _ in mapped)
    note = (
        f"both are MixNets under different names, {found}: compared under minimix's names; what a "
        "conversion would leave out is not compared"
    )
    return _compare(mapped[0][1], mapped[1][1], "mapping", note)


def _open(path: Path) -> ModelFile | Checkpoint:
    return weights.load(path) if readers.detect(path) == "hdf5" else readers.read(path)


def _naming(side: ModelFile | Checkpoint) -> str:
    """Whose names the tensors have; empty where nobody knows."""
    if isinstance(side, ModelFile):
        return "minimix"
    return next((origin.name for origin in ORIGINS if origin.matches(side)), "")


def _mapped(side: ModelFile | Checkpoint) -> tuple[str, _Tensors]:
    """What it is, and its parameters as a model file would hold them."""
    if isinstance(side, ModelFile):
        return f"{side.architecture.name} (minimix)", side.params
    origin = find_origin(side)
    mapped = map_checkpoint(side, origin)
    params = {name: array.astype(np.float32) for name, array in mapped.params.items()}
    return f"{mapped.architecture.name} ({origin.name})", params


def _facts(a: ModelFile | Checkpoint, b: ModelFile | Checkpoint) -> str:
    """What two model files state beside their tensors, and state differently."""
    if not isinstance(a, ModelFile) or not isinstance(b, ModelFile):
        return ""
    names = ("architecture", "dialect", "pipeline", "labels")
    differing = [name for name in names if getattr(a, name) != getattr(b, name)]
    return f"beside the tensors they differ in: {', '.join(differing)}" if differing else ""


def _compare(
    a: _Tensors, b: _Tensors, compared_by: Literal["names", "mapping"], note: str
) -> Difference:
    both = [name for name in a if name in b]
    found = [difference for name in both if (difference := difference_of(name, a[name], b[name]))]
    return Difference(
        compared_by,
        note,
        only_in_a=tuple(name for name in a if name not in b),
        only_in_b=tuple(name for name in b if name not in a),
        different=tuple(found),
        identical=len(both) - len(found),
    )


def difference_of(name: str, a: NDArray[Any], b: NDArray[Any]) -> TensorDifference | None:
    """Two arrays -> what tells them apart; None where they are the same, bit by bit.

    >>> found = difference_of("x", np.array([1.0, 4.0]), np.array([1.0, 3.0]))
    >>> found.differing, found.largest, found.share
    (1, 1.0, 0.25)
    """
    shapes, dtypes = (a.shape, b.shape), (a.dtype.name, b.dtype.name)
    if a.shape != b.shape:
        return TensorDifference(name, shapes, dtypes)
    if a.dtype == b.dtype and a.tobytes() == b.tobytes():
        return None
    a, b = np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1)
    if a.dtype == b.dtype:
        bits = np.dtype(f"u{a.dtype.itemsize}")
        where = a.view(bits) != b.view(bits)
    else:
        where = (a != b) & ~((a != a) & (b != b))
    ours, theirs = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        distances = np.abs(ours[where] - theirs[where])
    largest, differing = float(distances.max(initial=0.0)), int(where.sum())
    if not np.isfinite(largest):
        return TensorDifference(name, shapes, dtypes, differing)
    scale = float(np.abs(ours[np.isfinite(ours)]).max(initial=0.0))
    share = largest / scale if scale else float(largest > 0)
    return TensorDifference(name, shapes, dtypes, differing, largest, share)
