"""``minimix doctor``: what this installation is made of, and whether it computes correctly."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from minimix import __version__
from minimix.cachedir import cache_folder
from minimix.cli import output
from minimix.cli.machine import cpu_name, package_version
from minimix.cli.parser import CommandParser, add_format
from minimix.cores import THREADS_VARIABLE, available_cores
from minimix.errors import CheckError, MinimixError
from minimix.network import MIRROR_VARIABLE, OFFLINE_VARIABLE, without_password

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
    "MINIMIX_CACHE_DIR": "the cache folder: fetched models, compiled kernels",
    OFFLINE_VARIABLE: "forbids the network unless empty or 0",
    MIRROR_VARIABLE: "base addresses to fetch weights from, in place of the original ones",
    THREADS_VARIABLE: "threads of the compiled engine",
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
        "cache folder": {"path": _folder()},
        "environment": {name: _setting(name) for name in _VARIABLES},
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


def _setting(name: str) -> str | None:
    """A variable's value, as a report that is attached to an issue may show it."""
    value = os.environ.get(name)
    if value is None or name != MIRROR_VARIABLE:
        return value
    return " ".join(map(without_password, value.split()))


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
        | {package: package_version(package) for package in packages}
        | {"HDF5": h5py.version.hdf5_version}
    )


def _processor() -> dict[str, Any]:
    features = _cpu_features()
    lanes = next((n for name, n in _FLOAT_LANES.items() if name in features), None)
    return {
        "name": cpu_name(),
        "features": [name for name in _SHOWN_FEATURES if name in features],
        "float32 per vector": lanes,
        "cores available": available_cores(),
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


def _folder() -> str:
    """The cache folder, or why there is none."""
    try:
        return str(cache_folder())
    except RuntimeError as error:
        return f"none: {error}".rstrip(".")


def _self_test() -> dict[str, Any]:
    """Run the embedded model on a packaged picture, on both engines; the logits must agree.

    Without Numba the second is the reference engine too, on the optimised graph.

    Raises:
        CheckError: they differ by more than the budget.
        WeightsError: the model cannot be loaded.
    """
    from importlib.resources import files

    import numpy as np

    from minimix.engine import has_numba, make_engine
    from minimix.model import load
    from minimix.passes import optimize
    from minimix.tolerances import SAME_NETWORK

    model = load(MODEL, engine="reference")
    picture = files("minimix") / "data" / "pictures" / "giant panda" / "1.png"
    x = model.preprocess(picture.read_bytes())
    raw = model(x)
    other = "compiled" if has_numba() else "optimised"
    if other == "compiled":
        engine = make_engine("compiled", model.graph, model.file.params)
    else:
        engine = make_engine("reference", *optimize(model.graph, model.file.params))
    (logits,) = engine.run(x)
    difference = float(np.abs(raw - logits).max() / np.abs(raw).max())
    if not difference <= SAME_NETWORK:  # a NaN fails too
        raise CheckError(
            f"self-test: reference and {other} {MODEL} differ by {difference:.2g} of the largest "
            f"logit; expected at most {SAME_NETWORK:g}. Please report it with this output"
        )
    (prediction,) = model.predictions(raw, top=1)
    return {
        "ok": True,
        "model": MODEL,
        "compared": f"reference and {other}",
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
