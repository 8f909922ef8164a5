"""What the first classification costs: whole processes, cold and warm, and their memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from statistics import median

from minimix.errors import CheckError

_PEAK = """
import sys
from minimix.cli import main
try:
    main(sys.argv[1:])
finally:
    from pathlib import Path
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = [text for text in status.read_text().splitlines() if text.startswith("VmHWM")]
        peak = int(line.split()[1]) * 1024
    else:
        import resource
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak {peak}", file=sys.stderr)
"""
# Linux's getrusage counts what the parent held when it started the child; VmHWM does not.


@dataclass(frozen=True)
class StartUp:
    """Seconds from starting ``minimix classify`` to its exit, and the memory that it held.

    Attributes:
        cold_s: with an empty cache folder.
        warm_s: with the cache that a run before has filled; the median.
        peak_bytes: largest resident memory of a warm run; None where the system does not say.
    """

    cold_s: float
    warm_s: float
    peak_bytes: int | None


def sample_picture() -> Path:
    """A picture that ships with minimix: a giant panda."""
    return Path(str(resources.files("minimix") / "data" / "pictures" / "giant panda" / "1.png"))


def measure_startup(model: Path, engine: str, threads: int, size: int, runs: int) -> StartUp:
    """Classify a picture in processes of their own.

    Raises:
        CheckError: a process failed; with what it wrote.
    """
    arguments = ["classify", str(sample_picture()), "--model", str(model), "--engine", engine]
    arguments += ["--threads", str(threads), "--size", str(size), "--quiet", "--format", "json"]
    with tempfile.TemporaryDirectory(prefix="minimix-bench-") as cache:
        cold_s, _ = _run(["-m", "minimix", *arguments], cache)
        warm_s = median(_run(["-m", "minimix", *arguments], cache)[0] for _ in range(runs))
        peak = None
        if sys.platform != "win32":
            _, said = _run(["-c", _PEAK, *arguments], cache)
            peak = int(said.rpartition("peak ")[2])
    return StartUp(cold_s, warm_s, peak)


def _run(arguments: list[str], cache: str) -> tuple[float, str]:
    """(seconds, what it wrote to standard error)."""
    environment = os.environ | {"MINIMIX_CACHE_DIR": cache}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    elapsed_s = time.perf_counter() - started
    if done.returncode != 0:
        raise CheckError(f"minimix classify failed with {done.returncode}: {done.stderr.strip()}")
    return elapsed_s, done.stderr
