"""Compiled code, one library a process: what is missing is loaded from disk, or compiled."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property, partial

import llvmlite.binding as llvm

from minimix.engine.kernels import jit
from minimix.engine.kernels.builder import Emitter
from minimix.engine.kernels.cache import CodeCache, environment_key, shared_cache

OnCompile = Callable[[int], object]
"""Told how many functions are still to be compiled: before the first one, and after each."""

_Compile = Callable[[list[str]], Iterator[tuple[str, bytes]]]
"""Names -> names and object code, one after the other as they are done."""


UNUSED_KEPT = 32
"""Pieces of code that stay loaded though nothing uses them: who wants them again need not wait.

Each holds what one plan needed beyond the others, most often the rows of another width: some 50 to
200 KB.
"""


class Addresses(dict[str, int]):
    """Where functions begin, by name.  They stay in memory for as long as this object does."""

    def __init__(self, code: Mapping[str, jit.Library]) -> None:
        super().__init__({name: library.address(name) for name, library in code.items()})
        self.code = frozenset(code.values())


class CodeLibrary:
    """Functions that are loaded, and found on disk or compiled before that.

    Args:
        settings: what their code depends on besides the machine.
        on_disk: where compiled code is kept; by default the cache that all libraries share.

    Attributes:
        on_compile: called while something is compiled; not at all where all of it was found.
    """

    def __init__(self, settings: Iterable[object], on_disk: CodeCache | None = None) -> None:
        self.on_disk = shared_cache() if on_disk is None else on_disk
        self.on_compile: OnCompile | None = None
        self._settings = tuple(settings)
        self._loaded: dict[str, jit.Library] = {}
        self._given: list[weakref.ref[Addresses]] = []
        self._lock = threading.Lock()

    @cached_property
    def _key(self) -> bytes:
        """What the code depends on; a cache that cannot know it is closed."""
        try:
            return environment_key((*jit.host(), *self._settings))
        except OSError as error:
            self.on_disk.close(error)
            return b""

    def _find(self, names: Iterable[str], compile_: _Compile) -> Addresses:
        """Where the functions begin."""
        with self._lock:
            missing = [name for name in names if name not in self._loaded]
            if missing:
                library = jit.Library(self._objects(missing, compile_).values())
                self._loaded |= dict.fromkeys(missing, library)
            found = Addresses({name: self._loaded[name] for name in names})
            self._given.append(weakref.ref(found))
            self._forget()
            return found

    def _forget(self) -> None:
        """Let go of the oldest code that nothing uses.

        Only here, where the caller holds the locks that a fork waits for: LLVM has locks of its
        own, which nobody may hold while a process forks.
        """
        self._given = [given for given in self._given if given() is not None]
        used = {code for given in self._given if (alive := given()) for code in alive.code}
        unused = [code for code in dict.fromkeys(self._loaded.values()) if code not in used]
        gone = set(unused[: max(0, len(unused) - UNUSED_KEPT)])
        if gone:
            self._loaded = {n: code for n, code in self._loaded.items() if code not in gone}

    def _objects(self, names: list[str], compile_: _Compile) -> dict[str, bytes]:
        """Object code from disk, or compiled and kept there."""
        found = self.on_disk.load(self._key, names)
        absent = [name for name in names if name not in found]
        if absent:
            self._tell(len(absent))
            for done, (name, code) in enumerate(compile_(absent), 1):
                self.on_disk.store(self._key, name, code)
                found[name] = code
                self._tell(len(absent) - done)
        return found

    def _tell(self, left: int) -> None:
        if self.on_compile is not None:
            self.on_compile(left)


class KernelLibrary(CodeLibrary):
    """Kernels for one vector width.

    Args:
        width: floats per vector.
        registers: vector registers that kernels may fill.
        wide_x86: whether AVX-512 instructions may be used by name.
        on_disk: see ``CodeLibrary``.
    """

    def __init__(
        self,
        width: int,
        registers: int,
        *,
        wide_x86: bool = False,
        on_disk: CodeCache | None = None,
    ) -> None:
        super().__init__((width, registers, wide_x86), on_disk)
        self.width, self.registers, self.wide_x86 = width, registers, wide_x86

    def addresses(self, kernels: Mapping[str, Emitter]) -> Addresses:
        """Where the kernels begin, loading or compiling those that are not there yet."""
        return self._find(kernels, partial(self._compile, kernels))

    def _compile(
        self, kernels: Mapping[str, Emitter], names: list[str]
    ) -> Iterator[tuple[str, bytes]]:
        chosen = [kernels[name] for name in names]
        return jit.compile_kernels(chosen, self.width, wide_x86=self.wide_x86)


class SchedulerLibrary(CodeLibrary):
    """The scheduler's functions.  Numba is imported only where they must be compiled."""

    def __init__(self, on_disk: CodeCache | None = None) -> None:
        super().__init__((), on_disk)
        self._kept: list[Addresses] = []

    def addresses(self) -> tuple[int, int, int]:
        """Where ``run_alone``, ``run_together`` and ``work`` begin, until the process ends."""
        found = self._find(("run_alone", "run_together", "work"), self._compile)
        self._kept.append(found)
        return found["run_alone"], found["run_together"], found["work"]

    def _compile(self, names: list[str]) -> Iterator[tuple[str, bytes]]:
        from minimix.engine.kernels import scheduler

        for name, text in scheduler.exported():
            if name in names:
                yield name, jit.compile_exported(text, name)


@cache
def scheduler_library() -> SchedulerLibrary:
    """Return the process's scheduler."""
    return SchedulerLibrary()


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
