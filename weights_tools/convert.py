"""Released checkpoint -> minimix model file, with the provenance of every parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import minimix
from minimix import weights
from minimix.errors import UsageError, WeightsError
from minimix.files import check_apart, check_free
from minimix.labels import imagenet_classes
from minimix.weights import ModelFile
from minimix.zoo import FAMILIES
from weights_tools import readers
from weights_tools.choices import choose_dialect, choose_pipeline
from weights_tools.mappings.mapped import Mapped
from weights_tools.origins import find_origin, map_checkpoint, release_of
from weights_tools.readers.checkpoint import Checkpoint

NO_LICENSE = "not stated in the file"

Kinds = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and element type of a checkpoint's tensors, by name."""

_READER_NOTES = ("taken", "ignored", "prefix_removed", "left_out", "fields left out")
"""Under these a reader says in the metadata what it took of a file, and what it left."""

_TEXT_OF_THEIR_OWN = ("safetensors", "onnx", "openvino-ir")
"""Containers whose metadata are what whoever wrote the file put there."""


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        origin: whose checkpoint it is.
        dialect_reason: why the dialect is the one it is, for people.
        pipeline_reason: the same of the pipeline.
        notes: what the reader took of a file that holds more, and what it left.
        kinds: of all tensors that were read; their values are let go.
    """

    model: ModelFile
    mapped: Mapped
    origin: str
    dialect_reason: str
    pipeline_reason: str
    notes: Mapping[str, str]
    kinds: Kinds


def _labels(mapped: Mapped, labels: Path | None) -> tuple[str, ...]:
    """Class names: those of a text file, else those that the checkpoint states, else the usual."""
    num_classes = mapped.architecture.num_classes
    if labels is None:
        if mapped.labels:
            return mapped.labels
        usual = tuple(f"class {n}" for n in range(num_classes))
        return imagenet_classes() if num_classes == 1000 else usual
    lines = _lines(labels)
    if len(lines) != num_classes:
        raise UsageError(f"{labels}: {len(lines)} lines for {num_classes} classes")
    for n, line in enumerate(lines, 1):
        if not line.strip():
            raise UsageError(f"{labels}: line {n} is blank; expected a class name a line")
    return lines


def _lines(path: Path) -> tuple[str, ...]:
    """The lines of a text file; other separators than line ends are part of a name."""
    try:
        # utf-8-sig: some editors begin a file with a mark that is no part of the first name.
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file. Check the path given as --labels") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8 text: {error}. Save it as UTF-8") from error
    return tuple(text.removesuffix("\n").split("\n")) if text else ()


def _reader_notes(checkpoint: Checkpoint) -> dict[str, str]:
    if checkpoint.container in _TEXT_OF_THEIR_OWN:
        return {}
    return {key: checkpoint.metadata[key] for key in _READER_NOTES if key in checkpoint.metadata}


def _provenance(checkpoint: Checkpoint, mapped: Mapped, license_: str) -> dict[str, object]:
    return {
        "source": {
            "name": checkpoint.path.name,
            "container": checkpoint.container,
            "size_bytes": checkpoint.size_bytes,
            "sha256": checkpoint.sha256,
            **({"parts": dict(checkpoint.parts)} if checkpoint.parts else {}),
            **_reader_notes(checkpoint),
        },
        "tool": f"minimix {minimix.__version__}",
        "license": license_,
        "tensors": {name: list(sources) for name, sources in mapped.sources.items()},
        "ignored": mapped.ignored,
    }


@dataclass(frozen=True)
class Wanted:
    """What the user says of a checkpoint beyond what is in it.

    Attributes:
        model: the architecture that it must turn out to be.
        dialect: where its tensors fit several and the release's name does not say.
        pipeline: where the file does not say how pictures become its input.
        raw: take the weights as training left them, not their moving averages.
        dtype: how the model will be stored, ``float32`` or ``float16``.
        labels: a text file with one class name per line.
        license: of the weights, where whoever fetched the file knows it.
    """

    model: str | None = None
    dialect: str | None = None
    pipeline: str | None = None
    raw: bool = False
    dtype: str = "float32"
    labels: Path | None = None
    license: str | None = None


def read_model(path: Path, wanted: Wanted = Wanted()) -> Conversion:
    """Read a released checkpoint as a minimix model, without writing anything.

    Raises:
        WeightsError: the file is unreadable, refused, or no MixNet of a known origin.
        UsageError: the dialect, the pipeline or the labels do not fit.
    """
    if wanted.model is not None and wanted.model not in FAMILIES:
        raise UsageError(f"unknown architecture {wanted.model!r}; known: {', '.join(FAMILIES)}")
    checkpoint = readers.read(path)
    release = release_of(checkpoint)
    origin = find_origin(checkpoint)
    mapped = map_checkpoint(checkpoint, origin, expected=wanted.model, raw=wanted.raw)
    dialect, dialect_reason = choose_dialect(checkpoint, mapped, wanted.dialect)
    pipeline, pipeline_reason = choose_pipeline(checkpoint, mapped, wanted.pipeline)
    # Names and shapes are anybody's: they do not tell whose weights these are.
    known = release.license if release else wanted.license
    license_ = known or mapped.license or NO_LICENSE
    file = ModelFile(
        architecture=mapped.architecture,
        dialect=dialect,
        pipeline=pipeline,
        labels=_labels(mapped, wanted.labels),
        params=mapped.params,
        provenance=_provenance(checkpoint, mapped, license_),
        dtype=wanted.dtype,
    )
    return Conversion(
        file,
        mapped,
        origin.name,
        dialect_reason,
        pipeline_reason,
        notes=_reader_notes(checkpoint),
        kinds={name: (a.shape, a.dtype.name) for name, a in checkpoint.tensors.items()},
    )


def _origin(message: str, mapped: Mapped) -> str:
    """Say which source tensor an error about one of our parameters is about."""
    sources = mapped.sources.get(message.partition(":")[0])
    return f" (in the file: {', '.join(sources)})" if sources else ""


def convert(path: Path, out: Path, wanted: Wanted = Wanted(), *, force: bool = False) -> Conversion:
    """Convert a released checkpoint to a model file.

    Raises:
        WeightsError, UsageError: see ``read_model``; nothing is written then.
        UsageError: ``out`` exists and ``force`` is not given.
        OutputError: ``out`` cannot be written.
    """
    check_free(out, force=force)
    check_apart(out, path, wanted.labels)
    conversion = read_model(path, wanted)
    try:
        weights.save(out, conversion.model, force=force)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}{_origin(str(error), conversion.mapped)}") from error
    return conversion
