"""How two values of a MixNet combine: scales, shifts, swish, gates, residual connections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from weights_tools.mappings.graphs.values import (
    Action,
    Activated,
    Affine,
    Constant,
    Features,
    Gated,
    Meaning,
    Picture,
    Sigmoid,
    Step,
    Sum,
    Value,
    Wide,
    word,
)

MAX_STEPS = 64
"""The most scales and shifts after one convolution, or of the picture; batch norm is four."""


def per_channel(constant: Constant, features: Features) -> Constant:
    """Constant, the features that it is combined with -> one number, or (C,).

    Raises:
        ValueError: it is neither, broadcast as NumPy does.
    """
    array, missing = constant.array, len(features.shape) - constant.array.ndim
    fits = missing >= 0 and all(
        size == 1 or (axis == features.axis and size == features.channels)
        for axis, size in enumerate(array.shape, missing)
    )
    if not fits or array.dtype.kind != "f":
        raise ValueError(
            f"a constant of shape {array.shape} and type {array.dtype.name} beside features of "
            f"shape {features.shape}; expected one number, or one for each of the "
            f"{features.channels} channels on axis {features.axis}"
        )
    return Constant(array.reshape(-1), constant.names)


def stepped(features: Features, action: Action, constant: Constant, eps: float = 0.0) -> Features:
    """Scale or shift by one number, or by one per channel.

    Raises:
        ValueError: the features are neither a picture nor a convolution.
    """
    step = Step(action, per_channel(constant, features), eps)
    meaning = features.of
    if isinstance(meaning, Affine) and len(meaning.steps) < MAX_STEPS:
        return replace(features, of=replace(meaning, steps=(*meaning.steps, step)))
    if isinstance(meaning, Picture) and len(meaning.names) < MAX_STEPS:
        scale, shift = _applied(step, meaning.scale, meaning.shift, 3)
        names = meaning.names + step.by.names
        return replace(features, of=replace(meaning, scale=scale, shift=shift, names=names))
    if isinstance(meaning, Affine | Picture):
        raise ValueError(f"more than {MAX_STEPS} scales and shifts in a row")
    raise ValueError(f"cannot {action} {meaning.word} by constants; expected a convolution")


def _applied(
    step: Step, scale: Wide | None, shift: Wide | None, channels: int
) -> tuple[Wide | None, Wide | None]:
    """(C,) ``x * scale + shift`` followed by one step; None stays where nothing changes it."""
    with np.errstate(all="ignore"):
        by = np.broadcast_to(step.by.array.astype(np.float64), channels)
        if step.action in ("add", "subtract"):
            term = by if step.action == "add" else -by
            return scale, term if shift is None else shift + term
        factor = by
        if step.action != "multiply":
            factor = 1 / (np.sqrt(by + step.eps) if step.action == "standardise" else by)
        return (
            factor if scale is None else scale * factor,
            None if shift is None else shift * factor,
        )


def scale_and_shift(affine: Affine) -> tuple[Wide | None, Wide | None]:
    """Affine -> (C,) factors and (C,) terms of all its steps; None where there are none."""
    inner = [
        scale_and_shift(part) if isinstance(part, Affine) else (None, None) for part in affine.parts
    ]
    sizes = [part.out_channels for part in affine.parts]
    scale = _gathered([scale for scale, _ in inner], sizes, 1.0)
    shift = _gathered([shift for _, shift in inner], sizes, 0.0)
    for step in affine.steps:
        scale, shift = _applied(step, scale, shift, sum(sizes))
    return scale, shift


def _gathered(found: Sequence[Wide | None], sizes: Sequence[int], empty: float) -> Wide | None:
    if all(one is None for one in found):
        return None
    filled = [
        np.full(size, empty) if one is None else one for one, size in zip(found, sizes, strict=True)
    ]
    return np.concatenate(filled)


def step_names(affine: Affine) -> tuple[str, ...]:
    """Affine -> the constants that its scales and shifts are made of."""
    inner = [name for part in affine.parts if isinstance(part, Affine) for name in step_names(part)]
    return (*inner, *(name for step in affine.steps for name in step.by.names))


def product(left: Value, right: Value) -> Features:
    """Multiply two values: a scale, a swish, or the gates of squeeze-excite.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(left, Constant):
        left, right = right, left
    if isinstance(left, Constant):
        raise ValueError("a product of two constants")
    if isinstance(right, Constant):
        return stepped(left, "multiply", right)
    if isinstance(left.of, Sigmoid):
        left, right = right, left
    if not isinstance(right.of, Sigmoid):
        raise ValueError(
            f"a product of {word(left)} and {word(right)}, expected a sigmoid among them"
        )
    if right.of.of is left.of and right.shape == left.shape:
        return activated(left, "swish")
    return _gated(left, right, right.of.of)


def _gated(left: Features, gates: Features, inner: Meaning) -> Features:
    if not isinstance(inner, Affine):
        raise ValueError(
            f"{word(left)} times the sigmoid of {inner.word}: neither a swish, which reads one "
            "value twice, nor gates, which are made by a convolution"
        )
    ones = tuple(size if axis in (0, left.axis) else 1 for axis, size in enumerate(left.shape))
    if gates.shape != ones or gates.axis != left.axis:
        raise ValueError(f"gates of shape {gates.shape}, expected {ones}")
    return replace(left, of=Gated(left.of, inner))


def total(left: Value, right: Value) -> Features:
    """Add two values: a shift or a residual connection.

    Raises:
        ValueError: the shapes differ.
    """
    if isinstance(left, Constant):
        left, right = right, left
    if isinstance(left, Constant):
        raise ValueError("a sum of two constants")
    if isinstance(right, Constant):
        return stepped(left, "add", right)
    if left.shape != right.shape or left.axis != right.axis:
        raise ValueError(
            f"a sum of {word(left)} of shape {left.shape} and {word(right)} of {right.shape}"
        )
    return replace(left, of=Sum(left.of, right.of))


def activated(features: Features, function: str) -> Features:
    """Apply an activation to convolutions.

    Raises:
        ValueError: the features are something else.
    """
    if not isinstance(features.of, Affine):
        raise ValueError(f"{function} of {word(features)}, expected a convolution")
    return replace(features, of=Activated(features.of, function))
