"""Call one compiled kernel on arrays, as the scheduler does: by address, with a row of integers.

``bench.call(kernel, planes, weights, 3)`` passes arrays by address and numbers as they are.  What
a kernel may not touch is NaN, or is looked at again: see ``Bench.guarded`` and ``Target``.
"""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

from minimix.engine.kernels.builder import Emitter
from minimix.engine.kernels.job import ROW
from minimix.engine.kernels.library import library_for
from minimix.engine.packing import aligned

EPS = float(np.finfo(np.float32).eps)
GUARD = 64
"""Vectors on both sides of an array that a kernel must not use."""


def needed_feature(width):
    """What a processor must have for vectors of so many floats; None for what all have."""
    is_x86 = llvm.get_process_triple().startswith("x86_64")
    return {16: "avx512f", 8: "avx2"}.get(width) if is_x86 else None


def skip_unless_possible(width):
    """Skip a test of a width for which this processor has no instructions."""
    feature = needed_feature(width)
    if feature is not None and not llvm.get_host_cpu_features().get(feature, False):
        pytest.skip(f"vectors of {width} floats need {feature}, which this processor has not")


class Bench:
    """Kernels of one width, compiled together.

    Args:
        width: floats per vector.
        kernels: all that will be called.
    """

    def __init__(self, width: int, kernels) -> None:
        skip_unless_possible(width)
        self.width, self.vector_bytes = width, width * 4
        named: dict[str, Emitter] = {kernel.name: kernel for kernel in kernels}
        self.addresses = library_for(width).addresses(named)

    def call(self, kernel, *arguments) -> None:
        """Run a kernel on a row of arguments: arrays and numbers."""
        row = np.full(ROW // 8, -1, np.int64)
        for n, argument in enumerate(arguments):
            is_array = isinstance(argument, np.ndarray)
            row[n] = argument.ctypes.data if is_array else argument
        ctypes.CFUNCTYPE(None, ctypes.c_int64)(self.addresses[kernel.name])(row.ctypes.data)

    def guarded(self, count):
        """((count, V), the same with vectors in front and behind); aligned, all NaN."""
        size = (count + 2 * GUARD) * self.width
        memory = aligned(size * 4).view(np.float32).reshape(-1, self.width)
        memory[:] = np.nan
        return memory[GUARD : GUARD + count], memory

    def filled(self, array):
        """(n, V) -> the same, aligned, with NaN in front and behind."""
        inner, _ = self.guarded(len(array))
        inner[:] = array
        return inner

    def random(self, rng, count):
        """(count, V) numbers in -1..1."""
        return self.filled(rng.uniform(-1, 1, (count, self.width)).astype(np.float32))


class Target:
    """Vectors that a kernel writes some of; the others, and those around, must stay.

    Args:
        bench: whose vectors these are.
        count: how many there are.
    """

    MARK = np.float32(-1234.5)

    def __init__(self, bench: Bench, count: int) -> None:
        self.values, self._all = bench.guarded(count)
        self.values[:] = self.MARK

    def check_rest(self, written: slice) -> None:
        """Check that nothing but a range of vectors was written."""
        inner = self.values.copy()
        assert not (inner[written] == self.MARK).any(), "not everything was written"
        inner[written] = self.MARK
        assert (inner == self.MARK).all(), "something else was written"
        outside = np.isnan(self._all).all(axis=1).sum()
        assert outside == len(self._all) - len(inner), "something outside was written"


def assert_sums_close(actual, expected, terms):
    """Check sums of ``terms`` products of numbers in -1..1."""
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, rtol=0, atol=4 * EPS * max(terms, 1))
