"""Kernels that store a number each, and libraries of them: for tests of what is kept on disk."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from minimix.engine.kernels.cache import CodeCache
from minimix.engine.kernels.library import KernelLibrary
from minimix.engine.packing import aligned


@dataclass(frozen=True)
class Fill:
    """A kernel that stores one number in every lane.  Row: where."""

    number: float

    @property
    def name(self):
        return f"fill_{self.number:g}"

    def emit(self, k):
        k.store(k.constant(self.number), k.pointer(0))


def stored_by(address):
    """What the kernel at an address stores."""
    out = aligned(64).view(np.float32)
    row = np.array([out.ctypes.data], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_int64)(address)(row.ctypes.data)
    return out[0]


def library(folder):
    """A library of 4 floats, and the list of what it tells while it compiles."""
    made, told = KernelLibrary(4, 16, on_disk=CodeCache(folder)), []
    made.on_compile = told.append
    return made, told


def numbers(lib, *wanted):
    """The numbers that kernels for ``wanted`` store."""
    kernels = {Fill(number).name: Fill(number) for number in wanted}
    return [stored_by(address) for address in lib.addresses(kernels).values()]
