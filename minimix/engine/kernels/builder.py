"""A small writer of LLVM IR, so that the kernels beside this file read as loops over vectors.

A kernel is a Python function that is run once and writes another function: ``k.fma(a, b, c)`` adds
one instruction and returns the name of its result.  Python loops unroll, ``k.loop`` does not.
Vectors are explicit: ``<V x float>``, V being the machine's width, so that nothing depends on what
a vectoriser can prove.  Every kernel has the type ``void(int64 *row)``: a row of the plan holds
its arguments.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

Value = str
"""An SSA name or a constant, as LLVM spells it."""
Integer = int | Value

FLOAT_BYTES = 4
ROW_BYTES = 8


class Kernel:
    """One function under construction.

    Args:
        name: of the symbol; unique in its module.
        width: floats per vector: 4, 8 or 16.
        wide_x86: whether AVX-512 instructions may be used by name.
    """

    def __init__(self, name: str, width: int, *, wide_x86: bool = False) -> None:
        self.name = name
        self.width = width
        self.wide_x86 = wide_x86 and width == 16
        self.vector = f"<{width} x float>"
        self.integers = f"<{width} x i32>"
        self.vector_bytes = width * FLOAT_BYTES
        self.declarations: set[str] = set()
        self._entry: list[str] = []
        self._body: list[str] = []
        self._count = 0

    # --- instructions ---

    def _new(self) -> str:
        self._count += 1
        return f"%v{self._count}"

    def emit(self, text: str) -> None:
        """Add an instruction without a result."""
        self._body.append(f"  {text}")

    def value(self, text: str) -> Value:
        """Add an instruction and return its result."""
        name = self._new()
        self._body.append(f"  {name} = {text}")
        return name

    def call(self, result: str, function: str, *arguments: tuple[str, Value]) -> Value:
        """Call an LLVM intrinsic; arguments are (type, value)."""
        types = ", ".join(kind for kind, _ in arguments)
        self.declarations.add(f"declare {result} @{function}({types})")
        listed = ", ".join(f"{kind} {value}" for kind, value in arguments)
        return self.value(f"call {result} @{function}({listed})")

    # --- integers and addresses ---

    def argument(self, index: int) -> Value:
        """The row's integer at ``index``."""
        return self.value(f"load i64, ptr {self.at('%row', index * ROW_BYTES)}, align 8")

    def pointer(self, index: int) -> Value:
        """The row's address at ``index``."""
        return self.value(f"inttoptr i64 {self.argument(index)} to ptr")

    def add(self, a: Integer, b: Integer) -> Integer:
        """a + b."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        return a if b == 0 else b if a == 0 else self.value(f"add i64 {a}, {b}")

    def sub(self, a: Integer, b: Integer) -> Integer:
        """a - b."""
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return a if b == 0 else self.value(f"sub i64 {a}, {b}")

    def mul(self, a: Integer, b: Integer) -> Integer:
        """a * b."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        return self.value(f"mul i64 {a}, {b}")

    def largest(self, a: Integer, b: Integer) -> Value:
        """max(a, b), signed."""
        return self.call("i64", "llvm.smax.i64", ("i64", str(a)), ("i64", str(b)))

    def smallest(self, a: Integer, b: Integer) -> Value:
        """min(a, b), signed."""
        return self.call("i64", "llvm.smin.i64", ("i64", str(a)), ("i64", str(b)))

    def at(self, base: Value, offset_bytes: Integer) -> Value:
        """The address ``offset_bytes`` behind ``base``."""
        if offset_bytes == 0:
            return base
        return self.value(f"getelementptr i8, ptr {base}, i64 {offset_bytes}")

    # --- vectors ---

    def constant(self, number: float) -> Value:
        """A vector with the same number everywhere."""
        # LLVM spells floats as the bits of the double of the same value.
        single = struct.unpack("<f", struct.pack("<f", number))[0]
        bits = struct.unpack("<Q", struct.pack("<d", single))[0]
        return "<" + ", ".join([f"float 0x{bits:016X}"] * self.width) + ">"

    def integer_constant(self, number: int) -> Value:
        """A vector of 32-bit integers with the same number everywhere."""
        return "<" + ", ".join([f"i32 {number}"] * self.width) + ">"

    def load(self, base: Value, offset_bytes: Integer = 0) -> Value:
        """V floats from an address that is aligned to them."""
        where = self.at(base, offset_bytes)
        return self.value(f"load {self.vector}, ptr {where}, align {self.vector_bytes}")

    def store(self, vector: Value, base: Value, offset_bytes: Integer = 0) -> None:
        """V floats to an address that is aligned to them."""
        where = self.at(base, offset_bytes)
        self.emit(f"store {self.vector} {vector}, ptr {where}, align {self.vector_bytes}")

    def splat(self, base: Value, offset_bytes: Integer = 0) -> Value:
        """One float from memory, in every lane."""
        scalar = self.value(f"load float, ptr {self.at(base, offset_bytes)}, align 4")
        first = self.value(f"insertelement {self.vector} poison, float {scalar}, i32 0")
        return self.value(
            f"shufflevector {self.vector} {first}, {self.vector} poison, "
            f"{self.integers} zeroinitializer"
        )

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, fused where the machine can."""
        kind = self.vector
        name = f"llvm.fmuladd.v{self.width}f32"
        return self.call(kind, name, (kind, a), (kind, b), (kind, c))

    def arithmetic(self, operation: str, a: Value, b: Value) -> Value:
        """``fadd``, ``fsub``, ``fmul`` or ``fdiv`` of two vectors."""
        return self.value(f"{operation} {self.vector} {a}, {b}")

    def sum_of(self, vectors: Iterable[Value]) -> Value:
        """Their sum, in pairs and pairs of pairs: the chains are short, and little is lost.

        Each is added as soon as its pair is there, so that few are alive at a time.
        """
        sums: list[tuple[int, Value]] = []  # (how many were added, their sum)
        for vector in vectors:
            count = 1
            while sums and sums[-1][0] == count:
                vector, count = self.arithmetic("fadd", sums.pop()[1], vector), 2 * count
            sums.append((count, vector))
        _, total = sums.pop()
        while sums:
            total = self.arithmetic("fadd", sums.pop()[1], total)
        return total

    def select(self, comparison: str, a: Value, b: Value, then: Value, otherwise: Value) -> Value:
        """Lane by lane: ``then`` where ``a <comparison> b`` is true, else ``otherwise``."""
        mask = self.value(f"fcmp {comparison} {self.vector} {a}, {b}")
        return self.value(
            f"select <{self.width} x i1> {mask}, {self.vector} {then}, {self.vector} {otherwise}"
        )

    def prefetch(self, base: Value, offset_bytes: Integer = 0, locality: int = 2) -> None:
        """Ask for a cache line ahead of time."""
        self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        where = self.at(base, offset_bytes)
        self.emit(f"call void @llvm.prefetch.p0(ptr {where}, i32 0, i32 {locality}, i32 1)")

    # --- variables and loops ---

    def variable(self, initial: Value | None = None, kind: str | None = None) -> Variable:
        """Something that changes: LLVM keeps it in a register."""
        name = self._new()
        self._entry.append(f"  {name} = alloca {kind or self.vector}")
        variable = Variable(self, name, kind or self.vector)
        if initial is not None:
            variable.set(initial)
        return variable

    def variables(self, count: int) -> list[Variable]:
        """Several vector variables."""
        return [self.variable() for _ in range(count)]

    @contextmanager
    def loop(self, start: Integer, stop: Integer, step: int = 1) -> Iterator[Value]:
        """``for i in range(start, stop, step)``: yields i."""
        index = self.variable(str(start), "i64")
        self._count += 1
        label = f"loop{self._count}"
        self.emit(f"br label %{label}.test")
        self._body.append(f"{label}.test:")
        i = index.get()
        condition = self.value(f"icmp slt i64 {i}, {stop}")
        self.emit(f"br i1 {condition}, label %{label}.body, label %{label}.end")
        self._body.append(f"{label}.body:")
        yield i
        index.set(str(self.add(i, step)))
        self.emit(f"br label %{label}.test")
        self._body.append(f"{label}.end:")

    # --- the result ---

    def text(self) -> str:
        """The function as LLVM IR."""
        lines = [
            f"define void @{self.name}(ptr noalias %row) #0 {{",
            "entry:",
            *self._entry,
            *self._body,
            "  ret void",
            "}",
        ]
        return "\n".join(lines)


class Variable:
    """A value that changes while the kernel runs."""

    def __init__(self, kernel: Kernel, name: str, kind: str) -> None:
        self.kernel, self.name, self.kind = kernel, name, kind

    def get(self) -> Value:
        """Its current value."""
        return self.kernel.value(f"load {self.kind}, ptr {self.name}")

    def set(self, value: Value) -> None:
        """Change it."""
        self.kernel.emit(f"store {self.kind} {value}, ptr {self.name}")


class Emitter(Protocol):
    """A kernel's description: a name, and how it is written."""

    @property
    def name(self) -> str:
        """The symbol."""

    def emit(self, k: Kernel) -> None:
        """Write the kernel."""


def module_text(kernels: Sequence[Kernel]) -> str:
    """Several kernels as one LLVM module."""
    declarations = sorted(set().union(*(kernel.declarations for kernel in kernels)))
    functions = [kernel.text() for kernel in kernels]
    return "\n".join([*declarations, "", *functions, "", "attributes #0 = { nounwind }", ""])
