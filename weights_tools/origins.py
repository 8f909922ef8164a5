"""The table of origins: whose checkpoint is this, told by its names, and what maps it.

A mapping joins by a row.  Rows are asked from the first to the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minimix.errors import WeightsError
from weights_tools.mappings import mindcv, tensorflow, timm
from weights_tools.mappings.graphs import mapping
from weights_tools.mappings.mapped import Mapped
from weights_tools.readers.checkpoint import Checkpoint


@dataclass(frozen=True)
class Origin:
    """Who released a checkpoint, as far as its names tell.

    Attributes:
        name: for people.
        license: of the released weights.
        matches: whether the checkpoint's names are those of this origin.
        map: checkpoint, and the architecture it must turn out to be or None -> our parameters.
        map_raw: the same without moving averages; None where a checkpoint has no such twins.
    """

    name: str
    license: str
    matches: Callable[[Checkpoint], bool]
    map: Callable[[Checkpoint, str | None], Mapped]
    map_raw: Callable[[Checkpoint, str | None], Mapped] | None = None


_IMAGENET = "trained on ImageNet"

ORIGINS: tuple[Origin, ...] = (
    Origin(
        "timm",
        f"Apache-2.0, as timm releases its weights; {_IMAGENET}",
        lambda checkpoint: timm.matches(checkpoint.tensors),
        lambda checkpoint, expected: timm.map_timm(checkpoint.tensors, expected=expected),
    ),
    Origin(
        "tensorflow",
        f"Apache-2.0, as Google's tpu repository states; {_IMAGENET}",
        lambda checkpoint: tensorflow.matches(checkpoint.tensors),
        lambda checkpoint, expected: tensorflow.map_tensorflow(
            checkpoint.tensors, expected=expected
        ),
        lambda checkpoint, expected: tensorflow.map_tensorflow(
            checkpoint.tensors, expected=expected, raw=True
        ),
    ),
    Origin(
        "mindcv",
        f"Apache-2.0, as MindCV releases its weights; {_IMAGENET}",
        lambda checkpoint: mindcv.matches(checkpoint.tensors),
        lambda checkpoint, expected: mindcv.map_mindcv(checkpoint.tensors, expected=expected),
    ),
    Origin(
        "a network's own graph",
        "not stated in the file: that of the weights it was made from",
        lambda checkpoint: checkpoint.topology is not None,
        mapping.map_topology,
    ),
)
"""Every origin that has a mapping."""


def find_origin(checkpoint: Checkpoint) -> Origin:
    """Return the row whose names the checkpoint has.

    Raises:
        WeightsError: none; the message shows the first names.
    """
    for origin in ORIGINS:
        if origin.matches(checkpoint):
            return origin
    first = ", ".join(list(checkpoint.tensors)[:3]) or "none"
    raise WeightsError(
        f"{checkpoint.path}: {len(checkpoint.tensors)} tensors, but the names are of no MixNet "
        f"that minimix knows (first: {first}). Try: python -m weights_tools inspect "
        f"{checkpoint.path}"
    )


def map_checkpoint(
    checkpoint: Checkpoint, origin: Origin, *, expected: str | None = None, raw: bool = False
) -> Mapped:
    """Map a checkpoint by the row of its origin; errors name the file.

    Raises:
        WeightsError: a tensor is missing, left over or misshapen, or no family fits; or ``raw``
            is asked of a checkpoint without moving averages.
    """
    mapping = origin.map_raw if raw else origin.map
    if mapping is None:
        raise WeightsError(
            f"{checkpoint.path}: raw weights were asked for, but checkpoints of {origin.name} "
            "have no moving averages beside them: leave out --raw"
        )
    try:
        return mapping(checkpoint, expected)
    except WeightsError as error:
        raise WeightsError(f"{checkpoint.path}: {error}") from error
