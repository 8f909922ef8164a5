"""The measurements of ``minimix bench``: latency and throughput beside peers, time by node kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from minimix.arrays import Array
from minimix.errors import CheckError
from minimix.model import Model
from minimix.node_times import node_times
from minimix.workflows.startup import sample_picture
from minimix.workflows.timing import Ratio, Timing, largest_difference, measure, ratio

OURS = "minimix"


class Peer(Protocol):
    """Another runtime with the same network loaded.

    Attributes:
        version: of its package.
        budget: largest |difference| of its logits from ours, as a share of the largest |logit|.
    """

    version: str
    budget: float

    def bind(self, x: Array) -> Callable[[], Array]:
        """(N, H, W, 3) -> what computes their logits."""


LoadPeer = Callable[[Model, int], Peer]
"""(model, threads) -> a peer that computes the same."""


@dataclass(frozen=True)
class Candidate:
    """One engine's times for one batch size and number of threads.

    Attributes:
        name: ``minimix``, or the peer's.
        ratio: how many times faster than this one minimix is; None for minimix itself.
        difference: of the logits from ours, as a share of the largest |logit|; None for ours.
    """

    name: str
    version: str
    threads: int
    batch: int
    timing: Timing
    ratio: Ratio | None = None
    difference: float | None = None

    @property
    def ms_per_picture(self) -> float:
        """The median, divided by the batch."""
        return self.timing.median_ms / self.batch

    @property
    def pictures_per_s(self) -> float:
        """Throughput."""
        return 1000 / self.ms_per_picture


def sample_batch(model: Model, batch: int) -> Array:
    """(batch, size, size, 3): a packaged picture again and again.

    A photograph rather than noise, on which some networks' logits run into the thousands.
    """
    return np.repeat(model.preprocess(sample_picture()), batch, axis=0)


def compare(
    load: Callable[[int], Model],
    peers: Mapping[str, LoadPeer],
    *,
    threads: Sequence[int],
    batches: Sequence[int],
    runs: int,
    seconds: float,
) -> Iterator[Candidate]:
    """Time a model, and the same network in peers, for each number of threads and batch size.

    Args:
        load: number of threads -> the model.
        peers: what to compare with, by name; each gets as many threads as the model.
        threads: numbers of threads.
        batches: pictures computed together.
        runs: rounds in which everyone has a turn.
        seconds: of a turn.

    Raises:
        CheckError: a peer's logits are not ours; its time would mean nothing.
    """
    from minimix import __version__

    for count in threads:
        model = load(count)
        loaded = {name: make(model, count) for name, make in peers.items()}
        for batch in batches:
            x = sample_batch(model, batch)
            calls = {name: peer.bind(x) for name, peer in loaded.items()}
            expected = model(x)
            differences = {
                name: _check(name, largest_difference(list(call()), list(expected)), loaded[name])
                for name, call in calls.items()
            }
            candidates: dict[str, Callable[[], object]] = {OURS: partial(model, x), **calls}
            timings = measure(candidates, rounds=runs, seconds=seconds)
            ours = timings.pop(OURS)
            yield Candidate(OURS, __version__, count, batch, ours)
            for name, timing in timings.items():
                faster = ratio(timing, ours)
                version, difference = loaded[name].version, differences[name]
                yield Candidate(name, version, count, batch, timing, faster, difference)


def _check(name: str, difference: float, peer: Peer) -> float:
    if not difference <= peer.budget:  # a NaN fails too
        raise CheckError(
            f"{name} {peer.version}: its logits differ from minimix's by {difference:.2g} of the "
            f"largest; expected at most {peer.budget:g}. Times of different results say nothing"
        )
    return difference


@dataclass(frozen=True)
class KindTime:
    """What all nodes of one kind cost together.

    Attributes:
        kind: of the nodes; with the compiled engine, of the optimised graph's.
        work: the engine's name for this part of it; empty with the reference engine.
        count: how many there are.
    """

    kind: str
    work: str
    count: int
    macs: int
    elapsed_ms: float


def time_by_kind(model: Model, runs: int) -> list[KindTime]:
    """Time each part of an inference of one picture, the dearest kind first."""
    x = sample_batch(model, 1)
    parts = _phases(model, x, runs) if model.engine.name == "compiled" else _nodes(model, x, runs)
    sums: dict[tuple[str, str], tuple[int, int, float]] = {}
    for kind, work, macs, elapsed_ms in parts:
        count, total_macs, total_ms = sums.get((kind, work), (0, 0, 0.0))
        sums[kind, work] = count + 1, total_macs + macs, total_ms + elapsed_ms
    found = [KindTime(kind, work, *values) for (kind, work), values in sums.items()]
    return sorted(found, key=lambda entry: -entry.elapsed_ms)


_Part = tuple[str, str, int, float]
"""Kind, work, multiply-adds, milliseconds."""


def _phases(model: Model, x: Array, runs: int) -> list[_Part]:
    # Numba's engine, which the reference engine's users need not have.
    from minimix.engine.compiled import CompiledEngine
    from minimix.engine.profile import profile_phases

    assert isinstance(model.engine, CompiledEngine)
    times = profile_phases(model.engine, x[0], runs)
    return [(time.kind, time.work, time.macs, time.elapsed_ms) for time in times]


def _nodes(model: Model, x: Array, runs: int) -> list[_Part]:
    macs = model.graph.macs(*x.shape[1:3])
    return [
        (node.kind, "", macs[node.name], elapsed_ms)
        for node, elapsed_ms in node_times(model, x, runs)
    ]
