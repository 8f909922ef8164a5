"""What is in a checkpoint: tensors, statistics, checksums, refused globals, the architecture."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimix import weights
from minimix.errors import UsageError, WeightsError
from weights_tools import readers
from weights_tools.origins import find_origin, map_checkpoint
from weights_tools.readers.checkpoint import Checkpoint
from weights_tools.readers.source import open_source
from weights_tools.readers.topology import Topology


@dataclass(frozen=True)
class TensorSummary:
    """One tensor at a glance; mean, std, minimum and maximum are of its finite values.

    Attributes:
        mean: None where no value is finite, and so for the other three.
        finite: how many values are neither infinite nor NaN.
        crc32: of the array's bytes, little-endian.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    mean: float | None
    std: float | None
    minimum: float | None
    maximum: float | None
    finite: int
    crc32: str

    @property
    def not_finite(self) -> int:
        """How many values are infinite or NaN."""
        return prod(self.shape) - self.finite


@dataclass(frozen=True)
class Recognised:
    """The network that the tensors are of.

    Attributes:
        origin: whose names they have.
        dialects: names of those that fit; several where the tensors cannot tell.
        pipelines: likewise.
        ignored: reason -> how many tensors are left out for it.
    """

    origin: str
    architecture: str
    num_classes: int
    dialects: tuple[str, ...]
    pipelines: tuple[str, ...]
    ignored: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Operations:
    """The operations that a container states.

    Attributes:
        kinds: in the container's vocabulary -> how many.
        inputs: name -> shape, 0 where a size is free.
    """

    kinds: dict[str, int]
    inputs: dict[str, tuple[int, ...]]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """One file at a glance.

    Attributes:
        tensors: those that were asked for.
        tensor_count: of the whole file.
        metadata: what the file says beside its tensors.
        parts: further files of the checkpoint, by name -> SHA-256.
        refused: globals of a pickle that ``convert`` would refuse; without them it is readable.
        operations: None where the container holds tensors only.
        recognised: None where nothing was; ``problem`` says why.
    """

    path: str
    container: str
    size_bytes: int
    sha256: str
    tensors: tuple[TensorSummary, ...] = ()
    tensor_count: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    operations: Operations | None = None
    recognised: Recognised | None = None
    problem: str = ""


def summarise(name: str, array: NDArray[Any]) -> TensorSummary:
    """Return the statistics of one array, worked out in float64 over its finite values.

    >>> summarise("x", np.array([1.0, 3.0], np.float32)).mean
    2.0
    """
    data = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    finite = np.isfinite(data)
    mean, std, low, high = _statistics(data[finite].astype(np.float64))
    return TensorSummary(
        name=name,
        shape=array.shape,
        dtype=array.dtype.name,
        mean=mean,
        std=std,
        minimum=low,
        maximum=high,
        finite=int(finite.sum()),
        crc32=f"{zlib.crc32(data.tobytes()):08x}",
    )


def _statistics(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    """(...) finite -> mean, standard deviation, least, largest; nothing of nothing."""
    if not values.size:
        return (None,) * 4
    # Squares of large numbers overflow; powers of two are divided by without rounding.
    _, exponent = np.frexp(np.abs(values).max())
    scaled = np.ldexp(values, -exponent)
    found = (scaled.mean(), scaled.std(), scaled.min(), scaled.max())
    return tuple(float(np.ldexp(one, exponent)) for one in found)


def _with_tensors(
    found: Inspection, tensors: Mapping[str, NDArray[Any]], pattern: str
) -> Inspection:
    asked_for = [name for name in tensors if fnmatchcase(name, pattern)]
    if tensors and not asked_for:
        raise UsageError(
            f"{found.path}: no tensor matches {pattern!r}; the first is {next(iter(tensors))}"
        )
    rows = tuple(summarise(name, tensors[name]) for name in asked_for)
    return replace(found, tensors=rows, tensor_count=len(tensors))


def _model(path: Path, found: Inspection, pattern: str) -> Inspection:
    model = weights.load(path)
    metadata = {"stored as": model.dtype} | {
        f"{key} {inner}" if inner else key: str(value)
        for key, entry in model.provenance.items()
        if key not in ("tensors", "ignored")
        for inner, value in (entry.items() if isinstance(entry, dict) else [("", entry)])
    }
    recognised = Recognised(
        "minimix",
        model.architecture.name,
        model.architecture.num_classes,
        (model.dialect.name,),
        (model.pipeline.name,),
    )
    found = replace(
        found, container="minimix model (hdf5)", metadata=metadata, recognised=recognised
    )
    in_order = {name: model.params[name] for name in model.graph.param_shapes}
    return _with_tensors(found, in_order, pattern)


def _operations(topology: Topology) -> Operations:
    kinds = Counter(operation.kind for operation in topology.operations)
    return Operations(dict(kinds.most_common()), dict(topology.inputs), topology.outputs)


def _recognise(checkpoint: Checkpoint) -> tuple[Recognised | None, str]:
    """The network, or why it is none."""
    try:
        origin = find_origin(checkpoint)
        mapped = map_checkpoint(checkpoint, origin)
    except WeightsError as error:
        return None, str(error)
    return Recognised(
        origin.name,
        mapped.architecture.name,
        mapped.architecture.num_classes,
        tuple(dialect.name for dialect in mapped.dialects),
        tuple(pipeline.name for pipeline in mapped.pipelines),
        dict(Counter(mapped.ignored.values())),
    ), ""


def inspect(path: Path, pattern: str = "*") -> Inspection:
    """Look into a checkpoint or a model file, as far as it can be read.

    A pickle that would import something else than tensors is not read; ``refused`` names what.

    Args:
        pattern: which tensors to describe, as a shell pattern of their names.

    Raises:
        WeightsError: the file is missing, damaged, or of an unknown container.
        UsageError: no tensor matches the pattern.
    """
    source = open_source(path)
    found = Inspection(
        path=str(path),
        container=readers.detect(path),
        size_bytes=source.size_bytes,
        sha256=source.sha256(),
        refused=tuple(readers.refused_globals(path)),
    )
    if found.container == "hdf5":
        return _model(path, found, pattern)
    if found.refused:
        return replace(found, problem="not read: it would import what no state dict needs")
    checkpoint = readers.read(path)
    recognised, problem = _recognise(checkpoint)
    found = replace(
        found,
        path=str(checkpoint.path),
        metadata=checkpoint.metadata,
        parts=dict(checkpoint.parts),
        operations=_operations(checkpoint.topology) if checkpoint.topology else None,
        recognised=recognised,
        problem=problem,
    )
    return _with_tensors(found, checkpoint.tensors, pattern)
