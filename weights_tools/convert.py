"""Released checkpoint -> minimix model file, with the provenance of every parameter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import minimix
from minimix import weights
from minimix.dialect import DIALECTS, PIPELINES, Dialect
from minimix.errors import UsageError, WeightsError
from minimix.files import check_apart, check_free
from minimix.labels import imagenet_classes
from minimix.weights import ModelFile
from minimix.zoo import FAMILIES
from weights_tools import readers
from weights_tools.mappings import timm
from weights_tools.mappings.mapped import Mapped
from weights_tools.readers.checkpoint import Checkpoint

TIMM_DIALECTS = ("timm", "timm-tf")

LICENSE = "Apache-2.0, as timm releases its weights; trained on ImageNet"


@dataclass(frozen=True)
class Conversion:
    """What a conversion did.

    Attributes:
        dialect_reason: why the dialect is the one it is, for people.
    """

    model: ModelFile
    mapped: Mapped
    dialect_reason: str


def choose_dialect(checkpoint: Checkpoint, requested: str | None) -> tuple[Dialect, str]:
    """Return the dialect and the reason for it.

    timm's two families have the same tensors; only the release's name tells them apart.

    Raises:
        UsageError: nothing says which, or the request is no dialect of timm.
    """
    if requested is not None:
        if requested not in TIMM_DIALECTS:
            raise UsageError(
                f"dialect {requested!r}: a timm checkpoint is one of {', '.join(TIMM_DIALECTS)}"
            )
        return DIALECTS[requested], "as asked for"
    match = re.match(r"(tf_)?mixnet_", checkpoint.path.name)
    if match is None:
        raise UsageError(
            f"{checkpoint.path}: the tensors of timm's mixnet_* and tf_mixnet_* are alike, and "
            f"the name is of neither release; say which: --dialect timm or --dialect timm-tf"
        )
    name = "timm-tf" if match[1] else "timm"
    return DIALECTS[name], f"from the release's name, {match[0]}*"


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


def _provenance(checkpoint: Checkpoint, mapped: Mapped) -> dict[str, object]:
    return {
        "source": {
            "name": checkpoint.path.name,
            "container": checkpoint.container,
            "size_bytes": checkpoint.size_bytes,
            "sha256": checkpoint.sha256,
        },
        "tool": f"minimix {minimix.__version__}",
        "license": LICENSE,
        "tensors": {name: list(sources) for name, sources in mapped.sources.items()},
        "ignored": mapped.ignored,
    }


def read_model(
    path: Path,
    *,
    model: str | None = None,
    dialect: str | None = None,
    dtype: str = "float32",
    labels: Path | None = None,
) -> Conversion:
    """Read a released checkpoint as a minimix model, without writing anything.

    Args:
        model: the architecture that it must turn out to be.
        dialect: ``timm`` or ``timm-tf``, where the release's name does not say.
        dtype: how it will be stored, ``float32`` or ``float16``.
        labels: a text file with one class name per line.

    Raises:
        WeightsError: the file is unreadable, refused, or no MixNet of a known origin.
        UsageError: the dialect or the labels do not fit.
    """
    if model is not None and model not in FAMILIES:
        raise UsageError(f"unknown architecture {model!r}; known: {', '.join(FAMILIES)}")
    checkpoint = readers.read(path)
    check_release_name(checkpoint)
    if not timm.matches(checkpoint.tensors):
        first = ", ".join(list(checkpoint.tensors)[:3]) or "none"
        raise WeightsError(
            f"{path}: {len(checkpoint.tensors)} tensors, but the names are not timm's MixNet's "
            f"(first: {first}). Try: python -m weights_tools inspect {path}"
        )
    chosen, reason = choose_dialect(checkpoint, dialect)
    try:
        mapped = timm.map_timm(checkpoint.tensors, expected=model)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    file = ModelFile(
        architecture=mapped.architecture,
        dialect=chosen,
        pipeline=PIPELINES["timm"],
        labels=_labels(mapped.architecture.num_classes, labels),
        params={name: np.asarray(array) for name, array in mapped.params.items()},
        provenance=_provenance(checkpoint, mapped),
        dtype=dtype,
    )
    return Conversion(file, mapped, reason)


def _origin(message: str, mapped: Mapped) -> str:
    """Say which source tensor an error about one of our parameters is about."""
    sources = mapped.sources.get(message.partition(":")[0])
    return f" (in the file: {', '.join(sources)})" if sources else ""


def convert(
    path: Path,
    out: Path,
    *,
    model: str | None = None,
    dialect: str | None = None,
    dtype: str = "float32",
    labels: Path | None = None,
    force: bool = False,
) -> Conversion:
    """Convert a released checkpoint to a model file; arguments as in ``read_model``.

    Raises:
        WeightsError, UsageError: see ``read_model``; nothing is written then.
        UsageError: ``out`` exists and ``force`` is not given.
        OutputError: ``out`` cannot be written.
    """
    check_free(out, force=force)
    check_apart(out, path, labels)
    conversion = read_model(path, model=model, dialect=dialect, dtype=dtype, labels=labels)
    try:
        weights.save(out, conversion.model, force=force)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}{_origin(str(error), conversion.mapped)}") from error
    return conversion
