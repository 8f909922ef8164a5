"""What a node computes, as a reader writes it and as ``minimix.ops`` spells it."""

from __future__ import annotations

import inspect

from minimix import ops
from minimix.explorer.structure import Collapsed
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

_ACTIVATIONS = {"relu": "relu(x) = max(x, 0)", "swish": "swish(x) = x · sigmoid(x)"}
_ACTIVATION_CODE = {"relu": ["relu"], "swish": ["swish", "sigmoid"]}


def formulas(node: Collapsed) -> list[str]:
    """Lines of text, one for each step."""
    return [line for member in node.members for line in _formulas(member)]


def _formulas(node: Node) -> list[str]:
    operator = node.operator
    match operator:
        case Conv():
            lines = [
                "y[i, j, k] = Σ over di, dj, c of "
                "x[s·i + di − p, s·j + dj − p, c] · w[di, dj, c, k]",
            ]
        case MixConv():
            lines = [
                "y[i, j, c] = Σ over di, dj of x[s·i + d·di − p, s·j + d·dj − p, c] · w[di, dj, c]",
                "each group of channels with a kernel size of its own",
            ]
        case Pointwise():
            lines = ["y[i, j, k] = Σ over c of x[i, j, c] · w[c, k]"]
            if operator.groups > 1:
                lines.append(f"in {operator.groups} groups of channels that do not mix")
        case BatchNorm():
            return [f"y = γ · (x − μ) / √(σ² + {operator.eps:g}) + β, per channel"]
        case Activation():
            return [_ACTIVATIONS[operator.function]]
        case SqueezeExcite():
            inner = operator.activation
            return [
                "m[c] = mean over i, j of x[i, j, c]",
                f"gate = sigmoid({inner}(m · W₁ + b₁) · W₂ + b₂), W₁ to "
                f"{operator.reduced_channels} channels and W₂ back",
                "y[i, j, c] = x[i, j, c] · gate[c]",
            ]
        case GlobalAveragePool():
            return ["y[c] = mean over i, j of x[i, j, c]"]
        case Linear():
            return ["logit[k] = Σ over c of x[c] · w[c, k] + b[k]", "p = softmax(logits)"]
        case _:
            return {"add": ["y = x + block input"]}.get(operator.kind, [])
    lines += ["+ bias[k]"] if operator.bias else []
    return lines + ([_ACTIVATIONS[operator.activation]] if operator.activation else [])


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
