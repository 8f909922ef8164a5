"""Reshaping, turning and squeezing as graphs do it: what is the same value, and what is none."""

from __future__ import annotations

import numpy as np
import pytest

from weights_tools.mappings.graphs import shapes
from weights_tools.mappings.graphs.reading import Call
from weights_tools.mappings.graphs.values import Constant, Features, Picture
from weights_tools.readers.topology import Operation

PICTURE = Features(Picture(8), (1, 3, 8, 8), 1)


def constant(array):
    return Constant(np.asarray(array), ("c",))


MATRIX = constant(np.arange(6.0).reshape(2, 3))


def call(function, value, numbers=None, **attributes):
    """The one result, of a value and the numbers of a second input."""
    inputs = (value,) if numbers is None else (value, constant(np.array(numbers, np.int64)))
    operation = Operation("op", "Kind", ("x", "n")[: len(inputs)], ("y",), attributes)
    (made,) = function(Call(operation, inputs))
    return made


def assert_made(made, expected):
    np.testing.assert_array_equal(made.array, expected)


def test_sizes_are_copied_inferred_and_given():
    assert_made(call(shapes.reshape, MATRIX, (3, -1)), MATRIX.array.reshape(3, 2))
    assert_made(call(shapes.reshape, MATRIX, (0, 1, -1)), MATRIX.array.reshape(2, 1, 3))
    assert call(shapes.reshape, PICTURE, (0, 0, 8, 8)) is PICTURE
    assert_made(call(shapes.flatten, MATRIX, axis=-1), MATRIX.array)
    assert_made(call(shapes.flatten, MATRIX, axis=0), MATRIX.array.reshape(1, 6))


def test_axes_of_one_come_and_go_and_others_turn():
    assert_made(call(shapes.unsqueeze, MATRIX, (0, -1)), MATRIX.array[None, :, :, None])
    assert_made(
        call(shapes.squeeze, constant(MATRIX.array[None, :, :, None]), (-1, 0)), MATRIX.array
    )
    assert_made(call(shapes.squeeze, constant(MATRIX.array[None])), MATRIX.array)
    assert_made(call(shapes.transpose, MATRIX), MATRIX.array.T)
    assert_made(call(shapes.transpose, MATRIX, (1, 0)), MATRIX.array.T)
    turned = call(shapes.transpose, PICTURE, (0, 2, 3, 1))
    assert (turned.shape, turned.axis, turned.of) == ((1, 8, 8, 3), 3, PICTURE.of)


@pytest.mark.parametrize(
    ("function", "value", "numbers", "attributes", "problem"),
    [
        (shapes.reshape, MATRIX, (7,), {}, r"reshapes \(2, 3\) to \(7,\)"),
        (shapes.reshape, MATRIX, (4, -1), {}, r"reshapes \(2, 3\) to \(4, -1\)"),
        (shapes.reshape, MATRIX, (-2, -1), {}, r"reshapes \(2, 3\) to"),
        (shapes.reshape, MATRIX, (-1, -1), {}, r"reshapes \(2, 3\) to"),
        (shapes.reshape, MATRIX, (0, -1), {"allowzero": 1}, r"reshapes \(2, 3\) to"),
        (shapes.reshape, MATRIX, None, {}, "says no shape"),
        (shapes.reshape, PICTURE, (1, 192), {}, "reshapes features of shape .* expected pooled"),
        (shapes.flatten, MATRIX, None, {"axis": 3}, r"axis 3 of shape \(2, 3\)"),
        (shapes.flatten, MATRIX, None, {"axis": -3}, r"axis -3 of shape \(2, 3\)"),
        (shapes.squeeze, MATRIX, (0,), {}, "which are not all 1"),
        (shapes.squeeze, MATRIX, (2,), {}, r"axes \(2,\) of 2"),
        (shapes.unsqueeze, MATRIX, (0, 0), {}, r"axes \(0, 0\) of 4"),
        (shapes.transpose, MATRIX, (0, 0), {}, r"into the order \(0, 0\)"),
        (shapes.transpose, MATRIX, (0, 1, 2), {}, r"into the order \(0, 1, 2\)"),
        (shapes.transpose, PICTURE, (0, 1, 3, 2), {}, "turns features of shape"),
        (shapes.transpose, PICTURE, (1, 0, 2, 3), {}, "turns features of shape"),
    ],
)
def test_what_mixes_elements_up_is_refused(function, value, numbers, attributes, problem):
    with pytest.raises(ValueError, match=problem):
        call(function, value, numbers, **attributes)


def test_a_large_constant_is_reshaped_only_where_that_copies_nothing(monkeypatch):
    monkeypatch.setattr(shapes, "MAX_ELEMENTS", 5)
    assert_made(call(shapes.reshape, MATRIX, (6,)), MATRIX.array.ravel())
    with pytest.raises(ValueError, match="reshapes a large constant after turning it"):
        call(shapes.reshape, constant(MATRIX.array.T), (6,))


def test_a_cast_of_a_large_constant_is_refused(monkeypatch):
    whole = constant(np.arange(6))
    assert call(shapes.cast, whole, to=1).array.dtype == np.float32
    assert call(shapes.cast, MATRIX, to=10) is MATRIX
    monkeypatch.setattr(shapes, "MAX_ELEMENTS", 5)
    with pytest.raises(ValueError, match="makes float32 of int64 of shape"):
        call(shapes.cast, whole, to=1)
    with pytest.raises(ValueError, match="makes 99 of what it reads"):
        call(shapes.cast, whole, to=99)
