"""What predictions are worth: accuracy with its interval, per class, confusion, calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimix.workflows.resuming.rows import Rows

BINS = 15
"""Bins of confidence of the calibration error, as is usual."""

Z_95 = 1.959963984540054
"""Standard normal quantile of a two-sided interval that covers 95 %."""


@dataclass(frozen=True)
class Share:
    """How many of how many, as a share with the interval that the sample size leaves open."""

    hits: int
    count: int

    @property
    def value(self) -> float:
        """The share in 0..1; NaN of nothing."""
        return self.hits / self.count if self.count else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval, (low, high) in 0..1.

        Source: Wilson, "Probable inference, the law of succession, and statistical inference",
        1927.

        >>> [round(end, 4) for end in Share(76, 100).interval]
        [0.6677, 0.8331]
        """
        if not self.count:
            return 0.0, 1.0
        N, p, z2 = self.count, self.value, Z_95**2
        centre = (p + z2 / (2 * N)) / (1 + z2 / N)
        half = Z_95 / (1 + z2 / N) * math.sqrt(p * (1 - p) / N + z2 / (4 * N * N))
        return max(0.0, centre - half), min(1.0, centre + half)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; None is the share of nothing."""
        low, high = self.interval
        share = round(self.value, 8) if self.count else None
        return {
            "hits": self.hits,
            "count": self.count,
            "share": share,
            "interval95": [round(low, 8), round(high, 8)],
        }


@dataclass(frozen=True)
class Bin:
    """Pictures whose confidence lies in (low, high]: how many, how confident, how often right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


class Scores:
    """Counts over pictures, added part by part.

    Attributes:
        confusion: (classes, classes) pictures by true and predicted class.
    """

    def __init__(self, classes: int, *, is_single: bool = True) -> None:
        self.is_single = is_single
        self.confusion = np.zeros((classes, classes), np.int64)
        self._hits5 = np.zeros(classes, np.int64)
        self.top1, self.top5 = Share(0, 0), Share(0, 0)
        self.failed = 0
        self._count, self._right = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
        self._confidence = np.zeros(BINS, np.float64)

    def add(self, truths: Sequence[tuple[int, ...]], rows: Rows) -> None:
        """Count pictures: their true classes, and rows of (top, p); failed ones count nowhere."""
        ok = rows.ok
        self.failed += len(ok) - int(ok.sum())
        top, p = rows.values["top"][ok], rows.values["p"][ok]
        true = [truth for truth, good in zip(truths, ok.tolist(), strict=True) if good]
        if not true:
            return
        places = np.array([first_place(row, t) for row, t in zip(top.tolist(), true, strict=True)])
        first, five = places == 0, places < top.shape[1]
        self.top1 = Share(self.top1.hits + int(first.sum()), self.top1.count + len(true))
        self.top5 = Share(self.top5.hits + int(five.sum()), self.top5.count + len(true))
        if self.is_single:
            single = np.array([t[0] for t in true])
            np.add.at(self.confusion, (single, top[:, 0]), 1)
            np.add.at(self._hits5, single[five], 1)
        self._calibrate(p.astype(np.float64), first)

    def _calibrate(self, p: NDArray[np.float64], right: NDArray[np.bool_]) -> None:
        bins = np.clip(np.ceil(p * BINS).astype(np.intp) - 1, 0, BINS - 1)
        np.add.at(self._count, bins, 1)
        np.add.at(self._right, bins, right)
        np.add.at(self._confidence, bins, p)

    @property
    def per_class(self) -> list[tuple[Share, Share]]:
        """Top-1 and top-5 of every class's pictures, by index."""
        counts = self.confusion.sum(axis=1).tolist()
        hits = self.confusion.diagonal().tolist()
        return [
            (Share(first, n), Share(five, n))
            for first, five, n in zip(hits, self._hits5.tolist(), counts, strict=True)
        ]

    @property
    def bins(self) -> list[Bin]:
        """The table of calibration, from least to most confident; empty bins are NaN."""
        return [
            Bin(n / BINS, (n + 1) / BINS, count, total / count, right / count)
            if count
            else Bin(n / BINS, (n + 1) / BINS, 0, math.nan, math.nan)
            for n, (count, right, total) in enumerate(
                zip(
                    self._count.tolist(),
                    self._right.tolist(),
                    self._confidence.tolist(),
                    strict=True,
                )
            )
        ]

    @property
    def calibration_error(self) -> float:
        """ECE: the mean of |accuracy - confidence| over bins, weighted by their pictures.

        Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, section 2.
        """
        total = int(self._count.sum())
        gap = np.abs(self._right - self._confidence).sum()
        return float(gap / total) if total else math.nan


def first_place(top: list[int], truth: tuple[int, ...]) -> int:
    """Where the first true class stands among the best ones; their number if none does."""
    return min((n for n, index in enumerate(top) if index in truth), default=len(top))
