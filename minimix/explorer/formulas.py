"""What a node computes, as a reader writes it and as ``minimix.ops`` spells it."""

from __future__ import annotations

import inspect

from minimix import ops
from minimix.collapsed import Collapsed
from minimix.formulas import formulas as operator_formulas
from minimix.graph import Node
from minimix.operators import (
    Activation,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    Linear,
    MixConv,
    Pointwise,
    SqueezeExcite,
)

_ACTIVATION_CODE = {"relu": ["relu"], "swish": ["swish", "sigmoid"]}


def formulas(node: Collapsed) -> list[str]:
    """Lines of text, one for each step."""
    return [line for member in node.members for line in operator_formulas(member.operator)]


def function_names(node: Collapsed) -> list[str]:
    """Functions of ``minimix.ops`` that compute the node, in order."""
    found = [name for member in node.members for name in _function_names(member)]
    return list(dict.fromkeys(found))


def _function_names(node: Node) -> list[str]:
    operator = node.operator
    match operator:
        case Conv():
            names = ["conv2d"]
        case MixConv():
            names = ["mixconv", "depthwise"]
        case Pointwise():
            names = ["pointwise"]
        case BatchNorm():
            return ["batch_norm"]
        case Activation():
            return _ACTIVATION_CODE[operator.function]
        case SqueezeExcite():
            inner = _ACTIVATION_CODE[operator.activation]
            return ["squeeze_excite", "squeeze_excite_gates", "global_average_pool", *inner]
        case GlobalAveragePool():
            return ["global_average_pool"]
        case Linear():
            return ["linear", "softmax"]
        case _:
            return []
    return names + _ACTIVATION_CODE.get(operator.activation or "", [])


def sources(names: list[str]) -> dict[str, str]:
    """Function name -> its source code in ``minimix.ops``, each once, in order of name."""
    return {name: inspect.getsource(getattr(ops, name)) for name in sorted(set(names))}
