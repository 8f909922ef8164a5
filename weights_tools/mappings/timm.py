"""timm's names (``blocks.2.0.conv_dw.1.weight``) -> ours (``blocks.3.mixconv.1.weight``).

timm counts blocks within stages, we count flat.  A block without expansion has ``conv_dw``, then
``conv_pw``; all others ``conv_pw``, ``conv_dw``, ``conv_pwl``; batch norms are numbered along.
Several groups are numbered (``conv_pw.0.weight``), a single one is not (``conv_pw.weight``).
Source: timm, ``_efficientnet_blocks.py``, ``mixed_conv2d.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from minimix.arrays import Array
from minimix.dialect import DIALECTS
from minimix.errors import GraphError, WeightsError
from minimix.graph import Node
from minimix.operators import BatchNorm, Operator, Pointwise, SqueezeExcite
from minimix.zoo import Architecture, build
from weights_tools.mappings.layouts import from_oihw
from weights_tools.mappings.mapped import Mapped, check_all_used
from weights_tools.readers.checkpoint import Tensors
from weights_tools.recognise import ObservedBlock, recognise

_BATCH_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "variance": "running_var",
}
_EXPANDED = {
    "expand": "conv_pw",
    "expand_bn": "bn1",
    "mixconv": "conv_dw",
    "mixconv_bn": "bn2",
    "se": "se.conv_",
    "project": "conv_pwl",
    "project_bn": "bn3",
}
_UNEXPANDED = {
    "mixconv": "conv_dw",
    "mixconv_bn": "bn1",
    "se": "se.conv_",
    "project": "conv_pw",
    "project_bn": "bn2",
}
_ENDS = {
    "stem.conv": "conv_stem",
    "stem.conv_bn": "bn1",
    "head.conv": "conv_head",
    "head.conv_bn": "bn2",
    "classifier": "classifier",
}


def matches(tensors: Mapping[str, Array]) -> bool:
    """Whether the names are timm's."""
    return "conv_stem.weight" in tensors and "blocks.0.0.conv_dw.weight" in tensors


def _block_paths(tensors: Mapping[str, Array]) -> list[str]:
    """timm's block paths in order: ``blocks.0.0``, ``blocks.1.0``, ``blocks.1.1``, ..."""
    found = {
        (int(match[1]), int(match[2]))
        for match in (re.match(r"blocks\.(\d{1,4})\.(\d{1,4})\.", name) for name in tensors)
        if match
    }
    return [f"blocks.{stage}.{repeat}" for stage, repeat in sorted(found)]


def _groups(tensors: Mapping[str, Array], path: str) -> list[Array]:
    """The weights of one convolution, group by group."""
    names = [f"{path}.weight"]
    if names[0] not in tensors:
        names = [f"{path}.{g}.weight" for g in range(64) if f"{path}.{g}.weight" in tensors]
    for name in names:
        if tensors[name].ndim != 4 or 0 in tensors[name].shape:
            raise WeightsError(
                f"{name}: expected four dimensions, (Cout, Cin, K, K); found {tensors[name].shape}"
            )
    if not names:
        raise WeightsError(f"{path}.weight: missing; the checkpoint is not a whole timm MixNet")
    return [tensors[name] for name in names]


def _observe(tensors: Mapping[str, Array], path: str) -> ObservedBlock:
    expanded = f"{path}.bn3.weight" in tensors
    depthwise = _groups(tensors, f"{path}.conv_dw")
    project = _groups(tensors, f"{path}.conv_pwl" if expanded else f"{path}.conv_pw")
    middle = sum(weight.shape[0] for weight in depthwise)
    expand = _groups(tensors, f"{path}.conv_pw") if expanded else []
    entering = sum(weight.shape[1] for weight in expand) if expanded else middle
    se_reduce = tensors.get(f"{path}.se.conv_reduce.weight")
    return ObservedBlock(
        kernel_sizes=tuple(weight.shape[-1] for weight in depthwise),
        expand_groups=max(1, len(expand)),
        project_groups=len(project),
        expansion=middle // entering,
        in_channels=entering,
        out_channels=sum(weight.shape[0] for weight in project),
        se_channels=0 if se_reduce is None or se_reduce.ndim == 0 else se_reduce.shape[0],
    )


def _architecture(tensors: Mapping[str, Array], expected: str | None) -> Architecture:
    classifier = tensors.get("classifier.weight")
    if classifier is None or classifier.ndim != 2:
        raise WeightsError(
            "classifier.weight: missing, or no matrix; a network without its classifier cannot "
            "name anything"
        )
    return recognise(
        [_observe(tensors, path) for path in _block_paths(tensors)],
        stem_channels=_groups(tensors, "conv_stem")[0].shape[0],
        head_channels=_groups(tensors, "conv_head")[0].shape[0],
        num_classes=classifier.shape[0],
        expected=expected,
    )


def _source_name(node: Node, local: str, paths: list[str], arch: Architecture) -> str:
    """timm's name of one of our parameters."""
    stage, _, part = node.name.rpartition(".")
    if node.name in _ENDS:
        path, groups = _ENDS[node.name], 1
    else:
        n = int(stage.removeprefix("blocks."))
        table = _EXPANDED if arch.blocks[n].expansion != 1 else _UNEXPANDED
        path = f"{paths[n]}.{table[part]}"
        groups = len(node.operator.param_shapes((1, 1, 1, 10**6)))
    if isinstance(node.operator, BatchNorm):
        return f"{path}.{_BATCH_NORM[local]}"
    if isinstance(node.operator, SqueezeExcite):
        return f"{path}{local}"
    if groups == 1 and local[0].isdigit():
        local = local.partition(".")[2]
    return f"{path}.{local}"


def _convert(weight: Array, operator: Operator) -> Array:
    # Squeeze-excite is two 1x1 convolutions to timm.
    if isinstance(operator, SqueezeExcite) and weight.ndim == 4:
        operator = Pointwise(1)
    return from_oihw(weight, operator) if weight.ndim > 1 else weight


def map_timm(tensors: Tensors | Mapping[str, Array], *, expected: str | None = None) -> Mapped:
    """Map a timm state dict; the architecture is told from its shapes.

    Args:
        expected: the architecture that it must turn out to be.

    Raises:
        WeightsError: a tensor is missing, left over or misshapen, or no family fits.
    """
    arch = _architecture(tensors, expected)
    # Both timm dialects have the same parameters; which it is does not matter here.
    try:
        graph = build(arch, DIALECTS["timm"])
    except GraphError as error:
        raise WeightsError(f"the tensors' widths do not fit together: {error}") from error
    paths = _block_paths(tensors)
    params: dict[str, Array] = {}
    sources: dict[str, tuple[str, ...]] = {}
    for node in graph:
        for name in graph.param_names[node.name]:
            source = _source_name(node, name[len(node.name) + 1 :], paths, arch)
            if source not in tensors:
                raise WeightsError(f"{source}: missing; {name} of {arch.name} is made of it")
            array = _convert(tensors[source], node.operator)
            if array.shape != graph.param_shapes[name]:
                raise WeightsError(
                    f"{source}: gives {array.shape}, but {name} of {arch.name} is "
                    f"{graph.param_shapes[name]}"
                )
            params[name], sources[name] = array, (source,)
    ignored = {
        name: "batch counter of training"
        for name in tensors
        if name.endswith("num_batches_tracked")
    }
    mapped = Mapped(arch, params, sources, ignored)
    check_all_used(tensors, mapped, graph)
    return mapped
