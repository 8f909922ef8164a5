"""Compiled kernels, one library a process: what is missing is compiled, what is there is found."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache

import llvmlite.binding as llvm

from minimix.engine.kernels.builder import Emitter
from minimix.engine.kernels.jit import Library, compile_kernels


class KernelLibrary:
    """Kernels for one vector width.

    Args:
        width: floats per vector.
        registers: vector registers that kernels may fill.
        wide_x86: whether AVX-512 instructions may be used by name.
    """

    def __init__(self, width: int, registers: int, *, wide_x86: bool = False) -> None:
        self.width, self.registers, self.wide_x86 = width, registers, wide_x86
        self._libraries: list[Library] = []
        self._addresses: dict[str, int] = {}
        self._lock = threading.Lock()

    def addresses(self, kernels: Mapping[str, Emitter]) -> dict[str, int]:
        """Where the kernels begin, compiling those that are not there yet."""
        with self._lock:
            missing = [k for name, k in kernels.items() if name not in self._addresses]
            if missing:
                code = compile_kernels(missing, self.width, wide_x86=self.wide_x86)
                library = Library([code])
                self._libraries.append(library)
                self._addresses |= {k.name: library.address(k.name) for k in missing}
            return {name: self._addresses[name] for name in kernels}


@cache
def library_for(width: int) -> KernelLibrary:
    """Return the process's library of one width: 16 (AVX-512), 8 (AVX2) or 4 (NEON, SSE)."""
    features = llvm.get_host_cpu_features()
    is_arm = llvm.get_process_triple().startswith(("aarch64", "arm64"))
    many = width == 16 or is_arm
    return KernelLibrary(
        width, 32 if many else 16, wide_x86=width == 16 and features.get("avx512f", False)
    )


def host_library() -> KernelLibrary:
    """Return the library of the widest vectors that this machine has."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f", False):
        return library_for(16)
    return library_for(8 if features.get("avx2", False) and features.get("fma", False) else 4)
