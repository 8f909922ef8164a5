"""The table of origins: whose names a checkpoint has, what maps it, and which release it is.

A mapping joins by a row.  Rows are asked from the first to the last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minimix.errors import WeightsError
from minimix.hub.releases import RELEASES, Release
from weights_tools.mappings import mindcv, tensorflow, timm
from weights_tools.mappings.graphs import mapping
from weights_tools.mappings.mapped import Mapped
from weights_tools.readers.checkpoint import Checkpoint
from weights_tools.stated import as_stated


@dataclass(frozen=True)
class Origin:
    """Whose names a checkpoint has; its weights can be anybody's.

    Attributes:
        name: for people.
        matches: whether the checkpoint's names are those of this origin.
        map: checkpoint, and the architecture it must turn out to be or None -> our parameters.
        map_raw: the same without moving averages; None where a checkpoint has no such twins.
    """

    name: str
    matches: Callable[[Checkpoint], bool]
    map: Callable[[Checkpoint, str | None], Mapped]
    map_raw: Callable[[Checkpoint, str | None], Mapped] | None = None


ORIGINS: tuple[Origin, ...] = (
    Origin(
        "timm",
        lambda checkpoint: timm.matches(checkpoint.tensors),
        lambda checkpoint, expected: timm.map_timm(checkpoint.tensors, expected=expected),
    ),
    Origin(
        "tensorflow",
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
        lambda checkpoint: mindcv.matches(checkpoint.tensors),
        lambda checkpoint, expected: mindcv.map_mindcv(checkpoint.tensors, expected=expected),
    ),
    Origin(
        "a network's own graph",
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
        f"that minimix knows (first: {first})"
    )


def map_checkpoint(
    checkpoint: Checkpoint, origin: Origin, *, expected: str | None = None, raw: bool = False
) -> Mapped:
    """Map a checkpoint by the row of its origin, and by what it states; errors name the file.

    Raises:
        WeightsError: a tensor is missing, left over or misshapen, or no family fits; ``raw`` is
            asked of a checkpoint without moving averages; what it states is contradicted.
    """
    mapping = origin.map_raw if raw else origin.map
    if mapping is None:
        raise WeightsError(
            f"{checkpoint.path}: raw weights were asked for, but checkpoints of {origin.name} "
            "have no moving averages beside them: leave out --raw"
        )
    try:
        return as_stated(checkpoint, mapping(checkpoint, expected))
    except WeightsError as error:
        raise WeightsError(f"{checkpoint.path}: {error}") from error


def release_of(checkpoint: Checkpoint) -> Release | None:
    """The release that a checkpoint is, by name, size and digits of its SHA-256; None if none.

    One of which neither size nor digits are published cannot be told from its namesakes.

    Raises:
        WeightsError: it has the name of a release that states digits, and not these digits.
    """
    name, sha256 = checkpoint.path.name, checkpoint.sha256
    for release in RELEASES.values():
        if name != release.file:
            continue
        if not sha256.startswith(release.sha256_prefix):
            raise WeightsError(
                f"{checkpoint.path}: the released file of this name has a sha256 that begins with "
                f"{release.sha256_prefix}, this one's begins with {sha256[:8]}. It is damaged or "
                "another file: download it again, or rename what is your own"
            )
        if checkpoint.size_bytes == release.size_bytes:
            return release
    return None
