"""``verify``: a model against another framework's recording, or against another model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimix.cli import output
from minimix.cli.parser import CommandParser
from minimix.errors import CheckError, UsageError
from weights_tools.commands.writing import say, say_table

if TYPE_CHECKING:
    from minimix.engine import EngineName
    from minimix.weights import ModelFile
    from weights_tools.compare import ParamComparison
    from weights_tools.verify import Check

SCHEMA_VERSION = 1
_WORST = 5

_EXAMPLES = """
python -m weights_tools verify s.h5 --against mixnet_s_ref.npz
python -m weights_tools verify s.h5 --against mixnet_s_ref.npz --images images/
python -m weights_tools verify s.h5 --against tf_mixnet_s-89d3354b.pth --engine reference
"""
_MORE = """
A recording is compared layer by layer where it holds layers, and by its logits.  Another model is
compared by its parameters, for information, then by what both make of the same seeded pictures;
exit 5 if an output is over its budget.  TensorFlow decodes JPEG otherwise than Pillow, so that its
recordings do not agree from --images."""


def add_command(parser: CommandParser) -> None:
    """Add ``verify`` to the parser."""
    command = parser.add_command(
        "verify",
        "FILE --against REF.npz|FILE [options]",
        "compare a model with recorded outputs, or with another model",
        _EXAMPLES,
    )
    command.epilog = _MORE
    command.add_argument("file", type=Path, metavar="FILE", help="a model file or a checkpoint")
    command.add_argument(
        "--against",
        type=Path,
        required=True,
        metavar="REF.npz|FILE",
        help="the recording, or a second model file or checkpoint",
    )
    command.add_argument(
        "--images", type=Path, metavar="FOLDER", help="the recorded images, to run them too"
    )
    command.add_argument(
        "--engine",
        choices=("both", "auto", "compiled", "reference"),
        help="default: both where Numba is installed, else reference",
    )
    command.add_argument(
        "--format", choices=("table", "json"), default="table", help="default: table"
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every comparison; 0 where all are within their budgets.

    Raises:
        CheckError: some are not.
    """
    from weights_tools import readers
    from weights_tools.open_model import open_model

    file, engines = open_model(arguments.file), _engines(arguments.engine)
    if readers.detect(arguments.against) == "zip":
        facts, lines, checks = _against_recording(file, arguments, engines)
    else:
        facts, lines, checks = _against_model(file, arguments, engines)
    if arguments.format == "json":
        rows = [_check_json(check) for check in checks]
        named = {"schema_version": SCHEMA_VERSION, "model": file.architecture.name}
        output.write_json({**named, **facts, "checks": rows})
    else:
        for line in lines:
            say(line)
        _print_checks(checks)
    failed = list(dict.fromkeys(check.name for check in checks if not check.ok))
    if failed:
        count = sum(not check.ok for check in checks)
        raise CheckError(
            f"{arguments.file}: {count} of {len(checks)} comparisons are over their budget: "
            f"{', '.join(failed[:_WORST])}"
        )
    return 0


def _engines(wish: str | None) -> tuple[EngineName, ...]:
    from minimix.engine import has_numba

    if wish is None:
        wish = "both" if has_numba() else "reference"
    match wish:
        case "both":
            return "reference", "compiled"
        case "auto":
            return ("compiled",) if has_numba() else ("reference",)
        case "compiled":
            return ("compiled",)
        case _:
            return ("reference",)


Found = tuple[dict[str, Any], list[str], list["Check"]]
"""Facts for programs, lines for people, and the comparisons."""


def _against_recording(
    file: ModelFile, arguments: argparse.Namespace, engines: tuple[EngineName, ...]
) -> Found:
    from minimix.model import Model
    from weights_tools.recordings import network_input, read_recording
    from weights_tools.verify import check_images, check_layers

    recording = read_recording(arguments.against)
    _, how = network_input(recording, file.pipeline)
    checks: list[Check] = []
    for engine in engines:
        model = Model(file, engine=engine)
        checks += check_layers(model, arguments.against)
        if arguments.images is not None:
            checks += check_images(model, arguments.against, arguments.images)
    facts = {"inputs": how, "input_count": len(recording.inputs)}
    return facts, [f"{len(recording.inputs)} recorded inputs, {how}"], checks


def _against_model(
    file: ModelFile, arguments: argparse.Namespace, engines: tuple[EngineName, ...]
) -> Found:
    from weights_tools.compare import compare_outputs, compare_params
    from weights_tools.open_model import open_model

    if arguments.images is not None:
        raise UsageError("--images goes with a recording; two models are run on seeded pictures")
    other = open_model(arguments.against)
    params = compare_params(file, other)
    checks = [check for engine in engines for check in compare_outputs(file, other, engine)]
    side = file.pipeline.size
    lines = [*_param_lines(params), f"outputs for two seeded pictures of {side} x {side} pixels"]
    facts = {
        "against": other.architecture.name,
        "params": {
            "exact": params.exact,
            "different": [vars(difference) for difference in params.different],
            "problem": params.problem,
        },
    }
    return facts, lines, checks


def _param_lines(params: ParamComparison) -> list[str]:
    if params.problem:
        return [f"parameters: {params.problem}"]
    count = params.exact + len(params.different)
    return [
        f"parameters: {params.exact} of {count} are the same, bit by bit",
        *(
            f"  {worst.name}: {worst.differing} values differ, by up to {worst.largest:.2e}, "
            f"{worst.share:.1e} of its largest"
            for worst in params.different[:_WORST]
        ),
    ]


def _check_json(check: Check) -> dict[str, Any]:
    # JSON has no number for what is infinite or none.
    largest = check.largest if check.largest < float("inf") else None
    return {**vars(check), "largest": largest, "ok": check.ok}


def _print_checks(checks: list[Check]) -> None:
    rows = [
        (
            check.name,
            check.engine,
            f"{check.largest:.2e}",
            f"{check.budget:.0e}",
            "ok" if check.ok else "OVER",
        )
        for check in checks
    ]
    say_table([("", "engine", "largest difference", "budget", ""), *rows], "<<>><")
