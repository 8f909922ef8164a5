"""What a reader gives back: named arrays, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from weights_tools.readers.topology import Topology

MAX_NAME_CHARACTERS = 1024
"""The longest tensor name accepted; the longest of a MixNet has about 40 characters."""

MAX_DIMENSIONS = 32
"""The most dimensions a tensor may have: NumPy 1.26 allows no more."""

MAX_ELEMENTS = 2**40
"""The largest product of a shape's sizes, zeros counted as ones, so that NumPy can hold it."""

Array = NDArray[Any]
Tensors = dict[str, Array]


@dataclass(frozen=True)
class Contents:
    """What one reader found in a file.

    Attributes:
        tensors: see ``Checkpoint``.
        metadata: see ``Checkpoint``.
        topology: the operations, where the container holds a network and not only its tensors.
        parts: further files that were read, by name -> SHA-256 of their bytes.
    """

    tensors: Tensors
    metadata: dict[str, str] = field(default_factory=dict)
    topology: Topology | None = None
    parts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of one file, under the names that the file gives them.

    Attributes:
        container: the format, as ``weights_tools.readers.detect`` names it.
        tensors: name -> array, in the file's order; read-only, C-contiguous, native byte order.
        metadata: what the file says beside its tensors, and what the reader left out.
        path: the file; of a checkpoint of several files, the one that lists the tensors.
        size_bytes: the file's size.
        sha256: of the file's bytes, 64 hexadecimal digits.
        topology: the operations, where the container holds a network and not only its tensors;
            its values of constant content are in ``tensors``, under their value names.
        parts: the further files of the checkpoint, by name -> SHA-256 of their bytes.
    """

    container: str
    tensors: Mapping[str, Array]
    metadata: dict[str, str]
    path: Path
    size_bytes: int
    sha256: str
    topology: Topology | None = None
    parts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))


def shown(text: object, limit: int = 80) -> str:
    r"""Object -> its text quoted for a message: escaped, since a file chose it, and cut.

    >>> shown("os\nsystem")
    "'os\\nsystem'"
    """
    full = str(text)
    return repr(full) if len(full) <= limit else repr(full[:limit]) + "..."


def checked_name(name: object) -> str:
    """Object -> the same, known to be a printable tensor name.

    Raises:
        ValueError: it is no text, is empty, too long, or has characters no terminal shows.
    """
    if not isinstance(name, str):
        raise ValueError(f"expected text as a tensor's name, found {type(name).__name__}")
    if not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise ValueError(
            f"tensor name {shown(name)}: expected 1 to {MAX_NAME_CHARACTERS} printable characters"
        )
    return name


def checked_sizes(sizes: object, what: str) -> tuple[int, ...]:
    """Sequence -> tuple of whole numbers, none negative: a shape, or strides in elements.

    >>> checked_sizes([16, 3, 3, 3], "shape")
    (16, 3, 3, 3)

    Raises:
        ValueError: it is no such sequence, or has more than ``MAX_DIMENSIONS`` entries.
    """
    if not isinstance(sizes, (tuple, list)) or len(sizes) > MAX_DIMENSIONS:
        raise ValueError(f"{what}: expected a list of at most {MAX_DIMENSIONS} sizes")
    for size in sizes:
        if type(size) is not int or not 0 <= size <= MAX_ELEMENTS:
            raise ValueError(
                f"{what}: expected sizes in 0..{MAX_ELEMENTS}, found {shown_size(size)}"
            )
    return tuple(sizes)


def shown_size(size: object) -> str:
    """Object -> text for a message, short even where a file holds a number of many digits."""
    return str(size) if type(size) is int and abs(size) < 2**64 else f"a {type(size).__name__}"


def element_count(shape: tuple[int, ...]) -> int:
    """Shape -> number of elements, refusing shapes that no array can have.

    >>> element_count((16, 3, 3, 3)), element_count(()), element_count((0, 7))
    (432, 1, 0)

    Raises:
        ValueError: the sizes multiply to more than ``MAX_ELEMENTS``, zeros counted as ones.
    """
    bound = 1
    for size in shape:
        bound *= max(size, 1)
        if bound > MAX_ELEMENTS:
            raise ValueError(f"a shape of more than {MAX_ELEMENTS} elements")
    return 0 if 0 in shape else bound
