"""Channels cut apart, put side by side, and reordered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from weights_tools.mappings.graphs.reading import MAX_NUMBERS, Call
from weights_tools.mappings.graphs.values import (
    Activated,
    Affine,
    Constant,
    Features,
    Meaning,
    Picture,
    Slice,
    Value,
    shape_of,
)

MAX_BRANCHES = 64
"""The most groups of one convolution; a MixConv has at most five."""


def sliced(features: Features, begin: int, end: int) -> Features:
    """Channels ``begin`` to ``end``.

    Raises:
        ValueError: there are no such channels.
    """
    if not 0 <= begin < end <= features.channels:
        raise ValueError(f"channels {begin} to {end} of {features.channels}")
    meaning = features.of
    shape = list(features.shape)
    shape[features.axis] = end - begin
    if end - begin < features.channels:
        meaning = (
            Slice(meaning.of, meaning.begin + begin, meaning.begin + end)
            if isinstance(meaning, Slice)
            else Slice(meaning, begin, end)
        )
    return replace(features, of=meaning, shape=tuple(shape))


def joined(values: Sequence[Features]) -> Features:
    """Put channels side by side: the groups of a convolution, or a picture's turned channels.

    Raises:
        ValueError: the values are no groups of one convolution.
    """
    first = values[0]
    shapes = {
        (value.axis, value.shape[: value.axis], value.shape[value.axis + 1 :]) for value in values
    }
    if len(shapes) != 1:
        raise ValueError(
            f"puts shapes {', '.join(str(value.shape) for value in values[:4])} side by side"
        )
    shape = list(first.shape)
    shape[first.axis] = sum(value.channels for value in values)
    return Features(_joined([value.of for value in values]), tuple(shape), first.axis)


def _joined(meanings: Sequence[Meaning]) -> Meaning:
    if len(meanings) == 1:
        return meanings[0]
    active = [meaning for meaning in meanings if isinstance(meaning, Activated)]
    if len(active) == len(meanings) and len({meaning.function for meaning in active}) == 1:
        return Activated(_side_by_side([meaning.of for meaning in active]), active[0].function)
    affine = [meaning for meaning in meanings if isinstance(meaning, Affine)]
    if len(affine) == len(meanings):
        return _side_by_side(affine)
    if len(meanings) == 3:
        return _turned_picture(meanings)
    raise ValueError(
        f"puts {' and '.join(sorted({meaning.word for meaning in meanings}))} side by side; "
        "expected the groups of a convolution"
    )


def _side_by_side(parts: Sequence[Affine]) -> Affine:
    made = Affine(tuple(parts))
    if len(made.branches) > MAX_BRANCHES:
        raise ValueError(f"more than {MAX_BRANCHES} groups of one convolution")
    return made


def _turned_picture(meanings: Sequence[Meaning]) -> Picture:
    slices = [meaning for meaning in meanings if isinstance(meaning, Slice)]
    whole = slices[0].of if slices else None
    same = all(one.of is whole and one.end - one.begin == 1 for one in slices)
    if not isinstance(whole, Picture) or not same or len(slices) != 3:
        raise ValueError(
            f"puts {', '.join(meaning.word for meaning in meanings)} side by side; expected the "
            "groups of a convolution, or the picture's channels"
        )
    return turned(whole, [one.begin for one in slices])


def turned(picture: Picture, places: Sequence[int]) -> Picture:
    """Reorder a picture's channels: the one at ``places[n]`` goes to place n.

    Raises:
        ValueError: the places are no order of three channels.
    """
    if sorted(places) != [0, 1, 2]:
        raise ValueError(f"channels of a picture in the order {list(places)[:8]}")
    pick = list(places)
    return replace(
        picture,
        order=tuple(picture.order[place] for place in pick),
        scale=None if picture.scale is None else picture.scale[pick],
        shift=None if picture.shift is None else picture.shift[pick],
    )


def split_sizes(call: Call, count: int, sizes: Sequence[int]) -> list[int]:
    """Sizes for a Split of ``count`` channels, a single -1 among them filled in.

    Raises:
        ValueError: they are not as many as the outputs, or not all of the channels.
    """
    found = list(sizes)
    if found.count(-1) == 1:
        found[found.index(-1)] = count - sum(found) - 1
    if len(found) != len(call.operation.outputs) or min(found, default=0) < 1:
        raise ValueError(f"cuts into {found[:8]}, which is not {len(call.operation.outputs)} parts")
    if sum(found) != count:
        raise ValueError(f"cuts {count} channels into {found[:8]}, which are {sum(found)}")
    return found


def equal_sizes(call: Call, count: int) -> list[int]:
    """Sizes for a Split into as many equal parts as there are outputs.

    Raises:
        ValueError: there are no such parts.
    """
    parts = len(call.operation.outputs)
    if not parts or count % parts:
        raise ValueError(f"cuts {count} channels into {parts} equal parts")
    return [count // parts] * parts


def checked_axis(value: Value, axis: int) -> int:
    """Axis, negative if counted from the end -> the same from the front; the channels' of features.

    Raises:
        ValueError: there is no such axis, or it is another one of the features.
    """
    shape = shape_of(value)
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis {axis} of shape {shape}")
    if isinstance(value, Features) and axis % len(shape) != value.axis:
        raise ValueError(f"axis {axis} of features, whose channels are on axis {value.axis}")
    return axis % len(shape)


def parts_of(value: Value, axis: int, sizes: Sequence[int]) -> list[Value]:
    """Cut a value into consecutive parts; their sizes are known to fit."""
    ends = np.cumsum(sizes).tolist()
    if isinstance(value, Features):
        return [sliced(value, end - size, end) for size, end in zip(sizes, ends, strict=True)]
    arrays = np.split(value.array, ends[:-1], axis)
    return [Constant(array, value.names) for array in arrays]


def openvino_split(call: Call) -> list[Value]:
    """Split: value, axis; VariadicSplit: value, axis, sizes."""
    value = call.value(0)
    axis = checked_axis(value, call.number(1, "the axis"))
    count = shape_of(value)[axis]
    if call.operation.kind == "VariadicSplit":
        sizes = split_sizes(call, count, call.numbers(2, "the sizes"))
    else:
        sizes = equal_sizes(call, count)
    return parts_of(value, axis, sizes)


def onnx_split(call: Call) -> list[Value]:
    """Split: value, sizes; they were an attribute once, and may be left out."""
    value = call.value(0)
    axis = checked_axis(value, call.integer("axis", 0))
    count = shape_of(value)[axis]
    given = call.numbers_of(1, "split")
    if given is None and "num_outputs" in call.operation.attributes:
        # Since opset 18 the last part may be the smaller one.
        parts = max(1, len(call.operation.outputs))
        size = -(-count // parts)
        given = (size,) * (parts - 1) + (count - size * (parts - 1),)
    sizes = equal_sizes(call, count) if given is None else split_sizes(call, count, given)
    return parts_of(value, axis, sizes)


def _range(call: Call, axes: Sequence[int] | None, steps: Sequence[int] | None) -> list[Value]:
    """The range of one axis: input 1 says where it begins, input 2 where it ends."""
    value = call.value(0)
    begins, ends = call.numbers_of(1, "starts"), call.numbers_of(2, "ends")
    ranges = [begins, ends, axes or (0,), steps or (1,)]
    if any(numbers is None or len(numbers) != 1 for numbers in ranges):
        raise ValueError(f"takes ranges {ranges}; expected one axis, its begin and its end")
    begin, end, axis, step = (int(number) for numbers in ranges for number in numbers or ())
    axis = checked_axis(value, axis)
    first, last, step = slice(begin, end, step).indices(shape_of(value)[axis])
    if isinstance(value, Constant):
        index = [slice(None)] * axis
        # Backwards to the first element: -1 would be the last one.
        index.append(slice(first, None if last < 0 else last, step))
        return [Constant(value.array[tuple(index)], value.names)]
    if step != 1:
        raise ValueError(f"takes channels in steps of {step}")
    return [sliced(value, first, last)]


def onnx_slice(call: Call) -> list[Value]:
    """Slice: value, begin, end, axes, steps."""
    return _range(call, call.numbers_of(3, "axes"), call.numbers_of(4, "steps"))


def openvino_slice(call: Call) -> list[Value]:
    """Slice: value, begin, end, steps, axes."""
    return _range(call, call.numbers_of(4, "axes"), call.numbers_of(3, "steps"))


def concatenate(call: Call) -> list[Value]:
    """Groups of a convolution side by side, or a picture's turned channels."""
    values = [call.value(position) for position in range(len(call.inputs))]
    features = [value for value in values if isinstance(value, Features)]
    axis = call.integer("axis")
    if features and len(features) == len(values):
        checked_axis(features[0], axis)
        return [joined(features)]
    arrays = call.arrays()
    if arrays is None:
        raise ValueError("puts constants and features side by side")
    if sum(array.size for array in arrays) > MAX_NUMBERS:
        raise ValueError("puts large constants side by side; fold constants on export")
    return [call.made(np.concatenate(arrays, axis))]


def gather(call: Call) -> list[Value]:
    """Some of a constant's numbers, or a picture's channels in another order."""
    value, picked = call.value(0), call.constant(1, "what is picked")
    axis = call.number(2, "the axis") if call.has(2) else call.integer("axis", 0)
    if picked.array.dtype.kind not in "iu" or picked.array.size > MAX_NUMBERS:
        raise ValueError(f"picks by {picked.array.dtype.name} of shape {picked.array.shape}")
    if isinstance(value, Constant):
        if value.array.size > MAX_NUMBERS:
            raise ValueError("picks from a large constant; fold constants on export")
        return [call.made(np.take(value.array, picked.array, axis=checked_axis(value, axis)))]
    checked_axis(value, axis)
    if not isinstance(value.of, Picture):
        raise ValueError(f"picks channels of {value.of.word}, expected the picture")
    places = [int(place) for place in picked.array.reshape(-1)]
    from_front = [place + 3 if place < 0 else place for place in places]
    return [replace(value, of=turned(value.of, from_front))]
