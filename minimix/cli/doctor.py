"""``minimix doctor``: what this installation is made of, and whether it computes correctly."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from minimix import __version__, inputs
from minimix.cli import output
from minimix.cli.parser import CommandParser, add_format
from minimix.errors import CheckError, MinimixError

SCHEMA_VERSION = 1
MODEL = "mixnet-pocket"

_EXAMPLES = """
minimix doctor
minimix doctor --format json     to attach to a report
"""

# Float32 values in one register, by the newest instruction set that the processor has.
_FLOAT_LANES = {
    "AVX512F": 16,
    "AVX2": 8,
    "AVX": 8,
    "SVE": 4,
    "ASIMD": 4,
    "NEON": 4,
    "VSX": 4,
    "SSE2": 4,
}
_SHOWN_FEATURES = (
    "SSE42", "AVX", "F16C", "FMA3", "AVX2", "AVX512F", "AVX512_SKX", "AVX512_ICL", "AVX512_SPR",
    "NEON", "ASIMD", "ASIMDDP", "SVE", "VSX", "VX",
)  # fmt: skip

_VARIABLES = {
    "MINIMIX_CACHE_DIR": "the cache folder",
    inputs.OFFLINE_VARIABLE: "forbids the network unless empty or 0",
    "MINIMIX_MAX_PIXELS": "largest picture that is opened, in pixels",
    "NO_COLOR": "no colour",
    "FORCE_COLOR": "colour without a terminal too",
}


def add_command(parser: CommandParser) -> None:
    """Add ``doctor`` to the parser."""
    command = parser.add_command(
        "doctor",
        "[options]",
        "show versions, processor and settings; run a self-test",
        _EXAMPLES,
        group="MANAGE",
    )
    add_format(command, "table", "json")
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report; 0, or the exit code of what the self-test found wrong."""
    problem: MinimixError | None = None
    try:
        self_test = _self_test()
    except MinimixError as error:
        problem, self_test = error, {"ok": False, "error": str(error)}
    report = {
        "versions": _versions(),
        "processor": _processor(),
        "cache folder": {"path": str(cache_folder())},
        "environment": {name: os.environ.get(name) for name in _VARIABLES},
        "self-test": self_test,
    }
    if arguments.format == "json":
        keyed = {key.replace(" ", "_").replace("-", "_"): value for key, value in report.items()}
        output.write_json({"schema_version": SCHEMA_VERSION} | keyed)
    else:
        _write_table(report, output.screen(arguments.color))
    if problem is not None:
        raise problem
    return 0


def _versions() -> dict[str, str]:
    import platform

    import h5py

    packages = ("numpy", "numba", "pillow", "rich", "requests", "h5py")
    return (
        {
            "minimix": __version__,
            "python": f"{platform.python_version()} ({sys.executable})",
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        }
        | {package: _version(package) for package in packages}
        | {"HDF5": h5py.version.hdf5_version}
    )


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> dict[str, Any]:
    features = _cpu_features()
    lanes = next((n for name, n in _FLOAT_LANES.items() if name in features), None)
    return {
        "name": _cpu_name(),
        "features": [name for name in _SHOWN_FEATURES if name in features],
        "float32 per vector": lanes,
        "cores available": _cores(),
    }


def _cpu_features() -> frozenset[str]:
    """Names of the instruction sets that NumPy found; empty where it does not say."""
    import importlib

    for module in ("numpy._core._multiarray_umath", "numpy.core._multiarray_umath"):
        try:
            found: dict[str, bool] = importlib.import_module(module).__cpu_features__
        except (ImportError, AttributeError):  # NumPy's own business: it moved before
            continue
        return frozenset(name for name, present in found.items() if present)
    return frozenset()


def _cpu_name() -> str:
    import platform

    listing = Path("/proc/cpuinfo")  # Linux; others answer through platform
    if listing.is_file():
        for line in listing.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Cores that this process may use, which can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_folder() -> Path:
    """Where downloads are kept: MINIMIX_CACHE_DIR, or the platform's folder.  Not created."""
    if os.environ.get("MINIMIX_CACHE_DIR"):
        return Path(os.environ["MINIMIX_CACHE_DIR"])
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData/Local") / "minimix" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/minimix"
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "minimix"


def _self_test() -> dict[str, Any]:
    """Run the embedded model raw and optimised on a packaged picture; the logits must agree.

    Raises:
        CheckError: they differ by more than the budget.
        WeightsError: the model cannot be loaded.
    """
    from importlib.resources import files

    import numpy as np

    from minimix.engine.reference import ReferenceEngine
    from minimix.model import load
    from minimix.passes import optimize
    from minimix.tolerances import SAME_NETWORK

    model = load(MODEL, engine="reference")
    picture = files("minimix") / "data" / "pictures" / "giant panda" / "1.png"
    x = model.preprocess(picture.read_bytes())
    raw = model(x)
    (optimized,) = ReferenceEngine(*optimize(model.graph, model.file.params)).run(x)
    difference = float(np.abs(raw - optimized).max() / np.abs(raw).max())
    if not difference <= SAME_NETWORK:  # a NaN fails too
        raise CheckError(
            f"self-test: raw and optimised {MODEL} differ by {difference:.2g} of the largest "
            f"logit; expected at most {SAME_NETWORK:g}. Please report it with this output"
        )
    (prediction,) = model.predictions(raw, top=1)
    return {
        "ok": True,
        "model": MODEL,
        "difference": difference,
        "budget": SAME_NETWORK,
        "prediction": prediction.label,
    }


def _write_table(report: dict[str, dict[str, Any]], screen: output.Screen) -> None:
    width = max(len(key) for section in report.values() for key in section)
    for section, facts in report.items():
        output.write(f"{screen.bold(section)}\n")
        for key, value in facts.items():
            text = _text(value)
            hint = f"  {screen.dim(_VARIABLES[key])}" if key in _VARIABLES else ""
            output.write(f"  {output.pad(key, width)}  {output.printable(text)}{hint}\n")
        output.write("\n")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "passed" if value else "FAILED"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "unknown"
    if isinstance(value, float):
        return f"{value:.2g}"
    return "-" if value is None else str(value)
