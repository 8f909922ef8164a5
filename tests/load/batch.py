"""``python -m tests.load.batch``: is every picture accounted for once, and how much does that cost?

Generated JPEGs are classified by ``minimix batch`` as they are, then with some of them corrupt and
a worker killed every few seconds.  Before and after, bare loops of decoding, preparing and
computing, one process per core with nothing between them, say what the machine can do at all.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import minimix
from minimix.cores import available_cores
from tests.load.pictures import write_jpegs

BATCH = 16


@dataclass
class Watch:
    """What was seen of a run's processes, a second at a time."""

    every_s: float | None
    kills: int = 0
    client_mib: list[float] = field(default_factory=list)
    worker_mib: list[float] = field(default_factory=list)

    def follow(self, process: subprocess.Popen[bytes]) -> None:
        """Watch, and kill, until the process ends."""
        import psutil  # comes with Dask

        last = time.monotonic()
        while process.poll() is None:
            time.sleep(1)
            try:
                root = psutil.Process(process.pid)
                workers = [
                    p for p in root.children(recursive=True) if "spawn_main" in str(p.cmdline())
                ]
                sizes = [p.memory_info().rss / 2**20 for p in workers]
                self.client_mib.append(root.memory_info().rss / 2**20)
            except psutil.Error:
                continue
            self.worker_mib.append(max(sizes, default=0))
            if self.every_s and workers and time.monotonic() - last > self.every_s:
                last = time.monotonic()
                workers[self.kills % len(workers)].send_signal(signal.SIGKILL)
                self.kills += 1

    def memory(self) -> str:
        """The largest of each quarter of the run, client / worker."""
        size = max(1, len(self.client_mib) // 4)
        quarters = [
            f"{max(self.client_mib[n : n + size]):.0f}/{max(self.worker_mib[n : n + size]):.0f}"
            for n in range(0, 4 * size, size)
            if self.client_mib[n : n + size]
        ]
        return " ".join(quarters)


def bare_loop(model: str, files: list[Path], gate: object, done: object) -> None:
    """One process of the limit: decode, prepare, compute; nothing else."""
    net = minimix.load(model, threads=1)
    net.prepare()
    gate.wait()
    for start in range(0, len(files), BATCH):
        net(net.preprocess(files[start : start + BATCH]))
    done.put(len(files))


def limit(model: str, files: list[Path], jobs: int) -> float:
    """Pictures a second of so many bare loops."""
    context = multiprocessing.get_context("spawn")
    gate, done = context.Barrier(jobs + 1), context.Queue()
    shares = [files[n::jobs] for n in range(jobs)]
    loops = [context.Process(target=bare_loop, args=(model, share, gate, done)) for share in shares]
    for loop in loops:
        loop.start()
    gate.wait()
    started = time.perf_counter()
    for _ in loops:
        done.get()
    return len(files) / (time.perf_counter() - started)


def batch(
    model: str, folder: Path, out: Path, jobs: int, every_s: float | None
) -> tuple[float, Watch]:
    """Pictures a second of the whole command, from its start to its exit."""
    argv = [sys.executable, "-m", "minimix", "batch", str(folder), "-o", str(out)]
    argv += ["--model", model, "--jobs", str(jobs), "--format", "ndjson", "--exif", "apply"]
    watch = Watch(every_s)
    started = time.perf_counter()
    process = subprocess.Popen(argv, stderr=subprocess.PIPE)
    watcher = threading.Thread(target=watch.follow, args=(process,))
    watcher.start()
    _, said = process.communicate()
    elapsed_s = time.perf_counter() - started
    watcher.join()
    if process.returncode not in (0, 3):
        raise SystemExit(f"batch failed with {process.returncode}: {said.decode()}")
    return len(list(folder.iterdir())) / elapsed_s, watch


def check(out: Path, files: list[Path], corrupt: set[Path]) -> None:
    """Every picture has one row, and those that are corrupt, alone, an error."""
    lines = [line for part in sorted(out.glob("part-*")) for line in part.open()]
    rows = [json.loads(line) for line in lines]
    if Counter(row["path"] for row in rows) != Counter(map(str, files)):
        raise SystemExit(f"{len(rows)} rows for {len(files)} pictures, or some twice")
    failed = {Path(row["path"]) for row in rows if row["error"]}
    if failed != corrupt:
        raise SystemExit(f"{len(failed)} failed, {len(corrupt)} are corrupt; {failed ^ corrupt}")


def main() -> None:
    """Generate, run, check, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.load.batch", description=__doc__)
    parser.add_argument("--model", default="mixnet-s")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=available_cores())
    parser.add_argument("--kill-every", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--corrupt", type=float, default=0.01, metavar="SHARE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "pictures"
        files = write_jpegs(folder, options.count, 500, 375)
        half = len(files) // 2
        minimix.load(options.model).prepare()
        load = os.getloadavg()[0]
        print(f"{len(files):,} JPEGs of 500 x 375, {options.jobs} processes, load {load:.1f}")
        before = limit(options.model, files[:half], options.jobs)
        rate, watch = batch(options.model, folder, Path(scratch) / "plain", options.jobs, None)
        after = limit(options.model, files[half:], options.jobs)
        check(Path(scratch) / "plain", files, set())
        mean = 2 / (1 / before + 1 / after)
        print(f"limit    {before:7.1f} and {after:.1f} pictures a second")
        print(f"batch    {rate:7.1f}, {rate / mean:.1%} of the limit")
        print(f"         MiB by quarters, client/largest worker: {watch.memory()}")
        corrupt = set(files[:: round(1 / options.corrupt)])
        for path in corrupt:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        killed = Path(scratch) / "killed"
        rate, watch = batch(options.model, folder, killed, options.jobs, options.kill_every)
        check(killed, files, corrupt)
        print(f"killed   {rate:7.1f}, {watch.kills} workers killed, {len(corrupt):,} corrupt files")
        print(f"         MiB by quarters, client/largest worker: {watch.memory()}")
        print("every picture has exactly one row, and only the corrupt ones an error")


if __name__ == "__main__":
    main()
