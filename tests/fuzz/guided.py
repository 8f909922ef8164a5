"""``python -m tests.fuzz.guided``: the same inputs and rule, led by which code they reach.

atheris (libFuzzer for Python) keeps what reaches new lines of minimix and weights_tools and
changes that further.  An input is a seed's number and the pieces of that seed, changed: checksums
are made to fit, as in ``python -m tests.fuzz``, so that the code behind them is reached.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from importlib.util import find_spec
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fuzz.declared import Files
    from tests.fuzz.samples import Row

INSTRUMENTED = ["minimix", "weights_tools", "tarfile", "zipfile", "json", "csv", "PIL"]
"""Packages whose lines lead; those that minimix hands bytes from outside to are among them."""

HINT = (
    "atheris is not installed, which this command needs: pip install atheris (Linux, wheels for "
    "CPython 3.11 to 3.13). Without it: python -m tests.fuzz"
)
_RAW = 0x80
_LENGTH_BYTES = 3
ALIKE = 3
SUMMARY, CURRENT, LOG = "summary", "current", "log"
USAGE, FAILED = 2, 5


def pack(number: int, pieces: Files) -> bytes:
    """A seed's number and its pieces -> an input of libFuzzer.

    >>> pack(1, {"a": b"xy", "b": b"z"})
    b'\\x01\\x02\\x00\\x00xyz'
    """
    *others, last = (pieces[name] for name in sorted(pieces))
    framed = (len(piece).to_bytes(_LENGTH_BYTES, "little") + piece for piece in others)
    return bytes([number]) + b"".join(framed) + last


def unpack(data: bytes, names: list[str]) -> Files:
    """Any bytes -> pieces of these names.

    >>> unpack(b"\\x02\\x00\\x00xyz", ["a", "b"])
    {'a': b'xy', 'b': b'z'}
    """
    pieces, rest = {}, data
    for name in names[:-1]:
        length = int.from_bytes(rest[:_LENGTH_BYTES], "little")
        rest = rest[_LENGTH_BYTES:]
        pieces[name], rest = rest[:length], rest[length:]
    return {**pieces, names[-1]: rest}


class Target:
    """One row under libFuzzer."""

    def __init__(self, row: Row, keep: Path, place: Path) -> None:
        from tests.fuzz.mutations import MAX_FILE_BYTES
        from tests.fuzz.seeds import seeds_of
        from tests.fuzz.worker import Bounds

        self.row, self.keep, self.place = row, keep, place
        self.seeds, self.most = seeds_of(row.container), MAX_FILE_BYTES
        self.bounds, self.started = Bounds(), time.monotonic()
        self.kinds: dict[str, int] = {}
        self.failures: dict[str, int] = {}
        self.count = 0
        self.folder = place / "files"
        self.folder.mkdir(exist_ok=True)

    def corpus(self) -> list[bytes]:
        """The seeds, and those with pieces once more as the files that these make."""
        inputs = []
        for number, seed in enumerate(self.seeds[:_RAW]):
            inputs += [pack(number, dict(seed.pieces))] if seed.pieces else []
            inputs.append(pack(number | _RAW, seed.files))
        return inputs

    def files(self, data: bytes) -> Files:
        """Any bytes -> the files of an input."""
        number, rest = (data or b"\0")[0], data[1:]
        seed = self.seeds[(number & ~_RAW) % len(self.seeds)]
        if number & _RAW or not seed.pieces:
            return unpack(rest, sorted(seed.files))
        made = seed.assemble(unpack(rest, sorted(seed.pieces)))
        return {name: content[: self.most] for name, content in made.items()}

    def change(self, data: bytes, most: int, seed: int) -> bytes:
        """A mutation: libFuzzer's own, or one that knows the container."""
        import atheris  # type: ignore[import-not-found]

        from tests.fuzz.mutations import mutate

        random = Random(seed)
        if random.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        base = self.seeds[(data[0] & ~_RAW) % len(self.seeds)] if data else self.seeds[0]
        return (data[:1] + mutate(random, data[1:], base))[:most]

    def examine(self, data: bytes) -> None:
        """Hold the parser to its rule; what breaks it is kept, and the run goes on."""
        from tests.fuzz.rule import BrokenRuleError
        from tests.fuzz.worker import ONE_IN, examine_bounded

        files = self.files(data)
        # libFuzzer ends the process itself, and any input may: nothing is left for the end.
        (self.place / CURRENT).write_bytes(data)
        self.count += 1
        deep = self.count % ONE_IN == 0
        try:
            outcome = examine_bounded(self.row, files, self.folder, self.bounds, deep=deep)
            self.kinds[outcome.kind] = self.kinds.get(outcome.kind, 0) + 1
        except BrokenRuleError as error:
            self._fail(files, "".join(traceback.format_exception(error)))
        if self.count % 100 == 1 or self.failures:
            (self.place / SUMMARY).write_text(f"{int(bool(self.failures))} {self.summary()}")

    def _fail(self, files: Files, text: str) -> None:
        last = text.strip().splitlines()[-1]
        kind = last.translate({ord(digit): "#" for digit in "0123456789"})[:120]
        self.failures[kind] = self.failures.get(kind, 0) + 1
        if self.failures[kind] <= ALIKE:
            keep_failure(self.keep, self.row.container, files, text)

    def summary(self) -> str:
        """What became of the inputs, in one line."""
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(self.kinds.items()))
        elapsed_s = time.monotonic() - self.started
        failed = sum(self.failures.values())
        return f"{self.count} inputs in {elapsed_s:.0f} s: {kinds}; {failed} failed"


def keep_failure(keep: Path, container: str, files: Files, text: str) -> None:
    """Keep an input that broke the rule, and what it did."""
    number = len(list(keep.glob(f"{container}-guided-*.txt")))
    folder = keep / f"{container}-guided-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    folder.with_suffix(".txt").write_text(text, encoding="utf-8", errors="replace")
    print(f"FAILED {folder}: {text.strip().splitlines()[-1][:300]}", flush=True)


def fuzz(container: str, seconds: int, keep: Path, place: Path) -> None:
    """Run libFuzzer on one row; it ends the process that this runs in."""
    # libFuzzer and atheris say much there, libraries in C too.
    with (place / LOG).open("wb") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
    import atheris

    # Whatever is imported in here leads the way; what was imported before does not.
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.seeds import row_of

        target = Target(row_of(container), keep, place)
    corpus = place / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, content in enumerate(target.corpus()):
        (corpus / str(number)).write_bytes(content)
    options = [f"-max_total_time={seconds}", f"-max_len={target.most}", "-timeout=60"]
    options += ["-rss_limit_mb=0", "-len_control=0", f"-artifact_prefix={place}/", "-verbosity=0"]
    atheris.Setup([container, *options, str(corpus)], target.examine, custom_mutator=target.change)
    atheris.Fuzz()


def run(container: str, seconds: int, keep: Path) -> bool:
    """Fuzz one row for so long; whether all was well.  It goes on after an input that kills."""
    from tests.fuzz.seeds import row_of

    ends_at, deaths, failed = time.monotonic() + seconds, 0, False
    context = multiprocessing.get_context("spawn")
    while (left := int(ends_at - time.monotonic())) > 0 and deaths < ALIKE:
        with TemporaryDirectory() as name:
            place = Path(name)
            process = context.Process(target=fuzz, args=(container, left, keep, place))
            process.start()
            process.join(left + 120)
            if process.exitcode is None:
                process.kill()
                process.join()
            summary = place / SUMMARY
            said = summary.read_text() if summary.exists() else "1 nothing was done"
            print(f"{container:<18} {said[2:]}", flush=True)
            failed |= said[0] != "0"
            if process.exitcode:
                deaths += 1
                data = (place / CURRENT).read_bytes() if (place / CURRENT).exists() else b""
                said = (place / LOG).read_text("utf-8", "replace")[-3000:]
                text = f"{said}\nthe process ended with code {process.exitcode}"
                keep_failure(
                    keep, container, Target(row_of(container), keep, place).files(data), text
                )
    return not failed and not deaths


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    from tests.fuzz.seeds import ALL

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    names = [row.container for row in ALL]
    parser.add_argument("--reader", choices=["all", *names], default="all")
    parser.add_argument("--seconds", type=int, default=150, help="for each reader")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args(arguments)
    options.readers = names if options.reader == "all" else [options.reader]
    return options


def main(arguments: list[str]) -> int:
    """Run the readers that were asked for, one after another; 5 where one broke the rule."""
    options = parse(arguments)
    if find_spec("atheris") is None:
        print(HINT, file=sys.stderr)
        return USAGE
    fine = [run(container, options.seconds, options.keep) for container in options.readers]
    return 0 if all(fine) else FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
