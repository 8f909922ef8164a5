"""Run every tutorial and, with ``-o``, build the site: their pages, how-to pages and references.

    python tutorials/build.py                 # run each as a script; which ones, and for how long
    python tutorials/build.py 03 05           # only those whose names begin so
    python tutorials/build.py -o site         # also notebooks and all pages: site/index.html
    python tutorials/build.py -o site --pages # how-to pages and references alone, no tutorial

A tutorial fails if an assertion does, if it takes longer than the limit, or if it does not save
exactly one picture, NAME.png.  The pages fail on a warning of Sphinx's, a link that leads nowhere
and whatever would be fetched from elsewhere.  Scripts need the extra ``[tutorials]``, pages
``[docs]``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PICTURES_VARIABLE = "MINIMIX_TUTORIAL_PICTURES"
LIMIT_S = 60.0
NAVIGATION = (
    ("tutorials/index", "Tutorials"),
    ("howto/index", "How to"),
    ("api/index", "API"),
    ("commands", "Commands"),
    ("changes", "Changes"),
)
"""Parts of the site: page without its ending, and what the link says."""


@dataclass(frozen=True)
class Outcome:
    """What became of one tutorial: how long it took, and what was wrong with it."""

    name: str
    elapsed_s: float
    problem: str = ""


def tutorials(prefixes: list[str] | None = None, folder: Path = HERE) -> list[Path]:
    """The tutorials in reading order: all, or those whose names begin with one of the prefixes.

    Raises:
        SystemExit: a prefix fits none.
    """
    found = [p for p in sorted(folder.glob("*.py")) if p.read_text("utf-8").startswith("# %%")]
    if not prefixes:
        return found
    for prefix in prefixes:
        if not any(path.stem.startswith(prefix) for path in found):
            names = ", ".join(path.stem for path in found)
            raise SystemExit(f"error: no tutorial begins with {prefix!r}; there are: {names}")
    return [path for path in found if path.stem.startswith(tuple(prefixes))]


def run(path: Path, pictures: Path, limit_s: float = LIMIT_S) -> Outcome:
    """Run one tutorial as a script, in its own process; its picture goes into ``pictures``."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {PICTURES_VARIABLE: folder, "PYTHONWARNINGS": "error"}
        environment.pop("MPLBACKEND", None)
        start = time.perf_counter()
        try:
            process = subprocess.run(
                [sys.executable, str(path)],
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=limit_s,
            )
        except subprocess.TimeoutExpired:
            return Outcome(path.stem, limit_s, f"took longer than {limit_s:.0f} s")
        elapsed_s = time.perf_counter() - start
        if process.returncode:
            return Outcome(path.stem, elapsed_s, process.stderr.strip() or "failed silently")
        saved = sorted(Path(folder).iterdir())
        if [picture.name for picture in saved] != [f"{path.stem}.png"]:
            names = ", ".join(picture.name for picture in saved) or "nothing"
            return Outcome(path.stem, elapsed_s, f"expected {path.stem}.png, it saved {names}")
        (pictures / saved[0].name).write_bytes(saved[0].read_bytes())
    return Outcome(path.stem, elapsed_s)


def main(arguments: list[str] | None = None) -> int:
    """Run, report, build; 0 if all went well, 5 if a tutorial failed."""
    parser = argparse.ArgumentParser(description="Run the tutorials; build notebooks and pages.")
    parser.add_argument("names", nargs="*", help="beginnings of names, such as 03; default: all")
    parser.add_argument("-o", "--output", type=Path, help="folder for notebooks and pages")
    parser.add_argument("--pages", action="store_true", help="with -o: build no tutorials")
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="seconds for each (60)")
    options = parser.parse_args(arguments)
    if options.pages and (options.output is None or options.names):
        parser.error("--pages needs -o, and no names")
    if options.pages:
        return build_pages(options.output, whole=False)
    paths = tutorials(options.names)
    with tempfile.TemporaryDirectory() as scratch:
        pictures = Path(scratch)
        if options.output is not None:
            pictures = options.output / "tutorials" / "pictures"
        pictures.mkdir(parents=True, exist_ok=True)
        outcomes = []
        for path in paths:
            outcomes.append(run(path, pictures, options.limit))
            report(outcomes[-1])
    failed = [outcome for outcome in outcomes if outcome.problem]
    print(f"{len(paths) - len(failed)} of {len(paths)} tutorials ran, "
          f"{sum(outcome.elapsed_s for outcome in outcomes):.1f} s")  # fmt: skip
    if failed:
        return 5
    if options.output is None:
        return 0
    import gallery  # needs more than running does

    start = time.perf_counter()
    index = gallery.build(paths, options.output / "tutorials", options.limit)
    print(f"{index}: {len(paths)} notebooks and pages, {time.perf_counter() - start:.1f} s")
    return build_pages(options.output, whole=not options.names)


def build_pages(output: Path, *, whole: bool) -> int:
    """Build the how-to pages and references, and say so; 0 if all is well, 5 if not.

    ``whole`` says that all tutorials are there to be linked to.
    """
    from pages.build import PagesError  # needs more than running does
    from pages.build import build_pages as build

    start = time.perf_counter()
    try:
        pages = build(output.resolve(), whole=whole)
    except PagesError as error:
        print(f"error: {error}", file=sys.stderr)
        return 5
    size_mb = sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) / 1e6
    print(f"{output / 'index.html'}: {pages} pages in all, {time.perf_counter() - start:.1f} s; "
          f"the site is {size_mb:.1f} MB")  # fmt: skip
    return 0


def report(outcome: Outcome) -> None:
    """Say how one tutorial fared, as soon as it is known."""
    print(f"{outcome.elapsed_s:6.1f} s  {outcome.name}", flush=True)
    if outcome.problem:
        print(f"error: {outcome.name}: {outcome.problem}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
