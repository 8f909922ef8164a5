"""What the scheduler needs of the machine and Numba does not offer: atomics and calls by address.

Most functions are one or two LLVM instructions on 64-bit integers in memory, given by address; the
last two change how the thread's processor treats denormal numbers.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_I64 = ir.IntType(64)
_WORD = types.int64

_X86, _ARM = ("x86_64", "i686", "i386"), ("aarch64", "arm64")
_FLUSH_X86 = 0x8040
"""Bits of MXCSR: flush denormal results to zero, take denormal operands for zero."""
_FLUSH_ARM = 1 << 24
"""The bit of FPCR that does both."""


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, _I64.as_pointer())


@intrinsic
def load_word(typing: Any, address: Any) -> Any:
    """The word at an address; sees what others stored before."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_pointer(builder, arguments[0]), "seq_cst", 8, typ=_I64)

    return _WORD(_WORD), emit


@intrinsic
def store_word(typing: Any, address: Any, value: Any) -> Any:
    """Store a word; whoever sees it sees all that was stored before."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store_atomic(arguments[1], _pointer(builder, arguments[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(_WORD, _WORD), emit


@intrinsic
def add_word(typing: Any, address: Any, value: Any) -> Any:
    """Add to a word; returns what it was."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(builder, arguments[0])
        return builder.atomic_rmw("add", pointer, arguments[1], "seq_cst")

    return _WORD(_WORD, _WORD), emit


@intrinsic
def swap_if(typing: Any, address: Any, expected: Any, value: Any) -> Any:
    """Store ``value`` if the word is ``expected``; returns whether it was."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(builder, arguments[0])
        pair = builder.cmpxchg(pointer, arguments[1], arguments[2], "seq_cst", "seq_cst")
        return builder.extract_value(pair, 1)

    return types.boolean(_WORD, _WORD, _WORD), emit


@intrinsic
def call_kernel(typing: Any, row: Any) -> Any:
    """Call the kernel whose address begins a row with the rest of the row."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kernel = builder.load(_pointer(builder, arguments[0]))
        kind = ir.FunctionType(ir.VoidType(), [_I64])
        rest = builder.add(arguments[0], ir.Constant(_I64, 8))
        builder.call(builder.inttoptr(kernel, kind.as_pointer()), [rest])
        return context.get_dummy_value()

    return types.void(_WORD), emit


@intrinsic
def call_function(typing: Any, address: Any, first: Any, second: Any) -> Any:
    """Call a C function of two words, or fewer, by its address."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(_I64, [_I64, _I64])
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        return builder.call(function, arguments[1:])

    return _WORD(_WORD, _WORD, _WORD), emit


@intrinsic
def pause(typing: Any) -> Any:
    """Tell the processor that this is a waiting loop, where it can be told."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        triple = str(builder.module.triple)
        if triple.startswith(_X86):
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        elif triple.startswith(_ARM):
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)])
            name = "llvm.aarch64.hint"
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            builder.call(function, [ir.Constant(ir.IntType(32), 1)])
        return context.get_dummy_value()

    return types.void(), emit


def _intrinsic_function(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    kind = ir.FunctionType(result, arguments)
    return cgutils.get_or_insert_function(builder.module, kind, name)


def _get_state(builder: Any) -> Any:
    """The floating-point control register as 64 bits; 0 where we know none."""
    triple = str(builder.module.triple)
    if triple.startswith(_X86):
        place = cgutils.alloca_once(builder, ir.IntType(32))
        store = _intrinsic_function(
            builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), ir.IntType(8).as_pointer()
        )
        builder.call(store, [builder.bitcast(place, ir.IntType(8).as_pointer())])
        return builder.zext(builder.load(place), _I64)
    if triple.startswith(_ARM):
        return builder.call(_intrinsic_function(builder, "llvm.aarch64.get.fpcr", _I64), [])
    return ir.Constant(_I64, 0)


def _set_state(builder: Any, state: Any) -> None:
    triple = str(builder.module.triple)
    if triple.startswith(_X86):
        place = cgutils.alloca_once(builder, ir.IntType(32))
        builder.store(builder.trunc(state, ir.IntType(32)), place)
        load = _intrinsic_function(
            builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), ir.IntType(8).as_pointer()
        )
        builder.call(load, [builder.bitcast(place, ir.IntType(8).as_pointer())])
    elif triple.startswith(_ARM):
        set_ = _intrinsic_function(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), _I64)
        builder.call(set_, [state])


@intrinsic
def flush_denormals(typing: Any) -> Any:
    """Have this thread take denormal numbers for zero; returns the state to restore.

    Processors compute with denormals many times slower than with all other numbers, and below
    1.2e-38 there is nothing that a logit could tell.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        is_x86 = str(builder.module.triple).startswith(_X86)
        before = _get_state(builder)
        bits = ir.Constant(_I64, _FLUSH_X86 if is_x86 else _FLUSH_ARM)
        _set_state(builder, builder.or_(before, bits))
        return before

    return _WORD(), emit


@intrinsic
def restore_state(typing: Any, state: Any) -> Any:
    """Have this thread compute as it did: what a caller has set is the caller's."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _set_state(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(_WORD), emit
