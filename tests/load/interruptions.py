"""What do Ctrl-C, SIGTERM and kill -9 leave behind, in every command, at random moments?

    python -m tests.load.interruptions --count 200 --seed 0

Each command is first run undisturbed, for its duration, its result and the files it leaves.  Then,
in turn and with each signal in turn, it is started in a folder of its own and interrupted at a
random moment of that duration.  Afterwards

- the exit code is 130, 143 or that of the kill, or what an undisturbed run gives if it was quicker;
  a signal before the command line is up ends Python itself, which a shell calls 130 and 143 too;
- nothing lies under the result's final name, or the whole result;
- no process of the command is left;
- the same command again ends well, has the undisturbed run's result, and leaves its files and no
  other: what the interruption left is used or cleared.

Ctrl-C goes to all processes of a command, as from a terminal; the other two to the first alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.load.commands import COMMANDS, digest, make_inputs

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
LONG_S = 180.0
ORPHAN_S = 20.0
"""How long the other processes of a command may take to notice that the first one is gone."""


@dataclass(frozen=True)
class Undisturbed:
    """A command left alone: how long it takes, its result, the files that it leaves."""

    seconds: float
    result: str | None
    files: frozenset[str]


@dataclass
class Report:
    """Trials by what came of them, and what went wrong."""

    trials: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


class Trials:
    """The inputs, the address of the server, and what each command does when it is left alone."""

    def __init__(self, scratch: Path, mirror: str) -> None:
        self.scratch, self.mirror = scratch, mirror
        self.shared, self.warm = scratch / "shared", scratch / "warm"
        self.known: dict[str, Undisturbed] = {}
        self.count = 0

    def undisturbed(self, name: str) -> Undisturbed:
        """Run a command to its end, twice: the first time fills the caches."""
        if name not in self.known:
            for _ in range(1 if COMMANDS[name].starts_cold else 2):
                folder = self.new_folder()
                start = time.monotonic()
                with self.started(name, folder) as process:
                    out, err = process.communicate(timeout=LONG_S)
                seconds = time.monotonic() - start
                if process.returncode != COMMANDS[name].code:
                    raise SystemExit(f"{name}: exit code {process.returncode}\n{out}\n{err}")
            result = digest(self.out(name, folder))
            self.known[name] = Undisturbed(seconds, result, self.files(name, folder))
        return self.known[name]

    def new_folder(self) -> Path:
        self.count += 1
        folder = self.scratch / f"run-{self.count}"
        folder.mkdir()
        return folder

    def cache(self, name: str, folder: Path) -> Path:
        return folder / "cache" if COMMANDS[name].starts_cold else self.warm

    def out(self, name: str, folder: Path) -> Path | None:
        if name == "models fetch":
            return self.cache(name, folder) / "models" / "timm" / "mixnet-s.h5"
        out = COMMANDS[name].out
        return None if out is None else folder / out

    def files(self, name: str, folder: Path) -> frozenset[str]:
        """All files of a run, and those of the cache; kernels by how they are called."""
        roots = {folder, self.cache(name, folder)}
        found = {
            str(path.relative_to(root)) for root in roots for path in root.rglob("*")
            if path.is_file()
        }  # fmt: skip
        return frozenset(file for file in found if not file.endswith(".code"))

    @contextmanager
    def started(self, name: str, folder: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
        """A command in a session of its own, which ends with the block."""
        from tests.cli import environment
        from tests.release_server import narrow_command

        command = COMMANDS[name]
        argv = [part.format(shared=self.shared) for part in (*command.argv, *more)]
        changes = {
            "MINIMIX_CACHE_DIR": str(self.cache(name, folder)),
            "MINIMIX_MIRROR": self.mirror,
        }
        process = subprocess.Popen(
            narrow_command(*argv, entry=f"{command.program}.__main__")
            if command.is_narrow
            else [sys.executable, "-m", command.program, *argv],
            cwd=folder,
            env=environment(**changes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if is_alive(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    # --- a trial -------------------------------------------------------------------------------

    def trial(self, name: str, sent: signal.Signals, share: float, report: Report) -> None:
        """Interrupt a command after a share of its duration; look at what is left; run it again."""
        known, folder = self.undisturbed(name), self.new_folder()
        where = f"{name}, {sent.name} after {share:.0%} of {known.seconds:.2f} s"

        def amiss(what: str) -> None:
            report.failures.append(f"{where}: {what}")

        with self.started(name, folder) as process:
            time.sleep(share * known.seconds)
            was_over = process.poll() is not None
            send(process, sent)
            out, err = process.communicate(timeout=LONG_S)
            code = process.returncode
            if not ended(process.pid):
                amiss("a process is left")
        report.trials["over before the signal" if was_over else f"ended with {code}"] += 1
        self._check_end(name, code, sent, out, err, amiss)
        whole = self._check_result(name, folder, amiss)
        self._check_next(name, folder, whole, amiss)
        shutil.rmtree(folder)

    def _check_end(
        self,
        name: str,
        code: int,
        sent: signal.Signals,
        out: str,
        err: str,
        amiss: Callable[[str], None],
    ) -> None:
        by_python = code == -sent
        if not by_python and code not in (128 + sent, COMMANDS[name].code):
            amiss(f"exit code {code}: {err[-600:]}")
        # Python's own shutdown may be interrupted as well, and says so.
        if "Traceback" in err and not by_python and f"{os.sep}{COMMANDS[name].program}" in err:
            amiss(f"a traceback: {err[-1500:]}")
        if name == "classify" and sent != signal.SIGKILL:
            try:
                [json.loads(line) for line in out.splitlines()]
            except ValueError:
                amiss(f"a line that is cut: {out[-200:]!r}")

    def _check_result(self, name: str, folder: Path, amiss: Callable[[str], None]) -> bool:
        """Whether the result is there; if so, it is whole."""
        path = self.out(name, folder)
        if path is None or not path.exists():
            return False
        if digest(path) != self.known[name].result:
            amiss("half a result, or another, has the final name")
        return True

    def _check_next(
        self, name: str, folder: Path, whole: bool, amiss: Callable[[str], None]
    ) -> None:
        again = ["--force"] if whole and COMMANDS[name].out else []
        with self.started(name, folder, *again) as process:
            _, err = process.communicate(timeout=LONG_S)
        if process.returncode != COMMANDS[name].code:
            amiss(f"the next run ends with {process.returncode}: {err[-600:]}")
        elif digest(self.out(name, folder)) != self.known[name].result:
            amiss("the next run has another result")
        left = self.files(name, folder) - self.known[name].files
        if left:
            amiss(f"after the next run there is still {', '.join(sorted(left))}")
            for file in left:  # of the cache that trials share: each is told of once
                (self.warm / file).unlink(missing_ok=True)


def send(process: subprocess.Popen[str], sent: signal.Signals) -> None:
    """Ctrl-C to all processes of the command, another signal to the first."""
    try:
        if sent == signal.SIGINT:
            os.killpg(process.pid, sent)
        else:
            process.send_signal(sent)
    except ProcessLookupError:
        pass  # it has ended meanwhile: nothing to interrupt


def is_alive(group: int) -> bool:
    """Whether a group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def ended(group: int) -> bool:
    """Whether all processes of a group end in time."""
    deadline = time.monotonic() + ORPHAN_S
    while is_alive(group):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def run(
    count: int, seed: int, names: Sequence[str] = tuple(COMMANDS), progress: bool = False
) -> Report:
    """Interrupt ``count`` times: each command with each signal in turn, at random moments."""
    from tests.release_server import Reply, narrow_checkpoint, released_as, running_server

    rng, report = random.Random(seed), Report()
    with tempfile.TemporaryDirectory() as scratch, running_server() as server:
        content = narrow_checkpoint()
        server.put(released_as(content), content)
        server.always = Reply(pause_s=0.01, piece_bytes=len(content) // 20)
        trials = Trials(Path(scratch), server.address)
        make_inputs(trials.shared)
        turns = [(name, sent) for sent in SIGNALS for name in names]
        for n in range(count):
            name, sent = turns[n % len(turns)]
            trials.trial(name, sent, rng.uniform(0, 1.05), report)
            if progress:
                print(f"{n + 1} {name} {sent.name}", file=sys.stderr, flush=True)
    return report


def main() -> None:
    """Parse, run, print, and exit with 1 if anything was amiss."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.load.interruptions", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--count", type=int, default=3 * len(COMMANDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    options = parser.parse_args()
    report = run(options.count, options.seed, options.only, progress=True)
    for kind, times in sorted(report.trials.items()):
        print(f"{times:5} {kind}")
    for failure in report.failures:
        print(f"FAILED {failure}")
    print(f"{options.count} interruptions of {len(options.only)} commands, seed {options.seed}: ")
    print("nothing amiss" if not report.failures else f"{len(report.failures)} failures")
    raise SystemExit(bool(report.failures))


if __name__ == "__main__":
    main()
