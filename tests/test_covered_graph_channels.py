"""Splitting, picking and filling as graphs do it, on constants and on the picture's channels."""

from __future__ import annotations

import numpy as np
import pytest

from weights_tools.mappings.graphs import arithmetic, channels
from weights_tools.mappings.graphs.reading import Call
from weights_tools.mappings.graphs.values import Constant, Features, Picture
from weights_tools.readers.topology import Operation

PICTURE = Features(Picture(8), (1, 3, 8, 8), 1)


def constant(array):
    return Constant(np.asarray(array), ("c",))


NUMBERS = constant(np.arange(10))
LARGE = constant(np.zeros(2000))


def call(function, *inputs, outputs=1, tensors=None, kind="Kind", **attributes):
    given = tuple(
        value if isinstance(value, Constant | Features | None) else constant(value)
        for value in inputs
    )
    names = tuple(f"x{n}" for n in range(len(given)))
    made = tuple(f"y{n}" for n in range(outputs))
    return function(Call(Operation("op", kind, names, made, attributes), given, tensors or {}))


def arrays(values):
    return [value.array.tolist() for value in values]


def test_a_constant_is_split_into_parts_that_are_given_or_equal():
    split = channels.onnx_split
    assert arrays(call(split, NUMBERS, [3, 7], outputs=2)) == [[0, 1, 2], [3, 4, 5, 6, 7, 8, 9]]
    assert arrays(call(split, NUMBERS, outputs=2)) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    uneven = call(split, NUMBERS, outputs=3, num_outputs=3)
    assert [len(part) for part in arrays(uneven)] == [4, 4, 2]
    equal = call(channels.openvino_split, NUMBERS, 0, outputs=5)
    assert [len(part) for part in arrays(equal)] == [2] * 5


def test_a_range_of_a_constant_is_what_a_slice_of_it_is():
    slice_ = channels.onnx_slice
    assert arrays(call(slice_, NUMBERS, [2], [5])) == [[2, 3, 4]]
    assert arrays(call(slice_, NUMBERS, [-1], [-100], [0], [-4])) == [[9, 5, 1]]
    assert arrays(call(channels.openvino_slice, NUMBERS, [1], [9], [3], [0])) == [[1, 4, 7]]
    rows = constant(NUMBERS.array.reshape(2, 5))
    assert arrays(call(slice_, rows, [1], [3], [1])) == [[[1, 2], [6, 7]]]


def test_numbers_are_picked_and_put_side_by_side():
    assert arrays(call(channels.gather, NUMBERS, [3, 1])) == [[3, 1]]
    assert arrays(call(channels.concatenate, [1, 2], [3], axis=0)) == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("function", "inputs", "attributes", "problem"),
    [
        (channels.onnx_split, (NUMBERS,), {"outputs": 3}, "cuts 10 channels into 3 equal parts"),
        (channels.onnx_split, (NUMBERS,), {"axis": 1}, r"axis 1 of shape \(10,\)"),
        (channels.onnx_split, (PICTURE,), {"axis": 2}, "axis 2 of features, whose channels"),
        (channels.onnx_slice, (NUMBERS, [1, 2], [3, 4]), {}, "takes ranges .* expected one axis"),
        (channels.onnx_slice, (PICTURE, [0], [3], [1], [2]), {}, "takes channels in steps of 2"),
        (channels.concatenate, (PICTURE, [1]), {"axis": 1}, "puts constants and features side"),
        (channels.concatenate, (LARGE, [1]), {"axis": 0}, "puts large constants side by side"),
        (channels.gather, (NUMBERS, [0.5]), {}, "picks by float64 of shape"),
        (channels.gather, (LARGE, [1]), {}, "picks from a large constant"),
        (channels.gather, (PICTURE, [0, 0, 1]), {"axis": 1}, "channels of a picture in the order"),
    ],
)
def test_parts_that_no_mixnet_has_are_refused(function, inputs, attributes, problem):
    with pytest.raises(ValueError, match=problem):
        call(function, *inputs, **attributes)


def test_a_shape_is_filled_with_zeros_or_with_one_number():
    (made,) = call(arithmetic.filled, [2, 1])
    assert made.array.tolist() == [[0.0], [0.0]] and made.array.dtype == np.float32
    (made,) = call(arithmetic.filled, [3], tensors={"v": np.array([7])}, value="v")
    assert made.array.tolist() == [7, 7, 7] and made.array.dtype.kind == "i"


@pytest.mark.parametrize(
    ("inputs", "tensors", "problem"),
    [
        (([100_000],), {"v": np.zeros(1)}, r"fills shape \(100000,\); expected a few numbers"),
        (([2],), {"v": np.zeros(2)}, r"fills with shape \(2,\); expected one number"),
        (([2],), {"w": np.zeros(1)}, "value: expected the name of a tensor, found 'v'"),
    ],
)
def test_a_shape_is_filled_with_nothing_else(inputs, tensors, problem):
    with pytest.raises(ValueError, match=problem):
        call(arithmetic.filled, *inputs, tensors=tensors, value="v")


def test_arithmetic_on_numbers_is_of_few_and_of_two():
    assert arrays(call(arithmetic.divide, [7], [2])) == [[3]]
    with pytest.raises(ValueError, match="has 3 inputs, expected 2"):
        call(arithmetic.divide, [7], [2], [1])
    with pytest.raises(ValueError, match="arithmetic on large constants"):
        call(arithmetic.divide, LARGE, [2])
    assert arrays(call(arithmetic.clip, [-5, 0, 5], [-1], [1])) == [[-1, 0, 1]]
    with pytest.raises(ValueError, match="clips shape .*; expected sizes, and one number"):
        call(arithmetic.clip, [-5, 0, 5], [-1, 1])
