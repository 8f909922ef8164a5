"""Do memory and latency stay flat over many inferences in one process?

    python -m tests.load.long_run --count 200000 --model mixnet-pocket

Four runs, one after the other: the compiled engine on one picture of the model's size, ``count``
times; the same engine on varied sizes, more than stay planned, and batches; the same on a size that
it has not seen, each time; the reference engine.  The last three cost more an inference and are run
``count // VARIED``, ``count // NEW`` and ``count // PLAIN`` times.

Each run is cut into windows.  At the end of each the resident memory is read; its latency is the
median (of each input, their mean), and so is its processor time, which what else the machine does
lengthens less.  Through the windows behind the first tenth a line is laid by Theil and Sen: its
slope is the median of all pairs' slopes; it is printed per 1,000 inferences, with the interval that
holds 99.7 % (of Kendall's tau, windows taken to be independent).  A run is flat where the line
rises by no more than ``MEMORY_MIB`` and ``LATENCY_SHARE`` from end to end, or where the interval
holds zero; for time, that of the clock or that of the processor.

All results are held against the first ones, bit by bit.  At the end pictures of nothing but black,
white, denormals, NaN and infinity take turns with an ordinary one; none may take ``SLOWER`` times
as long.  Exit 1 if anything is amiss.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

import minimix as mx
from minimix.cores import available_cores

WINDOWS, LEAST_TURNS = 200, 5
"""So many windows at most; in each, every input has so many turns at least."""
WARM_UP = 0.1
"""Share of the windows that is left out: allocators and clocks settle."""

MEMORY_MIB, LATENCY_SHARE, DEVIATIONS = 1.0, 0.05, 3.0

SLOWER, TURNS = 2.0, 200
VARIED, NEW, PLAIN = 40, 400, 100
SIZES = (32, 41, 64, 96, 97, 128)
"""More than the engine keeps planned, so that plans and their memory come and go."""
BATCHES = (1, 2, 5)
LARGEST_NEW = 96


@dataclass(frozen=True)
class Line:
    """A straight line through points: its slope, an interval for it, how far it rises."""

    slope: float
    low: float
    high: float
    rise: float

    def is_flat(self, allowed: float) -> bool:
        """Whether it rises by no more than is allowed, or than chance explains."""
        return self.rise <= allowed or self.low <= 0


def fit(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> Line:
    """Points, x ascending -> the line of Theil and Sen; a few wild points do not tilt it.

    >>> fit([0, 1, 2, 3, 4, 5], [1, 3, 5, 7, 9, 500])
    Line(slope=2.0, low=2.0, high=491.0, rise=10.0)
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    n, (i, j) = len(a), np.triu_indices(len(a), 1)
    slopes = np.sort((b[j] - b[i]) / (a[j] - a[i]))
    reach = DEVIATIONS * np.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    ends = np.clip([(len(slopes) - reach) / 2, (len(slopes) + reach) / 2], 0, len(slopes) - 1)
    low, high = slopes[ends.round().astype(int)]
    slope = float(np.median(slopes))
    return Line(slope, float(low), float(high), slope * float(a[-1] - a[0]))


@dataclass
class Seen:
    """What was seen at the end of each window; made beforehand: notes are no lost memory."""

    thousands: np.ndarray
    mib: np.ndarray
    wall_ms: np.ndarray
    processor_ms: np.ndarray

    @classmethod
    def of(cls, windows: int) -> Seen:
        return cls(*(np.zeros(windows) for _ in range(4)))


def resident_mib() -> float:
    import psutil  # comes with Dask

    return float(psutil.Process().memory_info().rss) / 2**20


def measure(net: mx.Model, inputs: Sequence[np.ndarray], count: int) -> Seen:
    """Run ``count`` inferences on the inputs in turn; per window what was seen."""
    expected = [net(x).tobytes() for x in inputs]
    windows = max(2, min(WINDOWS, count // (LEAST_TURNS * len(inputs))))
    turns = max(1, count // (windows * len(inputs)))
    wall, processor = np.zeros((turns, len(inputs))), np.zeros((turns, len(inputs)))
    seen = Seen.of(windows)
    for window in range(windows):
        for turn in range(turns):
            for n, x in enumerate(inputs):
                start, cpu = time.perf_counter(), time.process_time()
                logits = net(x)
                wall[turn, n] = time.perf_counter() - start
                processor[turn, n] = time.process_time() - cpu
                if logits.tobytes() != expected[n]:
                    raise SystemExit(f"window {window}: other bits than before, input {n}")
        seen.thousands[window] = (window + 1) * turns * len(inputs) / 1000
        seen.mib[window] = resident_mib()
        seen.wall_ms[window] = np.median(wall, axis=0).mean() * 1000
        seen.processor_ms[window] = np.median(processor, axis=0).mean() * 1000
    return seen


def new_sizes(count: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Heights and widths, each once."""
    sizes = range(32, LARGEST_NEW + 1)
    pairs = [(height, width) for height in sizes for width in sizes]
    for n in rng.permutation(len(pairs))[:count]:
        yield pairs[n]


def measure_new(net: mx.Model, count: int, rng: np.random.Generator) -> Seen:
    """Run on a size that was not there before, each time: planned, perhaps compiled, forgotten."""
    count = min(count, (LARGEST_NEW - 31) ** 2)
    windows = max(2, min(WINDOWS, count // LEAST_TURNS))
    turns, seen = count // windows, Seen.of(windows)
    sizes = new_sizes(count, rng)
    for window in range(windows):
        wall, processor = np.zeros(turns), np.zeros(turns)
        for turn in range(turns):
            x = rng.normal(0, 1, (1, *next(sizes), 3)).astype(np.float32)
            start, cpu = time.perf_counter(), time.process_time()
            net(x)
            wall[turn], processor[turn] = time.perf_counter() - start, time.process_time() - cpu
        seen.thousands[window] = (window + 1) * turns / 1000
        seen.mib[window] = resident_mib()
        seen.wall_ms[window] = np.median(wall) * 1000
        seen.processor_ms[window] = np.median(processor) * 1000
    return seen


def report(label: str, seen: Seen) -> bool:
    """Print a run's lines; whether memory and time are flat."""
    behind = slice(int(len(seen.mib) * WARM_UP), None)
    x = seen.thousands[behind]
    print(f"{label}: {seen.thousands[-1] * 1000:,.0f} inferences, {len(x)} windows")

    def line(what: str, values: np.ndarray, unit: str, scale: float, allowed: float) -> bool:
        found, flat = fit(x, values), fit(x, values).is_flat(allowed)
        print(
            f"  {what:15} {values[0]:9.3f} -> {values[-1]:9.3f}, median {np.median(values):9.3f}; "
            f"{found.slope * scale:+.3f} [{found.low * scale:+.3f}, {found.high * scale:+.3f}] "
            f"{unit} per 1,000: {'flat' if flat else 'NOT FLAT'}",
            flush=True,
        )
        return flat

    memory = line("memory, MiB", seen.mib[behind], "KiB", 1024, MEMORY_MIB)
    times = [
        line(what, values[behind], "us", 1000, LATENCY_SHARE * float(np.median(values[behind])))
        for what, values in (("latency, ms", seen.wall_ms), ("processor, ms", seen.processor_ms))
    ]
    return memory and any(times)


def unusual(net: mx.Model, ordinary: np.ndarray) -> bool:
    """Time pictures of all sorts in turn and print their medians; whether none is slow."""
    kinds = {"ordinary": ordinary, "denormal": ordinary * np.float32(1e-39)}
    levels = {"zero": 0, "white": 1, "NaN": np.nan, "infinity": np.inf, "largest": 3.4e38}
    kinds |= {name: np.full_like(ordinary, level) for name, level in levels.items()}
    elapsed = {name: np.zeros(TURNS) for name in kinds}
    for turn in range(TURNS):
        for name, x in kinds.items():
            start = time.perf_counter()
            net(x)
            elapsed[name][turn] = time.perf_counter() - start
    medians = {name: float(np.median(times)) for name, times in elapsed.items()}
    print("pictures of one sort, times an ordinary one's latency on the compiled engine:")
    shares = {name: ms / medians["ordinary"] for name, ms in medians.items()}
    print("  " + ", ".join(f"{name} {share:.2f}" for name, share in shares.items()))
    return max(shares.values()) <= SLOWER


def run(model: str, count: int, threads: int, seed: int) -> bool:
    """All runs; whether all are as they should be."""
    rng = np.random.default_rng(seed)

    def pictures(batch: int, size: int) -> np.ndarray:
        return rng.normal(0, 1, (batch, size, size, 3)).astype(np.float32)

    net = mx.load(model, engine="compiled", threads=threads)
    plain = mx.load(model, engine="reference")
    varied = [pictures(batch, size) for size in SIZES for batch in BATCHES]
    small = [pictures(batch, size) for size in SIZES[:2] for batch in BATCHES[:2]]
    runs: dict[str, Callable[[], Seen]] = {
        "compiled": lambda: measure(net, [pictures(1, net.size)], count),
        "compiled, varied sizes and batches": lambda: measure(net, varied, count // VARIED),
        "compiled, ever new sizes": lambda: measure_new(net, count // NEW, rng),
        "reference, varied sizes and batches": lambda: measure(plain, small, count // PLAIN),
    }
    flat = []
    for label, work in runs.items():
        gc.collect()
        before = os.getloadavg()[0]
        seen = work()
        flat.append(report(f"{label} (load {before:.1f} -> {os.getloadavg()[0]:.1f})", seen))
    return unusual(net, pictures(1, net.size)) and all(flat)


def main() -> None:
    """Parse, run, and exit with 1 where something is amiss."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.load.long_run", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--model", default="mixnet-pocket")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not run(options.model, options.count, options.threads, options.seed):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
