"""What an operator computes, as a reader writes it."""

from __future__ import annotations

from minimix.operators import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    Linear,
    MixConv,
    Operator,
    Pointwise,
    SqueezeExcite,
)

_ACTIVATIONS = {"relu": "relu(x) = max(x, 0)", "swish": "swish(x) = x · sigmoid(x)"}


def formulas(operator: Operator) -> tuple[str, ...]:
    """Lines of text, one for each thing that the operator does; none for the input.

    >>> formulas(GlobalAveragePool())
    ('y[c] = mean over i, j of x[i, j, c]',)
    """
    match operator:
        case Conv() | MixConv() | Pointwise():
            return _convolution(operator)
        case BatchNorm():
            return (f"y = γ · (x − μ) / √(σ² + {operator.eps:g}) + β, per channel",)
        case Activation():
            return (_ACTIVATIONS[operator.function],)
        case SqueezeExcite():
            return (
                "m[c] = mean over i, j of x[i, j, c]",
                f"gate = sigmoid({operator.activation}(m · W₁ + b₁) · W₂ + b₂), W₁ to "
                f"{operator.reduced_channels} channels and W₂ back",
                "y[i, j, c] = x[i, j, c] · gate[c]",
            )
        case Add():
            return ("y = x + block input",)
        case GlobalAveragePool():
            return ("y[c] = mean over i, j of x[i, j, c]",)
        case Linear():
            return ("logit[k] = Σ over c of x[c] · w[c, k] + b[k]", "p = softmax(logits)")
        case _:
            return ()


def _convolution(operator: Conv | MixConv | Pointwise) -> tuple[str, ...]:
    match operator:
        case Conv():
            lines = [
                "y[i, j, k] = Σ over di, dj, c of "
                "x[s·i + di − p, s·j + dj − p, c] · w[di, dj, c, k]"
            ]
        case MixConv():
            lines = [
                "y[i, j, c] = Σ over di, dj of x[s·i + d·di − p, s·j + d·dj − p, c] · w[di, dj, c]",
            ]
            if len(operator.extents) > 1:
                lines.append("each group of channels with a kernel size of its own")
        case Pointwise():
            lines = ["y[i, j, k] = Σ over c of x[i, j, c] · w[c, k]"]
            if operator.groups > 1:
                lines.append(f"in {operator.groups} groups of channels that do not mix")
    lines += ["+ bias[k]"] if operator.bias else []
    return (*lines, *([_ACTIVATIONS[operator.activation]] if operator.activation else []))
