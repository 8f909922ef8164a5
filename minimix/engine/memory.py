"""Which results share memory: a result's bytes are free again after its last reader's phase."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 64


@dataclass
class Request:
    """Bytes that are needed from one phase to another, both included."""

    size: int
    first: int
    last: int
    offset: int = -1


def assign(requests: list[Request]) -> int:
    """Give every request an offset so that no two live ones overlap; return the bytes in all.

    Largest first, each at the lowest offset that is free for its whole life.
    """
    placed: list[Request] = []
    for request in sorted(requests, key=lambda r: -r.size):
        alive = sorted(
            (p for p in placed if p.first <= request.last and request.first <= p.last),
            key=lambda p: p.offset,
        )
        offset = 0
        for other in alive:
            if offset + request.size <= other.offset:
                break
            offset = max(offset, -(-(other.offset + other.size) // ALIGNMENT) * ALIGNMENT)
        request.offset = offset
        placed.append(request)
    return max((r.offset + r.size for r in placed), default=0)
