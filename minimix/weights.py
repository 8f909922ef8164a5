"""The model file: HDF5 with everything that the numbers mean beside the numbers.

    /            attributes: format = "minimix-model", schema = 1, header_crc32
    /header      UTF-8 JSON: architecture, dialect, pipeline, labels, provenance, checksums
    /params/N    one dataset per parameter, float32 or float16, little-endian, under its full name

Names and layouts are those of the graph that the architecture and dialect describe.  Files are
written by h5py and read by ``minimix.hdf5``, which trusts none of them and locks none of them.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from minimix import hdf5
from minimix.arrays import Array
from minimix.dialect import Dialect, Pipeline
from minimix.errors import GraphError, UsageError, WeightsError, brief
from minimix.files import replacing
from minimix.graph import Graph
from minimix.limits import in_force
from minimix.params import Params, check_params, frozen
from minimix.zoo import Architecture, build

FORMAT = "minimix-model"
SCHEMA = 1
MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Schema version -> function that turns its header into the next version's."""

MAX_HEADER_BYTES = 4 * 2**20
"""Of the header's JSON, which takes twenty times that in memory; that of MixNet-l has 0.1 MB."""

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
    if len(text.encode()) > (most := in_force("MINIMIX_MAX_HEADER_BYTES", MAX_HEADER_BYTES)):
        raise WeightsError(f"the header has over {most} bytes (MINIMIX_MAX_HEADER_BYTES)")
    content = _hdf5(text.encode(), stored)
    with replacing(path, force=force) as temporary:
        temporary.write_bytes(content)


def _hdf5(header: bytes, arrays: dict[str, Array]) -> memoryview:
    """The file's bytes, made in memory: libhdf5 can crash the process where a disk is full."""
    import h5py  # only writing needs it: files are read without libhdf5, see minimix.hdf5

    stream = io.BytesIO()
    # Not "latest", whose structures each release of libhdf5 may change: minimix.hdf5 reads these.
    with h5py.File(stream, "w", libver="v110") as file:
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
    left over.  All this but values and checksums is known before the first of them is read.

    Raises:
        WeightsError: the file is missing, is no model file, needs a newer minimix, or is not
            what it says.
    """
    path = Path(path)
    with _opened(path) as root:
        header = _read_header(path, root)
        try:
            architecture = Architecture.from_json(header["architecture"])
            dialect = Dialect.from_json(header["dialect"])
            pipeline = Pipeline.from_json(header["pipeline"])
            labels = _labels(header["labels"])
            checksums = dict(header["checksums"])
            provenance = _provenance(header["provenance"])
            graph = _built(architecture, dialect)
        except (WeightsError, GraphError) as error:
            raise WeightsError(f"{path}: {brief(error)}") from error
        except (KeyError, TypeError, ValueError) as error:
            what = f"header: {type(error).__name__}: {brief(error)}"
            raise _damaged(path, what) from error
        _check_labels(labels, architecture, path)
        datasets = _find_params(path, root, graph)
        params = _read_params(path, root.source, datasets, graph, checksums)
    dtypes = {dataset.dtype.newbyteorder("<").str for dataset in datasets}
    dtype = "float16" if dtypes == {"<f2"} else "float32"
    return ModelFile(architecture, dialect, pipeline, labels, params, provenance, dtype)


def is_model_file(path: Path) -> bool:
    """Whether the file begins like an HDF5 file; ``load`` says the rest."""
    with path.open("rb") as stream:
        return stream.read(len(hdf5.SIGNATURE)) == hdf5.SIGNATURE


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{path}: {what}. The file is damaged or not written by minimix; convert it again with "
        "python -m weights_tools convert"
    )


@contextmanager
def _opened(path: Path) -> Iterator[hdf5.Group]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise WeightsError(f"{path}: {what}; expected a minimix model (.h5)")
    try:
        if not is_model_file(path):
            raise WeightsError(
                f"{path}: not an HDF5 file. If it is a released checkpoint, convert it first: "
                f"python -m weights_tools convert {path} -o model.h5"
            )
        with hdf5.opened(path) as root:
            yield root
    except (OSError, hdf5.RefusedError) as error:
        raise _damaged(path, str(error)) from error


def _read_header(path: Path, root: hdf5.Group) -> dict[str, Any]:
    attributes = root.attributes
    if attributes.get("format") != FORMAT.encode():
        raise WeightsError(f"{path}: an HDF5 file, but not a minimix model (no format attribute)")
    schema = attributes.get("schema")
    if not isinstance(schema, int):
        raise _damaged(path, "schema: expected a whole number")
    if schema > SCHEMA:
        raise WeightsError(
            f"{path}: written with schema {schema}; this minimix reads up to {SCHEMA}. "
            f"Upgrade to a minimix that reads schema {schema}: pip install --upgrade minimix"
        )
    _check_names(path, "attributes", attributes, {"format", "schema", "header_crc32"})
    _check_names(path, "members", root.members, {"header", "params"})
    header = _parsed_header(path, root)
    for version in range(schema, SCHEMA):
        if version not in MIGRATIONS:
            raise _damaged(path, f"schema {schema} is unknown")
        header = MIGRATIONS[version](header)
    return header


def _check_names(path: Path, what: str, found: Iterable[str], expected: set[str]) -> None:
    """Hold the root group's contents against the only ones that a model file has."""
    names = set(found)
    if names != expected:
        kinds = {"missing": sorted(expected - names), "left over": sorted(names - expected)}
        lines = [
            f"{word} {', '.join(map(repr, names[:3]))}{' and more' * (len(names) > 3)}"
            for word, names in kinds.items()
            if names
        ]
        raise _damaged(path, f"{what}: {brief('; '.join(lines))}")


def _parsed_header(path: Path, root: hdf5.Group) -> dict[str, Any]:
    dataset, source = root.dataset("header"), root.source
    most = in_force("MINIMIX_MAX_HEADER_BYTES", MAX_HEADER_BYTES)
    if dataset.dtype != np.uint8 or len(dataset.shape) != 1 or dataset.shape[0] > most:
        what = f"header: expected up to {most} bytes of JSON"
        raise _damaged(path, f"{what} (MINIMIX_MAX_HEADER_BYTES)")
    hdf5.check_bounds([dataset], source)
    try:
        text = hdf5.read(source, dataset).tobytes()
        if zlib.crc32(text) != root.attributes["header_crc32"]:
            raise _damaged(path, "header: the checksum does not match the data")
        header: dict[str, Any] = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"header: {error}") from error
    if not isinstance(header, dict):
        raise _damaged(path, "header: expected a JSON object")
    return header


def _find_params(path: Path, root: hdf5.Group, graph: Graph) -> list[hdf5.Dataset]:
    """Where each parameter lies, in the graph's order; nothing of them is read."""
    expected, model = graph.param_shapes, brief(graph.name)
    group = root.group("params")
    _check_names(path, "params: attributes", group.attributes, set())
    extra = [name for name in group.members if name not in expected]
    if extra:
        raise _damaged(path, f"{brief(extra[0])}: left over, {model} has no such parameter")
    missing = [name for name in expected if name not in group.members]
    if missing:
        more = f" and {len(missing) - 3} more" * (len(missing) > 3)
        raise WeightsError(
            f"{path}: parameters do not match {model}; missing: {', '.join(missing[:3])}{more}"
        )
    datasets = [group.dataset(name) for name in expected]
    for dataset in datasets:
        if dataset.dtype.kind != "f":
            raise _damaged(
                path, f"{dataset.name}: expected float32 or float16, found {dataset.dtype}"
            )
        if dataset.shape != expected[dataset.name]:
            raise WeightsError(
                f"{path}: {dataset.name}: expected {expected[dataset.name]}, file has "
                f"{dataset.shape}. Does the file hold {model}? Try: "
                f"python -m weights_tools inspect {path}"
            )
    hdf5.check_bounds(datasets, root.source)
    return datasets


def _read_params(
    path: Path,
    source: hdf5.Source,
    datasets: list[hdf5.Dataset],
    graph: Graph,
    checksums: dict[str, int],
) -> Params:
    params = {}
    for dataset in datasets:
        name, stored = dataset.name, hdf5.read(source, dataset)
        if zlib.crc32(stored.data) != checksums.get(name):
            raise _damaged(path, f"{name}: the checksum does not match the data")
        params[name] = stored.astype(np.float32, copy=False)
        params[name].flags.writeable = False
    try:
        check_params(graph, params)
    except WeightsError as error:
        raise WeightsError(f"{path}: {brief(error)}") from error
    return frozen(params)


def _built(architecture: Architecture, dialect: Dialect) -> Graph:
    """The graph, unless it has more groups of channels than a file has parameters."""
    blocks = architecture.blocks
    groups = sum(len(b.kernel_sizes) + b.expand_groups + b.project_groups for b in blocks)
    if groups > hdf5.MAX_LINKS:
        raise WeightsError(f"{groups} groups of channels; at most {hdf5.MAX_LINKS} are read")
    return build(architecture, dialect)


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


def _check_labels(labels: tuple[str, ...], arch: Architecture, path: Path | None = None) -> None:
    if len(labels) != arch.num_classes:
        raise WeightsError(
            f"{f'{path}: ' if path else ''}{len(labels)} labels for {arch.num_classes} classes; "
            "expected one each"
        )
