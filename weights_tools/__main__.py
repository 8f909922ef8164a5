"""``python -m weights_tools``: inspect, convert, verify, export.  Only here is printed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import NoReturn

from minimix.cli import output, run_parser
from minimix.cli.parser import CommandParser, positive_int
from minimix.errors import CheckError
from minimix.files import check_apart, check_free, replacing
from weights_tools.convert import TIMM_DIALECTS, Conversion, convert
from weights_tools.export_onnx import export
from weights_tools.inspect import Inspection, inspect
from weights_tools.verify import Check, check_images, check_layers

_DESCRIPTION = """\
Released checkpoints in, minimix model files out.  No framework is needed, and nothing in a file is
executed.

  python -m weights_tools inspect mixnet_s-a907afbc.pth
  python -m weights_tools convert mixnet_s-a907afbc.pth -o mixnet-s.h5
  python -m weights_tools verify mixnet-s.h5 --against mixnet_s_ref.npz
  python -m weights_tools export mixnet-s.h5 -o mixnet-s.onnx"""


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="python -m weights_tools",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=_DESCRIPTION,
        epilog="python -m weights_tools COMMAND --help says more about a command.",
    )
    parser.nest()
    _add_inspect(parser)
    _add_convert(parser)
    _add_verify(parser)
    _add_export(parser)
    return parser


def _add_inspect(parser: CommandParser) -> None:
    command = parser.add_command(
        "inspect",
        "FILE [--format json]",
        "show what is in a checkpoint or a model file",
        "python -m weights_tools inspect mixnet_s-a907afbc.pth",
    )
    command.add_argument("file", type=Path, metavar="FILE")
    command.add_argument("--format", choices=("table", "json"), default="table")
    command.set_defaults(run=_inspect)


def _add_convert(parser: CommandParser) -> None:
    command = parser.add_command(
        "convert",
        "FILE -o OUT.h5 [options]",
        "make a minimix model file of a checkpoint",
        "python -m weights_tools convert mixnet_s-a907afbc.pth -o mixnet-s.h5\n"
        "python -m weights_tools convert model.safetensors -o m.h5 --dialect timm-tf",
    )
    command.add_argument("file", type=Path, metavar="FILE", help="a torch file or safetensors")
    command.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT.h5", help="the model file to write"
    )
    command.add_argument(
        "--model", metavar="NAME", help="refuse it unless it is this architecture, e.g. mixnet-s"
    )
    command.add_argument(
        "--dialect", choices=TIMM_DIALECTS, help="needed where the file's name does not say"
    )
    command.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="how to store it"
    )
    command.add_argument(
        "--labels", type=Path, metavar="TXT", help="class names, one a line, if not ImageNet's"
    )
    command.add_argument(
        "--report", type=Path, metavar="JSON", help="write where every parameter came from"
    )
    command.add_argument("--force", action="store_true", help="replace existing files")
    command.set_defaults(run=_convert)


def _add_verify(parser: CommandParser) -> None:
    command = parser.add_command(
        "verify",
        "FILE --against REF.npz [options]",
        "compare a model with another framework's recorded outputs",
        "python -m weights_tools verify s.h5 --against mixnet_s_ref.npz --images images/",
    )
    command.add_argument("file", type=Path, metavar="FILE", help="a minimix model file")
    command.add_argument(
        "--against", type=Path, required=True, metavar="REF.npz", help="the recording"
    )
    command.add_argument(
        "--images", type=Path, metavar="FOLDER", help="the recorded images, to run them too"
    )
    command.add_argument("--format", choices=("table", "json"), default="table")
    command.set_defaults(run=_verify)


def _add_export(parser: CommandParser) -> None:
    command = parser.add_command(
        "export",
        "FILE -o OUT.onnx [options]",
        "write a model file as ONNX, for other runtimes",
        "python -m weights_tools export mixnet-s.h5 -o mixnet-s.onnx",
    )
    command.add_argument("file", type=Path, metavar="FILE", help="a minimix model file")
    command.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT.onnx", help="the file to write"
    )
    command.add_argument(
        "--size", type=positive_int, metavar="PX", help="side of the input, if not the model's own"
    )
    command.add_argument("--force", action="store_true", help="replace an existing file")
    command.set_defaults(run=_export)


def _say(line: str) -> None:
    # Names come out of files that strangers wrote.
    output.write("\n".join(output.printable(part) for part in line.split("\n")) + "\n")


def _inspect(arguments: argparse.Namespace) -> int:
    found = inspect(arguments.file)
    if arguments.format == "json":
        output.write_json({"schema_version": 1, **asdict(found)})
    else:
        _print_inspection(found)
    return 0


def _print_inspection(found: Inspection) -> None:
    _say(f"{found.path}: {found.container}, {found.size_bytes:,} bytes")
    _say(f"sha256 {found.sha256}")
    for name, value in found.metadata.items():
        _say(f"{name}: {value}")
    if found.refused:
        _say(f"refused globals: {', '.join(found.refused)}")
    if found.architecture:
        _say(f"{found.architecture}, {found.num_classes} classes, dialect {found.dialect}")
    if found.problem:
        _say(f"not recognised: {found.problem}")
    if not found.tensors:
        return
    width = max(len(tensor.name) for tensor in found.tensors)
    _say(
        f"\n{'tensor':{width}}  {'shape':>18} {'dtype':>8} {'mean':>10} {'std':>10} "
        f"{'min':>10} {'max':>10} {'crc32':>8}"
    )
    for tensor in found.tensors:
        shape = "x".join(str(n) for n in tensor.shape) or "scalar"
        values = (tensor.mean, tensor.std, tensor.minimum, tensor.maximum)
        numbers = " ".join(f"{value:10.4g}" for value in values)
        bad = prod(tensor.shape) - tensor.finite
        note = f"  {bad} not finite" if bad else ""
        _say(f"{tensor.name:{width}}  {shape:>18} {tensor.dtype:>8} {numbers} {tensor.crc32}{note}")
    _say(f"\n{len(found.tensors)} tensors")


def _convert(arguments: argparse.Namespace) -> int:
    if arguments.report is not None:
        check_free(arguments.report, force=arguments.force)
        check_apart(arguments.report, arguments.out, arguments.file, arguments.labels)
    conversion = convert(
        arguments.file,
        arguments.out,
        model=arguments.model,
        dialect=arguments.dialect,
        dtype=arguments.dtype,
        labels=arguments.labels,
        force=arguments.force,
    )
    if arguments.report is not None:
        _write_report(conversion, arguments.report, arguments.force)
    model, mapped = conversion.model, conversion.mapped
    _say(f"{arguments.out}: {model.architecture.name}, {model.architecture.num_classes} classes")
    _say(f"dialect {model.dialect.name}, {conversion.dialect_reason}")
    _say(f"{len(mapped.params)} parameters filled, {len(mapped.ignored)} tensors ignored")
    return 0


def _write_report(conversion: Conversion, path: Path, force: bool) -> None:
    report = {"schema_version": 1, **conversion.model.provenance}
    with replacing(path, force=force) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _verify(arguments: argparse.Namespace) -> int:
    # Imported late: of the three commands only this one runs a network.
    import minimix

    model = minimix.load(arguments.file)
    checks = check_layers(model, arguments.against)
    if arguments.images is not None:
        checks += check_images(model, arguments.against, arguments.images)
    if arguments.format == "json":
        rows = [asdict(check) | {"ok": check.ok} for check in checks]
        output.write_json({"schema_version": 1, "model": model.name, "checks": rows})
    else:
        _print_checks(checks)
    failed = [check.name for check in checks if not check.ok]
    if failed:
        raise CheckError(
            f"{arguments.file}: {len(failed)} of {len(checks)} comparisons are over their budget: "
            f"{', '.join(failed[:5])}"
        )
    return 0


def _print_checks(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    _say(f"{'':{width}}  largest difference      budget")
    for check in checks:
        verdict = "ok" if check.ok else "OVER"
        _say(f"{check.name:{width}}  {check.largest:18.2e} {check.budget:11.0e}  {verdict}")


def _export(arguments: argparse.Namespace) -> int:
    made = export(arguments.file, arguments.out, size=arguments.size, force=arguments.force)
    (image,) = made.graph.input
    sides = [axis.dim_param or str(axis.dim_value) for axis in image.type.tensor_type.shape.dim]
    _say(
        f"{arguments.out}: {made.graph.name}, {len(made.graph.node)} nodes, opset "
        f"{made.opset_import[0].version}, input {image.name} ({', '.join(sides)})"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit; the codes are minimix's."""
    run_parser(_parser, argv)


if __name__ == "__main__":
    main()
