"""Released checkpoint -> minimix model file, with the provenance of every parameter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import minimix
from minimix import weights
from minimix.dialect import Dialect, Pipeline
from minimix.errors import UsageError, WeightsError
from minimix.files import check_apart, check_free
from minimix.labels import imagenet_classes
from minimix.weights import ModelFile
from minimix.zoo import FAMILIES
from weights_tools import readers
from weights_tools.mappings.mapped import Mapped
from weights_tools.origins import find_origin, map_checkpoint
from weights_tools.readers.checkpoint import Checkpoint


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        origin: whose checkpoint it is.
        dialect_reason: why the dialect is the one it is, for people.
        pipeline_reason: the same of the pipeline.
    """

    model: ModelFile
    mapped: Mapped
    origin: str
    dialect_reason: str
    pipeline_reason: str


def choose_dialect(
    checkpoint: Checkpoint, mapped: Mapped, requested: str | None
) -> tuple[Dialect, str]:
    """Return the dialect and the reason for it.

    timm's two families have the same tensors; only the release's name tells them apart.

    Raises:
        UsageError: nothing says which, or the request is none of those that the tensors fit.
    """
    possible = {dialect.name: dialect for dialect in mapped.dialects}
    if requested is not None:
        if requested not in possible:
            raise UsageError(
                f"{checkpoint.path}: dialect {requested!r} was asked for, its tensors are of "
                f"{' or '.join(possible)}"
            )
        return possible[requested], "as asked for"
    if len(possible) == 1:
        return mapped.dialects[0], "the only one that fits"
    match = re.match(r"(tf_)?mixnet_", checkpoint.path.name)
    if match is None:
        raise UsageError(
            f"{checkpoint.path}: the tensors of timm's mixnet_* and tf_mixnet_* are alike, and "
            f"the name is of neither release; say which: --dialect timm or --dialect timm-tf"
        )
    return possible["timm-tf" if match[1] else "timm"], f"from the release's name, {match[0]}*"


def choose_pipeline(
    checkpoint: Checkpoint, mapped: Mapped, requested: str | None
) -> tuple[Pipeline, str]:
    """Return the pipeline and the reason for it.

    Raises:
        UsageError: the file does not say which and nobody was asked for, or both say different.
    """
    possible = {pipeline.name: pipeline for pipeline in mapped.pipelines}
    if requested is not None:
        if requested not in possible:
            raise UsageError(
                f"{checkpoint.path}: pipeline {requested!r} was asked for, the file is made for "
                f"{' or '.join(possible)}"
            )
        return possible[requested], "as asked for"
    if len(possible) > 1:
        raise UsageError(
            f"{checkpoint.path}: the file does not say how pictures become its input; say which: "
            f"--pipeline {' or '.join(possible)}"
        )
    return mapped.pipelines[0], "that of its origin"


def check_release_name(checkpoint: Checkpoint) -> None:
    """Check a release against the first digits of the SHA-256 that its own name states.

    Raises:
        WeightsError: the file is not the one that was released under this name.
    """
    stated = re.search(r"-([0-9a-f]{8})\.(?:pth|safetensors)$", checkpoint.path.name)
    if stated and not checkpoint.sha256.startswith(stated[1]):
        raise WeightsError(
            f"{checkpoint.path}: its name states a sha256 that begins with {stated[1]}, the file's "
            f"begins with {checkpoint.sha256[:8]}. It is damaged or another file: download it again"
        )


def _labels(num_classes: int, labels: Path | None) -> tuple[str, ...]:
    if labels is not None:
        try:
            # utf-8-sig: some editors begin a file with a mark that is no part of the first name.
            lines = tuple(labels.read_text(encoding="utf-8-sig").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{labels}: cannot be read as UTF-8 text: {error}") from error
        if len(lines) != num_classes:
            raise UsageError(f"{labels}: {len(lines)} lines for {num_classes} classes")
        for n, line in enumerate(lines, 1):
            if not line.strip():
                raise UsageError(f"{labels}: line {n} is blank; expected a class name a line")
        return lines
    if num_classes == 1000:
        return imagenet_classes()
    return tuple(f"class {n}" for n in range(num_classes))


def _provenance(checkpoint: Checkpoint, mapped: Mapped, license_: str) -> dict[str, object]:
    return {
        "source": {
            "name": checkpoint.path.name,
            "container": checkpoint.container,
            "size_bytes": checkpoint.size_bytes,
            "sha256": checkpoint.sha256,
            **({"parts": dict(checkpoint.parts)} if checkpoint.parts else {}),
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
    """

    model: str | None = None
    dialect: str | None = None
    pipeline: str | None = None
    raw: bool = False
    dtype: str = "float32"
    labels: Path | None = None


def read_model(path: Path, wanted: Wanted = Wanted()) -> Conversion:
    """Read a released checkpoint as a minimix model, without writing anything.

    Raises:
        WeightsError: the file is unreadable, refused, or no MixNet of a known origin.
        UsageError: the dialect, the pipeline or the labels do not fit.
    """
    if wanted.model is not None and wanted.model not in FAMILIES:
        raise UsageError(f"unknown architecture {wanted.model!r}; known: {', '.join(FAMILIES)}")
    checkpoint = readers.read(path)
    check_release_name(checkpoint)
    origin = find_origin(checkpoint)
    mapped = map_checkpoint(checkpoint, origin, expected=wanted.model, raw=wanted.raw)
    dialect, dialect_reason = choose_dialect(checkpoint, mapped, wanted.dialect)
    pipeline, pipeline_reason = choose_pipeline(checkpoint, mapped, wanted.pipeline)
    file = ModelFile(
        architecture=mapped.architecture,
        dialect=dialect,
        pipeline=pipeline,
        labels=_labels(mapped.architecture.num_classes, wanted.labels),
        params=mapped.params,
        provenance=_provenance(checkpoint, mapped, origin.license),
        dtype=wanted.dtype,
    )
    return Conversion(file, mapped, origin.name, dialect_reason, pipeline_reason)


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
