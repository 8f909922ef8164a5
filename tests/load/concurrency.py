"""Do Python threads and processes at once give what one alone gives, bit by bit?

    python -m tests.load.concurrency --minutes 10 --threads 16 --processes 8

So many processes with so many Python threads each work on one model file, for a generation of a
minute; then they end, and others begin with an empty cache.  In every generation are raced:
loading (each thread loads models of its own, besides those that all share), both engines at several
sizes and batches, planning, filling the kernels' cache, and downloading a released model from a
server of our own into one cache, a new one every few seconds.

What is computed is held against what one process with one thread made of it before, by its bytes;
what is downloaded, by its parameters.  At the end every download was asked for once, and no file is
left that is no result.  Exit 1 if not, or if a process fails or hangs.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import multiprocessing
import operator
import os
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (32, 41, 64, 96, 97)
"""Pixels; one more than the engine keeps planned."""
BATCHES = (1, 3)
GENERATION_S, ROUND_S, PATIENCE_S = 60.0, 5.0, 120.0
FRESH = 0.02
"""How often a thread loads a model of its own in place of using a shared one."""

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""The reference engine's matrix products shall add in one order."""

Case = tuple[str, int, int]
"""Engine, size, batch."""


@dataclass(frozen=True)
class Expected:
    """What one process makes alone: digests by case, and that of the released model."""

    logits: dict[Case, str]
    released: str


@dataclass(frozen=True)
class Work:
    """What a process is given to do."""

    model: str
    cache: Path
    expected: Expected
    threads: int
    seconds: float
    began: float


@dataclass
class Report:
    """What was done, by kind, and what went wrong."""

    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.done += other.done
        self.failures += other.failures


def picture(size: int, batch: int) -> np.ndarray:
    """The input of a case; the same in every process."""
    rng = np.random.default_rng(size * 100 + batch)
    return rng.normal(0, 1, (batch, size, size, 3)).astype(np.float32)


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def released_digest() -> str:
    """Fetch the released model, or find it fetched, and digest its parameters."""
    from minimix import hub, weights

    params = weights.load(hub.locate("mixnet-s")).params
    return digest(*(params[name] for name in sorted(params)))


# --- in the processes --------------------------------------------------------------------------


def alone(model: str, cases: Sequence[Case], answer: Any) -> None:
    """Do everything once, in one thread."""
    import minimix as mx
    from tests.release_server import use_narrow

    use_narrow(operator.setitem)
    found = {}
    for engine, size, batch in cases:
        net = mx.load(model, engine=engine, threads=1)
        found[engine, size, batch] = digest(net(picture(size, batch)))
    answer.put(Expected(found, released_digest()))


class Process:
    """One process's threads, and what they share."""

    def __init__(self, work: Work, seed: int) -> None:
        self.work, self.seed = work, seed
        self.end = work.began + work.seconds
        self.shared: dict[tuple[str, int], Any] = {}
        self.inputs = {case: picture(*case[1:]) for case in work.expected.logits}
        self.report, self.guard = Report(), threading.Lock()

    def run(self) -> Report:
        """Start the threads and wait for them."""
        works: list[Callable[[], None]] = [self.download]
        works += [lambda n=n: self.compute(n) for n in range(self.work.threads)]  # type: ignore[misc]
        threads = [threading.Thread(target=self.guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.report

    def guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # handed to the parent, which fails
            self.note("failed", f"{type(error).__name__}: {error}")

    def note(self, kind: str, failure: str | None = None) -> None:
        with self.guard:
            self.report.done[kind] += 1
            if failure is not None:
                self.report.failures.append(failure)

    def model(self, rng: random.Random, engine: Any) -> Any:
        """A model that all threads share, or a new one; whoever comes first may be several."""
        import minimix as mx

        key = engine, rng.choice([1, 2, 3])
        if key in self.shared and rng.random() > FRESH:
            return self.shared[key]
        self.note("models loaded")
        own = mx.load(self.work.model, engine=engine, threads=key[1])
        return own if key in self.shared else self.shared.setdefault(key, own)

    def compute(self, number: int) -> None:
        rng = random.Random(self.seed * 1000 + number)
        cases = list(self.work.expected.logits)
        while time.time() < self.end:
            case = rng.choice(cases)
            found = digest(self.model(rng, case[0])(self.inputs[case]))
            amiss = found != self.work.expected.logits[case]
            self.note(case[0], f"{case}: other bits" if amiss else None)

    def download(self) -> None:
        """Fetch into one cache after another, as the other processes do."""
        while time.time() < self.end:
            n = int((time.time() - self.work.began) / ROUND_S)
            # No other thread of this process looks for its cache any more: see ``take_part``.
            os.environ["MINIMIX_CACHE_DIR"] = str(self.work.cache / f"round-{n}")
            amiss = released_digest() != self.work.expected.released
            self.note("downloads", "another released model" if amiss else None)
            time.sleep(max(0.0, self.work.began + (n + 1) * ROUND_S - time.time()))


def take_part(work: Work, seed: int, answer: Any) -> None:
    """One process of several."""
    from minimix.engine.kernels.cache import shared_cache
    from tests.release_server import use_narrow

    faulthandler.dump_traceback_later(work.seconds + PATIENCE_S * 0.8)
    os.environ["MINIMIX_CACHE_DIR"] = str(work.cache)
    shared_cache()
    use_narrow(operator.setitem)
    answer.put(Process(work, seed).run())


# --- in the parent -----------------------------------------------------------------------------


@contextmanager
def released() -> Iterator[Any]:
    """A server that has the released model; processes that start meanwhile know its address."""
    from tests.release_server import Reply, narrow_checkpoint, released_as, running_server

    with running_server() as server:
        content = narrow_checkpoint()
        server.put(released_as(content), content)
        server.always = Reply(pause_s=0.01, piece_bytes=len(content) // 20)
        changes = ENVIRONMENT | {"MINIMIX_MIRROR": server.address, "MINIMIX_OFFLINE": "0"}
        before = {name: os.environ.get(name) for name in (*changes, "MINIMIX_CACHE_DIR")}
        os.environ.update(changes)
        try:
            yield server
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def serial(model: str, cache: Path, cases: Sequence[Case]) -> Expected:
    """What one process makes alone."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    os.environ["MINIMIX_CACHE_DIR"] = str(cache)
    process = context.Process(target=alone, args=(model, cases, answer))
    process.start()
    expected: Expected = answer.get(timeout=PATIENCE_S)
    process.join()
    return expected


def generation(work: Work, processes: int, seed: int) -> Report:
    """Processes that begin with an empty cache, for a while."""
    context = multiprocessing.get_context("spawn")
    answer, report = context.Queue(), Report()
    started = [
        context.Process(target=take_part, args=(work, seed + n, answer)) for n in range(processes)
    ]
    for process in started:
        process.start()
    end = work.began + work.seconds + PATIENCE_S
    for _ in started:
        try:
            report.add(answer.get(timeout=max(1.0, end - time.time())))
        except Exception as error:  # queue.Empty: the stacks are on standard error
            report.failures.append(f"a process says nothing: {type(error).__name__}")
    for process in started:
        process.join(timeout=PATIENCE_S)
        if process.exitcode != 0:
            report.failures.append(f"a process ended with {process.exitcode}")
            process.kill()
    return report


def leftovers(cache: Path) -> list[str]:
    """Files that are neither kernels nor models nor what says where models came from."""
    kept = (".code", ".h5", ".sha256")
    return [
        str(path.relative_to(cache))
        for path in cache.rglob("*")
        if path.is_file() and (path.suffix not in kept or path.name.startswith("."))
    ]


def run(
    seconds: float,
    threads: int,
    processes: int,
    *,
    model: str = "mixnet-pocket",
    sizes: Sequence[int] = SIZES,
    seed: int = 0,
) -> Report:
    """Everything; what was done, and what went wrong."""
    cases = [(e, s, b) for e in ("compiled", "reference") for s in sizes for b in BATCHES]
    report = Report()
    with tempfile.TemporaryDirectory() as scratch, released() as server:
        expected, began = serial(model, Path(scratch) / "alone", cases), time.monotonic()
        while (left := seconds - (time.monotonic() - began)) > 1:
            report.done["generations"] += 1
            server.seen.clear()
            cache = Path(scratch) / f"cache-{report.done['generations']}"
            work = Work(model, cache, expected, threads, min(left, GENERATION_S), time.time())
            report.add(generation(work, processes, seed + 100 * report.done["generations"]))
            rounds = len(list(cache.glob("round-*")))
            report.done["download rounds"] += rounds
            report.done["kernels compiled"] += len(list((cache / "kernels").glob("*.code")))
            if len(server.seen) != rounds:
                report.failures.append(f"{len(server.seen)} requests for {rounds} downloads")
            report.failures += [f"left behind: {name}" for name in leftovers(cache)]
    return report


def main() -> None:
    """Parse, run, print, and exit with 1 if anything was amiss."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.load.concurrency", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=16, help="Python threads in each process")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--model", default="mixnet-pocket")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    report = run(
        options.minutes * 60,
        options.threads,
        options.processes,
        model=options.model,
        seed=options.seed,
    )
    print(f"{options.processes} processes with {options.threads} threads each:")
    for kind, count in sorted(report.done.items()):
        print(f"  {kind:18} {count:9,}")
    for failure, count in Counter(report.failures).most_common():
        print(f"  {count} x {failure}")
    print("all bit-equal to serial" if not report.failures else "FAILED")
    raise SystemExit(bool(report.failures))


if __name__ == "__main__":
    main()
