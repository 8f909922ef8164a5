"""What is in a checkpoint: tensors, statistics, checksums, refused globals, the architecture."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimix import weights
from minimix.errors import WeightsError
from weights_tools import readers
from weights_tools.mappings import timm
from weights_tools.readers.source import open_source


@dataclass(frozen=True)
class TensorSummary:
    """One tensor at a glance.

    Attributes:
        crc32: of the array's bytes, little-endian.
        finite: how many values are neither infinite nor NaN.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    mean: float
    std: float
    minimum: float
    maximum: float
    finite: int
    crc32: str


@dataclass(frozen=True)
class Inspection:
    """One file at a glance.

    Attributes:
        refused: globals of a pickle that ``convert`` would refuse; without them it is readable.
        architecture: what was recognised, or empty.
        problem: why nothing was recognised or read, or empty.
    """

    path: str
    container: str
    size_bytes: int
    sha256: str
    tensors: tuple[TensorSummary, ...]
    metadata: dict[str, str]
    refused: tuple[str, ...] = ()
    architecture: str = ""
    dialect: str = ""
    num_classes: int = 0
    problem: str = ""


def summarise(name: str, array: NDArray[Any]) -> TensorSummary:
    """Return the statistics of one array, worked out in float64 over its finite values.

    >>> summarise("x", np.array([1.0, 3.0], np.float32)).mean
    2.0
    """
    data = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
    finite = np.isfinite(data)
    values = data[finite].astype(np.float64)
    mean, std, low, high = (
        (values.mean(), values.std(), values.min(), values.max()) if values.size else [np.nan] * 4
    )
    return TensorSummary(
        name=name,
        shape=array.shape,
        dtype=array.dtype.name,
        mean=float(mean),
        std=float(std),
        minimum=float(low),
        maximum=float(high),
        finite=int(finite.sum()),
        crc32=f"{zlib.crc32(data.tobytes()):08x}",
    )


def _summaries(tensors: Mapping[str, NDArray[Any]]) -> tuple[TensorSummary, ...]:
    return tuple(summarise(name, array) for name, array in tensors.items())


def _inspect_model(path: Path) -> Inspection:
    source = open_source(path)
    model = weights.load(path)
    provenance = {
        f"{key} {inner}" if inner else key: str(value)
        for key, entry in model.provenance.items()
        if key not in ("tensors", "ignored")
        for inner, value in (entry.items() if isinstance(entry, dict) else [("", entry)])
    }
    return Inspection(
        path=str(path),
        container="minimix model (hdf5)",
        size_bytes=source.size_bytes,
        sha256=source.sha256(),
        tensors=_summaries(model.params),
        metadata=provenance,
        architecture=model.architecture.name,
        dialect=model.dialect.name,
        num_classes=model.architecture.num_classes,
    )


def inspect(path: Path) -> Inspection:
    """Look into a checkpoint or a model file, as far as it can be read.

    A pickle that would import something else than tensors is not read; ``refused`` names what.

    Raises:
        WeightsError: the file is missing, damaged, or of an unknown container.
    """
    container = readers.detect(path)
    if container == "hdf5":
        return _inspect_model(path)
    refused = tuple(readers.refused_globals(path))
    if refused:
        source = open_source(path)
        return Inspection(
            path=str(path),
            container=container,
            size_bytes=source.size_bytes,
            sha256=source.sha256(),
            tensors=(),
            metadata={},
            refused=refused,
            problem="not read: it would import what no state dict needs",
        )
    checkpoint = readers.read(path)
    architecture, num_classes, problem = "", 0, "the tensor names are none that minimix knows"
    if timm.matches(checkpoint.tensors):
        try:
            found = timm.map_timm(checkpoint.tensors).architecture
            architecture, num_classes, problem = found.name, found.num_classes, ""
        except WeightsError as error:
            problem = str(error)
    return Inspection(
        path=str(path),
        container=checkpoint.container,
        size_bytes=checkpoint.size_bytes,
        sha256=checkpoint.sha256,
        tensors=_summaries(checkpoint.tensors),
        metadata=checkpoint.metadata,
        architecture=architecture,
        dialect="timm or timm-tf (the tensors are alike)" if architecture else "",
        num_classes=num_classes,
        problem=problem,
    )
