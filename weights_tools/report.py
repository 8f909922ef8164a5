"""Where every parameter of a conversion came from, as JSON for people and programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minimix.files import replacing
from minimix.operators import Conv, Linear, MixConv, Operator, Pointwise, SqueezeExcite
from weights_tools.convert import Conversion

SCHEMA_VERSION = 2

_KERNELS = {3: "(K, K, C)", 4: "(K, K, Cin, Cout)"}
# Layout of the weights of a convolution, a depthwise one, and a matrix, by origin.
_LAYOUTS = {
    "timm": ("OIHW", "OIHW", "(Cout, Cin)"),
    "mindcv": ("OIHW", "OIHW", "(Cout, Cin)"),
    "tensorflow": ("HWIO", "HWIM", "(Cin, Cout)"),
}


def layout_change(
    origin: str, operator: Operator, shape: tuple[int, ...], source: tuple[int, ...]
) -> str:
    """Origin, operator, our shape and the source's -> what was done to the axes, in words.

    I and O are channels in and out, M the multiplier of a depthwise convolution.

    >>> layout_change("timm", MixConv((5,)), (5, 5, 40), (40, 1, 5, 5))
    'OIHW -> (K, K, C)'
    >>> layout_change("timm", Linear(40), (40,), (40,))
    'as it is'
    """
    if shape == source and (len(shape) < 2 or origin == "tensorflow"):
        return "as it is"
    if len(shape) < 2:
        return f"{source} -> {shape}"
    ours = _KERNELS.get(len(shape), "(Cin, Cout)")
    full, depthwise, matrix = _LAYOUTS.get(origin, ("OIHW", "OIHW", "(Cout, Cin)"))
    match operator, len(source):
        case MixConv(), 4:
            return f"{depthwise} -> {ours}"
        case ((Conv() | Pointwise() | SqueezeExcite()), 4):
            return f"{full} -> {ours}"
        case ((Linear() | SqueezeExcite()), 2):
            return f"{matrix} -> {ours}"
        case _:
            return f"{source} -> {shape}"


def provenance(conversion: Conversion) -> dict[str, Any]:
    """Conversion -> the report, of plain JSON types."""
    model, mapped, kinds = conversion.model, conversion.mapped, conversion.kinds
    graph = model.graph
    operators = {name: node.operator for node in graph for name in graph.param_names[node.name]}
    return {
        "schema_version": SCHEMA_VERSION,
        **{key: model.provenance[key] for key in ("source", "tool", "license")},
        "origin": conversion.origin,
        "architecture": model.architecture.to_json(),
        "dialect": model.dialect.to_json() | {"reason": conversion.dialect_reason},
        "pipeline": model.pipeline.to_json() | {"reason": conversion.pipeline_reason},
        "dtype": model.dtype,
        "tensors": [
            {
                **_tensor(name, mapped.params[name].shape, model.dtype),
                "sources": [_tensor(source, *kinds[source]) for source in sources],
                "change": _change(conversion, operators[name], name),
            }
            for name, sources in mapped.sources.items()
        ],
        "ignored": [
            _tensor(name, *kinds[name]) | {"reason": reason}
            for name, reason in mapped.ignored.items()
        ],
    }


def _tensor(name: str, shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    return {"name": name, "shape": list(shape), "dtype": dtype}


def _change(conversion: Conversion, operator: Operator, name: str) -> str:
    """What was done to the sources of one parameter."""
    mapped = conversion.mapped
    if len(mapped.sources[name]) != 1:
        return f"computed from {len(mapped.sources[name])} tensors"
    shape, _ = conversion.kinds[mapped.sources[name][0]]
    return layout_change(conversion.origin, operator, mapped.params[name].shape, shape)


def write_report(conversion: Conversion, out: Path, *, force: bool = False) -> None:
    """Write the report of a conversion.

    Raises:
        UsageError: ``out`` exists and ``force`` is not given.
        OutputError: ``out`` cannot be written.
    """
    text = json.dumps(provenance(conversion), indent=2, ensure_ascii=False)
    with replacing(out, force=force) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
