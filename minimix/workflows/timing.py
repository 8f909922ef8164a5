"""Timing several ways of computing the same thing, fairly: in turns, in one process, in one run.

Absolute times drift with the machine's mood; ratios of what ran side by side hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

PAUSE_S = 0.03
"""Between two candidates: threads of the one before stop spinning, and disturb nobody."""

FEWEST_CALLS = 3
"""Timed calls of a round, at least."""


@dataclass(frozen=True)
class Timing:
    """Latencies of one candidate.

    Attributes:
        rounds_ms: milliseconds of every timed call, round by round.
    """

    rounds_ms: tuple[tuple[float, ...], ...]

    @property
    def medians_ms(self) -> tuple[float, ...]:
        """The median of each round."""
        return tuple(float(np.median(calls)) for calls in self.rounds_ms)

    @property
    def median_ms(self) -> float:
        """The median of the rounds' medians."""
        return float(np.median(self.medians_ms))

    @property
    def p95_ms(self) -> float:
        """What 95 of 100 calls take at most, over all rounds."""
        return float(np.percentile([call for calls in self.rounds_ms for call in calls], 95))

    @property
    def spread(self) -> float:
        """(largest - smallest) / median of the rounds' medians: how far to trust it.

        >>> Timing(((1.0, 2.0, 3.0), (2.0, 3.0, 4.0))).spread
        0.4
        """
        return (max(self.medians_ms) - min(self.medians_ms)) / self.median_ms

    @property
    def calls(self) -> int:
        """How many calls were timed."""
        return sum(map(len, self.rounds_ms))


@dataclass(frozen=True)
class Ratio:
    """How many times faster than another: the median over rounds, and the worst and the best."""

    median: float
    smallest: float
    largest: float


def ratio(slow: Timing, fast: Timing) -> Ratio:
    """Compare round by round, as a round's calls ran side by side.

    >>> ratio(Timing(((4.0,), (9.0,))), Timing(((2.0,), (3.0,))))
    Ratio(median=2.5, smallest=2.0, largest=3.0)
    """
    ratios = [a / b for a, b in zip(slow.medians_ms, fast.medians_ms, strict=True)]
    return Ratio(float(np.median(ratios)), min(ratios), max(ratios))


def measure(
    candidates: Mapping[str, Callable[[], object]], *, rounds: int, seconds: float
) -> dict[str, Timing]:
    """Time candidates in turns: A B C A B C ...

    Args:
        candidates: what to call, by name.
        rounds: how often each one's turn comes.
        seconds: how long a turn lasts, after a tenth of it to warm up.
    """
    rounds_ms: dict[str, list[tuple[float, ...]]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            time.sleep(PAUSE_S)
            _turn(call, seconds / 10, 1)
            rounds_ms[name].append(_turn(call, seconds, FEWEST_CALLS))
    return {name: Timing(tuple(found)) for name, found in rounds_ms.items()}


def _turn(call: Callable[[], object], seconds: float, fewest: int) -> tuple[float, ...]:
    """Milliseconds of each call, for so long and at least so many."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < fewest or time.perf_counter() < end:
        started = time.perf_counter_ns()
        call()
        found.append((time.perf_counter_ns() - started) / 1e6)
    return tuple(found)


def largest_difference(found: Sequence[object], expected: Sequence[object]) -> float:
    """Largest |difference|, as a share of the largest expected |value|.

    >>> largest_difference([1.0, -2.0], [1.0, -4.0])
    0.5
    """
    a, b = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.abs(a - b).max() / np.abs(b).max())
