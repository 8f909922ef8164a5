"""The model file: HDF5 with everything that the numbers mean beside the numbers.

    /            attributes: format = "minimix-model", schema = 1, header_crc32
    /header      UTF-8 JSON: architecture, dialect, pipeline, labels, provenance, checksums
    /params/N    one dataset per parameter, float32 or float16, little-endian, under its full name

Names and layouts are those of the graph that the architecture and dialect describe.  A file is
opened without locking, so that read-only and network folders work.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from minimix.arrays import Array
from minimix.dialect import Dialect, Pipeline
from minimix.errors import GraphError, UsageError, WeightsError
from minimix.files import replacing
from minimix.graph import Graph
from minimix.params import Params, check_params, frozen
from minimix.zoo import Architecture, build

FORMAT = "minimix-model"
SCHEMA = 1
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Schema version -> function that turns its header into the next version's."""

MAX_HEADER_BYTES = 16 * 2**20
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds.

    Attributes:
        labels: one class name per logit.
        provenance: ``source`` (name, sha256, size_bytes, container), ``tool``, ``license``,
            ``tensors`` (destination -> source names).
        dtype: how the parameters are stored; ``params`` are always float32.
    """

    architecture: Architecture
    dialect: Dialect
    pipeline: Pipeline
    labels: tuple[str, ...]
    params: Params
    provenance: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", frozen(self.params))

    def __reduce__(self) -> tuple[Any, ...]:
        # A read-only mapping does not pickle; its arrays do.
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return _restore, ({**values, "params": dict(self.params)},)

    @property
    def graph(self) -> Graph:
        """The graph that the parameters belong to."""
        return build(self.architecture, self.dialect)


def _restore(values: dict[str, Any]) -> ModelFile:
    return ModelFile(**values)


def save(path: str | Path, model: ModelFile, *, force: bool = False) -> None:
    """Write a model file: to a temporary name beside it first, then renamed.

    Raises:
        UsageError: ``path`` exists and ``force`` is not given, or ``dtype`` is unknown.
        WeightsError: the parameters are not those of the architecture, or overflow float16.
        OutputError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    if model.dtype not in DTYPES:
        raise UsageError(f"dtype {model.dtype!r}; known: {', '.join(DTYPES)}")
    graph = model.graph
    check_params(graph, model.params)
    _check_labels(model.labels, model.architecture)
    stored = {
        name: _as_stored(name, model.params[name], model.dtype) for name in graph.param_shapes
    }
    header = {
        "architecture": model.architecture.to_json(),
        "dialect": model.dialect.to_json(),
        "pipeline": model.pipeline.to_json(),
        "labels": list(model.labels),
        "provenance": model.provenance,
        "checksums": {name: zlib.crc32(array.data) for name, array in stored.items()},
    }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    content = _hdf5(text.encode(), stored)
    with replacing(path, force=force) as temporary:
        temporary.write_bytes(content)


def _hdf5(header: bytes, arrays: dict[str, Array]) -> memoryview:
    """The file's bytes, made in memory: libhdf5 can crash the process where a disk is full."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver="latest") as file:
        # Of fixed length: texts of variable length lie in a heap without a checksum, and on
        # damage there libhdf5 can loop for ever.
        file.attrs["format"] = np.bytes_(FORMAT)
        file.attrs["schema"] = SCHEMA
        file.attrs["header_crc32"] = zlib.crc32(header)
        file["header"] = np.frombuffer(header, np.uint8)
        group = file.create_group("params")
        for name, array in arrays.items():
            group[name] = array
    return stream.getbuffer()


def _as_stored(name: str, array: Array, dtype: str) -> Array:
    with np.errstate(over="ignore"):
        stored = array.astype(np.dtype(dtype).newbyteorder("<"), order="C", copy=False)
    if not np.isfinite(stored).all():
        raise WeightsError(f"{name}: a value of {abs(array).max():g} does not fit {dtype}")
    return stored


def load(path: str | Path) -> ModelFile:
    """Read a model file and check it against the architecture that it names.

    Every parameter is present once, in its shape, finite and with its checksum, and nothing is
    left over.

    Raises:
        WeightsError: the file is missing, is no model file, needs a newer minimix, or is not
            what it says.
    """
    path = Path(path)
    with _opened(path) as file:
        header = _read_header(path, file)
        try:
            architecture = Architecture.from_json(header["architecture"])
            dialect = Dialect.from_json(header["dialect"])
            pipeline = Pipeline.from_json(header["pipeline"])
            labels = _labels(header["labels"])
            checksums = dict(header["checksums"])
            provenance = _provenance(header["provenance"])
            graph = build(architecture, dialect)
        except (WeightsError, GraphError) as error:
            raise WeightsError(f"{path}: {error}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise _damaged(path, f"header: {type(error).__name__}: {error}") from error
        _check_labels(labels, architecture, path)
        params, dtype = _read_params(path, file, graph, checksums)
    return ModelFile(architecture, dialect, pipeline, labels, params, provenance, dtype)


def is_model_file(path: Path) -> bool:
    """Whether the file begins like an HDF5 file; ``load`` says the rest."""
    with path.open("rb") as stream:
        return stream.read(8) == b"\x89HDF\r\n\x1a\n"


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{path}: {what}. The file is damaged or not written by minimix; convert it again with "
        "python -m weights_tools convert"
    )


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise WeightsError(f"{path}: {what}; expected a minimix model (.h5)")
    try:
        if not is_model_file(path):
            raise WeightsError(
                f"{path}: not an HDF5 file. If it is a released checkpoint, convert it first: "
                f"python -m weights_tools convert {path} -o model.h5"
            )
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError, KeyError) as error:
        # h5py reports damage anywhere in a file as one of these.
        raise _damaged(path, str(error)) from error


def _attribute(file: h5py.File, name: str) -> Any:
    """A whole number, or a text of fixed length; None where there is none."""
    if name not in file.attrs:
        return None
    described = file.attrs.get_id(name)
    is_plain = described.shape == () and described.dtype.kind in "Siu"
    return file.attrs[name] if is_plain else None


def _read_header(path: Path, file: h5py.File) -> dict[str, Any]:
    if _attribute(file, "format") != FORMAT.encode():
        raise WeightsError(f"{path}: an HDF5 file, but not a minimix model (no format attribute)")
    schema = _attribute(file, "schema")
    if not isinstance(schema, np.integer):
        raise _damaged(path, "schema: expected a whole number")
    if schema > SCHEMA:
        raise WeightsError(
            f"{path}: written with schema {schema}; this minimix reads up to {SCHEMA}. "
            f"Upgrade to a minimix that reads schema {schema}: pip install --upgrade minimix"
        )
    dataset = _dataset(path, file, "header")
    if dataset.dtype != np.uint8 or dataset.ndim != 1 or dataset.size > MAX_HEADER_BYTES:
        raise _damaged(path, f"header: expected up to {MAX_HEADER_BYTES} bytes of JSON")
    try:
        text = dataset[()].tobytes()
        if zlib.crc32(text) != _attribute(file, "header_crc32"):
            raise _damaged(path, "header: the checksum does not match the data")
        header: dict[str, Any] = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"header: {error}") from error
    if not isinstance(header, dict):
        raise _damaged(path, "header: expected a JSON object")
    for version in range(schema, SCHEMA):
        if version not in MIGRATIONS:
            raise _damaged(path, f"schema {schema} is unknown")
        header = MIGRATIONS[version](header)
    return header


def _dataset(path: Path, group: h5py.Group, name: str) -> h5py.Dataset:
    """The dataset itself, never something that a link points to elsewhere."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise _damaged(path, f"{name}: missing, or a link to elsewhere")
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise _damaged(path, f"{name}: expected an ordinary dataset")
    # A compressed or unwritten dataset can be larger than the file, without bound.
    if dataset.id.get_storage_size() != dataset.nbytes:
        raise _damaged(path, f"{name}: its {dataset.nbytes} bytes are not in the file")
    return dataset


def _read_params(
    path: Path, file: h5py.File, graph: Graph, checksums: dict[str, int]
) -> tuple[Params, str]:
    is_there = isinstance(file.get("params", getlink=True), h5py.HardLink)
    group = file["params"] if is_there else None
    if not isinstance(group, h5py.Group):
        raise _damaged(path, "params: missing, or no group")
    params, dtypes = {}, set()
    present = list(group)
    for name in present:
        dataset = _dataset(path, group, name)
        expected = graph.param_shapes.get(name)
        # Shapes are compared before anything is read, so that memory stays bounded.
        if expected is not None and dataset.shape != expected:
            raise WeightsError(
                f"{path}: {name}: expected {expected}, file has {dataset.shape}. "
                f"Does the file hold {graph.name}? Try: python -m weights_tools inspect {path}"
            )
        if dataset.dtype.name not in DTYPES:
            raise _damaged(path, f"{name}: expected float32 or float16, found {dataset.dtype}")
        if expected is None:
            raise _damaged(path, f"{name}: left over, {graph.name} has no such parameter")
        stored = dataset[()]
        if zlib.crc32(stored.tobytes()) != checksums.get(name):
            raise _damaged(path, f"{name}: the checksum does not match the data")
        dtypes.add(dataset.dtype.name)
        params[name] = stored.astype(np.float32, copy=False)
        params[name].flags.writeable = False
    try:
        check_params(graph, params)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return frozen(params), "float16" if dtypes == {"float16"} else "float32"


def _labels(found: object) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        raise TypeError("labels: expected a list of texts")
    return tuple(found)


def _provenance(found: object) -> dict[str, Any]:
    """Where the parameters come from, in the form that ``ModelFile`` describes."""
    known = {"source": dict, "tensors": dict, "ignored": dict, "tool": str, "license": str}
    if not isinstance(found, dict):
        raise TypeError("provenance: expected an object")
    for key, kind in known.items():
        if not isinstance(found.get(key, kind()), kind):
            raise TypeError(f"provenance: {key} is {found[key]!r}")
    return dict(found)


def _check_labels(
    labels: tuple[str, ...], architecture: Architecture, path: Path | None = None
) -> None:
    if len(labels) != architecture.num_classes:
        raise WeightsError(
            f"{f'{path}: ' if path else ''}{len(labels)} labels for "
            f"{architecture.num_classes} classes; expected one each"
        )
