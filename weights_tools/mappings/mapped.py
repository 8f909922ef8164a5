"""What a mapping gives back: our parameters, and where each came from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from minimix.arrays import Array
from minimix.errors import WeightsError
from minimix.graph import Graph
from minimix.zoo import Architecture


@dataclass(frozen=True)
class Mapped:
    """A checkpoint under our names and in our layouts.

    Attributes:
        sources: our name -> the names it was made of.
        ignored: source names that were knowingly left out -> why.
    """

    architecture: Architecture
    params: dict[str, Array]
    sources: dict[str, tuple[str, ...]]
    ignored: dict[str, str]


def check_all_used(names: Iterable[str], mapped: Mapped, graph: Graph) -> None:
    """Check that every source tensor is used once, or knowingly ignored.

    Raises:
        WeightsError: names what is left over, or used twice.
    """
    used = [name for sources in mapped.sources.values() for name in sources]
    left_over = [name for name in names if name not in set(used) and name not in mapped.ignored]
    twice = sorted({name for name in used if used.count(name) > 1})
    for what, found in (("left over", left_over), ("used twice", twice)):
        if found:
            more = f" and {len(found) - 5} more" if len(found) > 5 else ""
            raise WeightsError(
                f"{len(found)} tensors {what} after {graph.name} was filled: "
                f"{', '.join(found[:5])}{more}"
            )
