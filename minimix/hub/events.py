"""What a fetch tells whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Stage = Literal["waiting", "downloading", "retrying", "converting"]


@dataclass(frozen=True)
class FetchEvent:
    """Something that happened, or bytes that arrived.

    Attributes:
        text: one line for people.
        done_bytes: how much of the file is here, where bytes arrive.
        total_bytes: how much it will be; None where nobody knows.
    """

    stage: Stage
    text: str
    done_bytes: int = 0
    total_bytes: int | None = None


Progress = Callable[[FetchEvent], None]
"""Is called in the fetching thread, often; an exception that it raises ends the fetch."""


def unwatched(event: FetchEvent) -> None:
    """Nobody waits: the event is dropped."""
