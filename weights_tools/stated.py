"""What a file that minimix exported states of itself: dialect, pipeline, class names, licence.

Containers of other frameworks have no place for these but free text, which anybody can write: each
statement is checked by itself, then against the tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from minimix.arrays import Array
from minimix.dialect import Dialect, Pipeline
from minimix.errors import UsageError, WeightsError
from minimix.zoo import FAMILIES, build
from weights_tools.export_safetensors import family_of, unit_variance
from weights_tools.mappings.mapped import Mapped
from weights_tools.readers.checkpoint import Checkpoint, shown

MAX_CHARACTERS = 2**20
"""The longest statement that is read; a thousand class names have about 20,000 characters."""

_KEYS = {"safetensors": ("tool", "trained_as"), "onnx": ("onnx.producer", "dialect")}
"""Container -> where its metadata name the program that wrote it, and the dialect."""


@dataclass(frozen=True)
class _Stated:
    """A file's own words; the dialect may be folded although the tensors are not."""

    dialect: Dialect
    pipeline: Pipeline
    labels: tuple[str, ...]
    license: str


def as_stated(checkpoint: Checkpoint, mapped: Mapped) -> Mapped:
    """A mapped checkpoint -> the network that was exported: one dialect, one pipeline, its labels.

    What minimix did not write, or wrote nothing into, stays as it is.

    Raises:
        WeightsError: a statement is missing or is none that minimix makes, or the tensors
            contradict it.
    """
    try:
        stated = _read(checkpoint)
        if stated is None:
            return mapped
        _check_network(checkpoint, mapped, stated)
        _check_pictures(checkpoint, mapped, stated.pipeline)
        if stated.dialect.is_folded and mapped.dialects[0].batch_norm_eps is not None:
            mapped = _without_norms(mapped, family_of(stated.dialect))
    except (ValueError, OverflowError, UsageError, WeightsError) as error:
        problem = str(error)
        if len(problem) > 500 or not problem.isprintable():
            problem = shown(problem, 500)
        raise WeightsError(
            f"its metadata say that minimix wrote it, but {problem}. Somebody changed it: export "
            "the model again"
        ) from error
    return replace(
        mapped,
        dialects=(stated.dialect,),
        pipelines=(stated.pipeline,),
        labels=stated.labels,
        license=stated.license,
    )


def _read(checkpoint: Checkpoint) -> _Stated | None:
    """The statements, each checked by itself; None where there are none.

    Raises:
        ValueError, OverflowError, WeightsError: one is missing, or is none that minimix makes.
    """
    writer, dialect = _KEYS.get(checkpoint.container, ("", ""))
    metadata = checkpoint.metadata
    keys = (dialect, "pipeline", "labels", "license")
    if not metadata.get(writer, "").startswith("minimix ") or metadata.keys().isdisjoint(keys):
        return None
    for key in keys:
        _check_text(metadata, key)
    return _Stated(
        Dialect.from_json(_json(metadata, dialect)),
        Pipeline.from_json(_json(metadata, "pipeline")),
        _labels(_json(metadata, "labels")),
        metadata["license"],
    )


def _check_text(metadata: Mapping[str, str], key: str) -> None:
    if key not in metadata:
        raise ValueError(f"{key} is missing")
    if len(metadata[key]) > MAX_CHARACTERS:
        raise ValueError(f"{key} has {len(metadata[key])} characters, {MAX_CHARACTERS} at most")
    if not _is_whole(metadata[key]):
        raise ValueError(f"{key} is no valid text")


def _is_whole(text: str) -> bool:
    """Whether a file can hold it; JSON can spell halves of characters, which none can."""
    return text.encode("utf-8", "replace").decode() == text


def _json(metadata: Mapping[str, str], key: str) -> Any:
    try:
        found = json.loads(metadata[key])
        is_whole = _is_whole(json.dumps(found, ensure_ascii=False))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{key} is no JSON: {shown(error)}") from error
    if not is_whole:
        raise ValueError(f"{key} is no valid text")
    return found


def _labels(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        raise ValueError("labels are no list of texts")
    return tuple(found)


def _check_network(checkpoint: Checkpoint, mapped: Mapped, stated: _Stated) -> None:
    name, classes = mapped.architecture.name, mapped.architecture.num_classes
    said = checkpoint.metadata.get("architecture", name)
    if said in FAMILIES and said != name:
        raise ValueError(f"architecture is {said}, and its tensors are of {name}")
    if len(stated.labels) != classes:
        raise ValueError(f"labels are {len(stated.labels)}, and its tensors are of {classes}")
    if checkpoint.topology is None:
        # timm's tensors fit both of its families: the stated dialect must compute like the one
        # that the file was written for.
        fits = checkpoint.metadata.get("dialect") == family_of(stated.dialect).name
    else:
        fits = stated.dialect.is_folded and _computed(stated.dialect) in map(
            _computed, mapped.dialects
        )
    if not fits:
        raise ValueError(
            f"dialect {shown(stated.dialect.name)} ({_described(stated.dialect)}) is not that of "
            f"its tensors, {' or '.join(map(_described, mapped.dialects))}"
        )


def _computed(dialect: Dialect) -> tuple[str, str]:
    """What a graph shows of a dialect."""
    return dialect.padding, dialect.se_activation


def _described(dialect: Dialect) -> str:
    folded = ", folded" if dialect.is_folded else ""
    return f"{dialect.padding} padding, squeeze-excite as {dialect.se_activation}{folded}"


def _check_pictures(checkpoint: Checkpoint, mapped: Mapped, pipeline: Pipeline) -> None:
    if mapped.normalises:
        raise ValueError("its network normalises pictures, as none does that minimix writes")
    if checkpoint.topology is not None and mapped.pipelines[0].size != pipeline.size:
        raise ValueError(
            f"pipeline has {pipeline.size} pixels, and its network {mapped.pipelines[0].size}"
        )


def _without_norms(mapped: Mapped, family: Dialect) -> Mapped:
    """Take away the batch norms that an export gave to a folded model: they only add.

    Raises:
        ValueError: one does more than that.
    """
    assert family.batch_norm_eps is not None
    expected = {"gamma": 1, "mean": 0, "variance": unit_variance(family.batch_norm_eps)}
    params: dict[str, Array] = dict(mapped.params)
    sources, ignored = dict(mapped.sources), dict(mapped.ignored)
    for node in build(mapped.architecture, family):
        if node.kind != "batch_norm":
            continue
        for local, value in expected.items():
            name = f"{node.name}.{local}"
            if (params.pop(name) != value).any():
                raise ValueError(
                    f"batch norm is folded, and {sources[name][0]} is not {value:.9g} throughout"
                )
            ignored |= dict.fromkeys(sources.pop(name), "of a batch norm that only adds")
        beta, bias = f"{node.name}.beta", f"{node.name.removesuffix('_bn')}.bias"
        params[bias], sources[bias] = params.pop(beta), sources.pop(beta)
    return replace(mapped, params=params, sources=sources, ignored=ignored)
