"""Operations that change how a value lies and not what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import overload

import numpy as np

from weights_tools.mappings.graphs.arithmetic import MAX_ELEMENTS
from weights_tools.mappings.graphs.reading import Call
from weights_tools.mappings.graphs.values import Constant, Features, Shape, Value, shape_of

_FLOATS = {"f16", "f32", "f64", "bf16", 1, 10, 11, 16}
"""Floating element types: OpenVINO's names, and ONNX's numbers."""

_OTHERS = {"i32": "int32", "i64": "int64", "boolean": "bool", 6: "int32", 7: "int64", 9: "bool"}


@overload
def reshaped(value: Constant, shape: Shape) -> Constant: ...
@overload
def reshaped(value: Value, shape: Shape) -> Value: ...
def reshaped(value: Value, shape: Shape) -> Value:
    """The same value with other axes; of features only where one pixel remains.

    Raises:
        ValueError: the elements are not as many, or features are mixed up.
    """
    if shape == shape_of(value):
        return value
    if prod(shape) != prod(shape_of(value)):
        raise ValueError(f"reshapes {shape_of(value)} to {shape[:8]}")
    if isinstance(value, Features):
        return _reshaped_features(value, shape)
    if value.array.size > MAX_ELEMENTS and not value.array.flags.c_contiguous:
        raise ValueError("reshapes a large constant after turning it; fold constants on export")
    return Constant(value.array.reshape(shape), value.names)


def _reshaped_features(features: Features, shape: Shape) -> Features:
    axes = [axis for axis, size in enumerate(shape) if axis and size != 1] or [1]
    fits = len(shape) > 1 and len(axes) == 1 and shape[0] == features.shape[0]
    if not features.is_pooled or not fits:
        raise ValueError(
            f"reshapes features of shape {features.shape} to {shape[:8]}; expected pooled ones, "
            "one row for each picture"
        )
    return replace(features, shape=shape, axis=axes[0])


def _inferred(old: Shape, sizes: Sequence[int], *, copies: bool) -> Shape:
    """Sizes with 0 as in the old shape, and one -1 as what remains."""
    shape = [
        old[axis] if size == 0 and copies and axis < len(old) else size
        for axis, size in enumerate(sizes)
    ]
    if shape.count(-1) == 1:
        known = -prod(shape)
        if known < 1 or prod(old) % known:
            raise ValueError(f"reshapes {old} to {tuple(sizes)[:8]}")
        shape[shape.index(-1)] = prod(old) // known
    if min(shape, default=1) < 0:
        raise ValueError(f"reshapes {old} to {tuple(sizes)[:8]}")
    return tuple(shape)


def reshape(call: Call) -> list[Value]:
    """Reshape: value, sizes; 0 copies a size unless the attributes say otherwise."""
    value = call.value(0)
    sizes = call.numbers_of(1, "shape")
    if sizes is None:
        raise ValueError("says no shape")
    copies = call.is_true("special_zero", default=True) and not call.is_true("allowzero")
    return [reshaped(value, _inferred(shape_of(value), sizes, copies=copies))]


def flatten(call: Call) -> list[Value]:
    """Flatten: two axes, split before ``axis``."""
    value = call.value(0)
    shape, axis = shape_of(value), call.integer("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise ValueError(f"axis {axis} of shape {shape}")
    axis += len(shape) if axis < 0 else 0
    return [reshaped(value, (prod(shape[:axis]), prod(shape[axis:])))]


def squeeze(call: Call) -> list[Value]:
    """Squeeze: value, axes; all of size 1 without them."""
    value, given = call.value(0), call.numbers_of(1, "axes")
    shape = shape_of(value)
    ones = [axis for axis, size in enumerate(shape) if size == 1]
    axes = ones if given is None else _from_front(given, len(shape))
    if not set(axes) <= set(ones):
        raise ValueError(f"squeezes the axes {axes} of shape {shape}, which are not all 1")
    return [reshaped(value, tuple(n for axis, n in enumerate(shape) if axis not in axes))]


def unsqueeze(call: Call) -> list[Value]:
    """Unsqueeze: value, axes, as they count afterwards."""
    value, given = call.value(0), call.numbers_of(1, "axes")
    shape = list(shape_of(value))
    for axis in sorted(_from_front(given or (), len(shape) + len(given or ()))):
        shape.insert(axis, 1)
    return [reshaped(value, tuple(shape))]


def _from_front(axes: Sequence[int], count: int) -> list[int]:
    found = [axis + count if axis < 0 else axis for axis in axes]
    if len(set(found)) != len(found) or not all(0 <= axis < count for axis in found):
        raise ValueError(f"axes {tuple(axes)[:8]} of {count}")
    return found


def transpose(call: Call) -> list[Value]:
    """Transpose: value, order; backwards without one.  Features keep height before width."""
    value = call.value(0)
    shape = shape_of(value)
    given = call.numbers_of(1, "perm")
    order = tuple(given) if given else tuple(range(len(shape)))[::-1]
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"puts shape {shape} into the order {order[:8]}")
    if isinstance(value, Constant):
        return [Constant(value.array.transpose(order), value.names)]
    space = [axis for axis in order if axis not in (0, value.axis)]
    if order[0] != 0 or space != sorted(space):
        raise ValueError(f"turns features of shape {shape} into the order {order}")
    turned = tuple(shape[axis] for axis in order)
    return [Features(value.of, turned, order.index(value.axis))]


def same(call: Call) -> list[Value]:
    """What is the same after as before."""
    return [call.value(0)]


def dropout(call: Call) -> list[Value]:
    """Dropout, which does nothing but in training."""
    if call.has(2) and np.any(call.constant(2, "training_mode").array):
        raise ValueError("drops out; export the network for evaluation")
    return [call.value(0)]


def cast(call: Call) -> list[Value]:
    """Another element type: of float16 weights, of sizes, or of the picture's bytes.

    Floating numbers stay as they are until they become parameters.
    """
    value = call.value(0)
    attributes = call.operation.attributes
    to = attributes.get("destination_type", attributes.get("to"))
    if isinstance(to, str | int) and to in _FLOATS:
        if isinstance(value, Features) or value.array.dtype.kind == "f":
            return [value]
        target = "float32"
    elif isinstance(to, str | int) and to in _OTHERS and isinstance(value, Constant):
        target = _OTHERS[to]
    else:
        raise ValueError(f"makes {to!s:.20} of what it reads; a MixNet computes in floats")
    if value.array.size > MAX_ELEMENTS:
        raise ValueError(
            f"makes {target} of {value.array.dtype.name} of shape {value.array.shape}; expected "
            "weights that are floats, not quantised ones"
        )
    with np.errstate(all="ignore"):
        return [Constant(value.array.astype(target), value.names)]


def shape(call: Call) -> list[Value]:
    """A value's shape, for one picture of the input's size where the file leaves it free."""
    return [Constant(np.array(shape_of(call.value(0)), np.int64), ())]
