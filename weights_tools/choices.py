"""Dialect and pipeline of a checkpoint: as asked for, as it states, or as its name says."""

from __future__ import annotations

import re
from collections.abc import Iterable

from minimix.dialect import Dialect, Pipeline
from minimix.errors import UsageError
from weights_tools.mappings.mapped import Mapped
from weights_tools.readers.checkpoint import Checkpoint, shown

_RELEASED = re.compile(r"(tf_)?mixnet_(?:s|m|l|xl|xxl)(?:_ra)?[-.]")
"""How the names of timm's releases begin."""


def choose_dialect(
    checkpoint: Checkpoint, mapped: Mapped, requested: str | None
) -> tuple[Dialect, str]:
    """Return the dialect and the reason for it.

    timm's two families have the same tensors; only the release's name tells them apart.

    Args:
        requested: the dialect that it must be, or is where several fit.

    Raises:
        UsageError: nothing says which, or the request is none of those that the tensors fit.
    """
    possible = {dialect.name: dialect for dialect in mapped.dialects}
    if requested is not None:
        if requested not in possible:
            found = "the file states" if mapped.is_stated else "its tensors are of"
            raise UsageError(
                f"{checkpoint.path}: dialect {requested!r} was asked for, {found} "
                f"{_either(possible)}"
            )
        return possible[requested], "as asked for"
    if len(possible) == 1:
        return mapped.dialects[0], (
            "as the file states" if mapped.is_stated else "the only one that fits"
        )
    match = _RELEASED.match(checkpoint.path.name)
    if match is None or possible.keys() != {"timm", "timm-tf"}:
        raise UsageError(
            f"{checkpoint.path}: {_unclear(checkpoint, mapped)}; say which: "
            f"{' or '.join(f'--dialect {name}' for name in possible)}"
        )
    name = f"{match[1] or ''}mixnet_*"
    return possible["timm-tf" if match[1] else "timm"], f"from the release's name, {name}"


def choose_pipeline(
    checkpoint: Checkpoint, mapped: Mapped, requested: str | None
) -> tuple[Pipeline, str]:
    """Return the pipeline and the reason for it.

    Args:
        requested: the pipeline that it must be, or is where several fit.

    Raises:
        UsageError: the file does not say which and nobody was asked for, or both say different.
    """
    possible = {pipeline.name: pipeline for pipeline in mapped.pipelines}
    if requested is not None:
        if requested not in possible:
            raise UsageError(
                f"{checkpoint.path}: pipeline {requested!r} was asked for, the file is made for "
                f"{_either(possible)}"
            )
        return possible[requested], "as asked for"
    if len(possible) == 1:
        return mapped.pipelines[0], (
            "as the file states" if mapped.is_stated else "that of its origin"
        )
    if mapped.likely:
        others = " or ".join(name for name in possible if name != mapped.likely)
        return possible[mapped.likely], (
            f"the likeliest: the network normalises BGR; if it is another: --pipeline {others}"
        )
    raise UsageError(
        f"{checkpoint.path}: the file does not say how pictures become its input; say which: "
        f"--pipeline {' or '.join(possible)}"
    )


def _either(names: Iterable[str]) -> str:
    """Names for a message; a file may have chosen one."""
    return " or ".join(
        name if re.fullmatch(r"[\w-]{1,40}", name) else shown(name) for name in names
    )


def _unclear(checkpoint: Checkpoint, mapped: Mapped) -> str:
    """Why the dialect is not known."""
    if checkpoint.topology is not None:
        return (
            f"at its input of {mapped.pipelines[0].size} pixels, TensorFlow's padding and "
            "PyTorch's put zeros at the same places"
        )
    return (
        "the tensors of timm's mixnet_* and tf_mixnet_* are alike, and the name is of neither "
        "release"
    )
