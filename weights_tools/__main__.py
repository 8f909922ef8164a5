"""``python -m weights_tools``: inspect, convert, verify.  Only this file prints or exits here."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from minimix.errors import CheckError
from minimix.files import check_free, replacing
from weights_tools.convert import TIMM_DIALECTS, Conversion, convert
from weights_tools.inspect import Inspection, inspect
from weights_tools.verify import Check, check_images, check_layers

EXAMPLES = """\
examples:
  python -m weights_tools inspect mixnet_s-a907afbc.pth
  python -m weights_tools convert mixnet_s-a907afbc.pth -o mixnet-s.h5
  python -m weights_tools convert model.safetensors -o m.h5 --dialect timm-tf --dtype float16
  python -m weights_tools verify mixnet-s.h5 --against mixnet_s_ref.npz
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m weights_tools",
        description="Released checkpoints in, minimix model files out.  No framework is needed, "
        "and nothing in a file is executed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    look = commands.add_parser("inspect", help="what is in a checkpoint or a model file")
    look.add_argument("file", type=Path)
    look.add_argument("--format", choices=("table", "json"), default="table")
    look.set_defaults(run=_inspect)

    make = commands.add_parser("convert", help="checkpoint -> minimix model file (.h5)")
    make.add_argument("file", type=Path, help="a torch file (.pth) or safetensors")
    make.add_argument("-o", "--out", type=Path, required=True, help="the model file to write")
    make.add_argument("--model", help="refuse it unless it is this architecture, e.g. mixnet-s")
    make.add_argument("--dialect", choices=TIMM_DIALECTS, help="where the file's name does not say")
    make.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="stored as"
    )
    make.add_argument("--labels", type=Path, help="class names, one per line, if not ImageNet's")
    make.add_argument("--report", type=Path, help="write where every tensor came from (JSON)")
    make.add_argument("--force", action="store_true", help="replace existing files")
    make.set_defaults(run=_convert)

    check = commands.add_parser("verify", help="compare with another framework's recorded outputs")
    check.add_argument("file", type=Path, help="a minimix model file")
    check.add_argument("--against", type=Path, required=True, help="the recording (.npz)")
    check.add_argument("--images", type=Path, help="folder with the recorded images, to run too")
    check.add_argument("--format", choices=("table", "json"), default="table")
    check.set_defaults(run=_verify)
    return parser


def _inspect(arguments: argparse.Namespace) -> None:
    found = inspect(arguments.file)
    if arguments.format == "json":
        print(json.dumps({"schema_version": 1, **asdict(found)}, indent=2))
    else:
        _print_inspection(found)


def _print_inspection(found: Inspection) -> None:
    print(f"{found.path}: {found.container}, {found.size_bytes:,} bytes")
    print(f"sha256 {found.sha256}")
    for name, value in found.metadata.items():
        print(f"{name}: {value}")
    if found.refused:
        print(f"refused globals: {', '.join(found.refused)}")
    if found.architecture:
        print(f"{found.architecture}, {found.num_classes} classes, dialect {found.dialect}")
    if found.problem:
        print(f"not recognised: {found.problem}")
    if not found.tensors:
        return
    width = max(len(tensor.name) for tensor in found.tensors)
    print(
        f"\n{'tensor':{width}}  {'shape':>18} {'dtype':>8} {'mean':>10} {'std':>10} "
        f"{'min':>10} {'max':>10} {'crc32':>8}"
    )
    for tensor in found.tensors:
        shape = "x".join(str(n) for n in tensor.shape) or "scalar"
        values = (tensor.mean, tensor.std, tensor.minimum, tensor.maximum)
        numbers = " ".join(f"{value:10.4g}" for value in values)
        count = 1
        for n in tensor.shape:
            count *= n
        note = "" if tensor.finite == count else f"  {count - tensor.finite} not finite"
        print(
            f"{tensor.name:{width}}  {shape:>18} {tensor.dtype:>8} {numbers} {tensor.crc32}{note}"
        )
    print(f"\n{len(found.tensors)} tensors")


def _convert(arguments: argparse.Namespace) -> None:
    if arguments.report is not None:
        check_free(arguments.report, force=arguments.force)
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
    print(f"{arguments.out}: {model.architecture.name}, {model.architecture.num_classes} classes")
    print(f"dialect {model.dialect.name}, {conversion.dialect_reason}")
    print(f"{len(mapped.params)} parameters filled, {len(mapped.ignored)} tensors ignored")


def _write_report(conversion: Conversion, path: Path, force: bool) -> None:
    report = {"schema_version": 1, **conversion.model.provenance}
    with replacing(path, force=force) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _verify(arguments: argparse.Namespace) -> None:
    # Imported late: of the three commands only this one runs a network.
    import minimix

    model = minimix.load(arguments.file)
    checks = check_layers(model, arguments.against)
    if arguments.images is not None:
        checks += check_images(model, arguments.against, arguments.images)
    if arguments.format == "json":
        rows = [asdict(check) | {"ok": check.ok} for check in checks]
        print(json.dumps({"schema_version": 1, "model": model.name, "checks": rows}, indent=2))
    else:
        _print_checks(checks)
    failed = [check.name for check in checks if not check.ok]
    if failed:
        raise CheckError(
            f"{arguments.file}: {len(failed)} of {len(checks)} comparisons are over their budget: "
            f"{', '.join(failed[:5])}"
        )


def _print_checks(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    print(f"{'':{width}}  largest difference      budget")
    for check in checks:
        verdict = "ok" if check.ok else "OVER"
        print(f"{check.name:{width}}  {check.largest:18.2e} {check.budget:11.0e}  {verdict}")


def main(argv: list[str] | None = None) -> None:
    """Run one command; the exit codes are minimix's."""
    arguments = _parser().parse_args(argv)
    arguments.run(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
