"""relu, sigmoid and swish on vectors; ``minimix.ops.pointwise`` says what they mean.

``sigmoid(x) = 1 / (1 + 2^t)`` with ``t = -x / ln 2``.  2^t is split into a whole power, added to
the exponent bits, and 2^f for f in -0.5..0.5 by a polynomial of degree 6.  t is clamped to
-126..126, where sigmoid is 1 - 1e-38 or 1e-38; a NaN stays a NaN.
Error bounds, tested over the whole float range: sigmoid 3e-7 relative (down to x = -87, below
that 2e-38 absolute); swish 4e-7 of |x| sigmoid(x), 2e-36 absolute below x = -87.
"""

from __future__ import annotations

from minimix.engine.kernels.builder import Kernel, Value

_LOG2_E = 1.4426950408889634
_ROUND = 12582912.0  # 1.5 * 2^23: adding it leaves the nearest whole number in the low bits
_EXP2 = (  # 2^f on -0.5..0.5, highest power first; relative error 1e-9 before rounding
    1.5353362e-4,
    1.3398874e-3,
    9.6184373e-3,
    5.5503324e-2,
    2.4022648e-1,
    6.9314720e-1,
    1.0,
)


def _exp2(k: Kernel, t: Value) -> Value:
    """2^t for t in -126..126."""
    rounding = k.constant(_ROUND)
    shifted = k.arithmetic("fadd", t, rounding)
    f = k.arithmetic("fsub", t, k.arithmetic("fsub", shifted, rounding))
    power = k.constant(_EXP2[0])
    for coefficient in _EXP2[1:]:
        power = k.fma(power, f, k.constant(coefficient))
    whole = k.value(f"bitcast {k.vector} {shifted} to {k.integers}")
    exponent = k.value(f"shl {k.integers} {whole}, {k.integer_constant(23)}")
    bits = k.value(f"bitcast {k.vector} {power} to {k.integers}")
    scaled = k.value(f"add {k.integers} {bits}, {exponent}")
    return k.value(f"bitcast {k.integers} {scaled} to {k.vector}")


def _reciprocal(k: Kernel, d: Value) -> Value:
    """1 / d: a 14-bit estimate and one Newton step on AVX-512, else a division."""
    if not k.wide_x86:
        return k.arithmetic("fdiv", k.constant(1.0), d)
    estimate = k.call(
        k.vector,
        "llvm.x86.avx512.rcp14.ps.512",
        (k.vector, d),
        (k.vector, "zeroinitializer"),
        ("i16", "-1"),
    )
    minus = k.value(f"fneg {k.vector} {d}")
    return k.arithmetic("fmul", estimate, k.fma(minus, estimate, k.constant(2.0)))


def sigmoid(k: Kernel, x: Value) -> Value:
    """1 / (1 + exp(-x))."""
    t = k.arithmetic("fmul", x, k.constant(-_LOG2_E))
    for comparison, bound in (("ogt", 126.0), ("olt", -126.0)):
        # An ordered comparison is false for NaN, which therefore passes through.
        t = k.select(comparison, t, k.constant(bound), k.constant(bound), t)
    return _reciprocal(k, k.arithmetic("fadd", _exp2(k, t), k.constant(1.0)))


def relu(k: Kernel, x: Value) -> Value:
    """max(x, 0); a NaN stays a NaN."""
    zero = k.constant(0.0)
    return k.select("olt", x, zero, zero, x)


def activate(k: Kernel, x: Value, activation: str | None) -> Value:
    """Apply an activation by its name; ``None`` does nothing."""
    match activation:
        case None:
            return x
        case "relu":
            return relu(k, x)
        case "sigmoid":
            return sigmoid(k, x)
        case "swish":
            return k.arithmetic("fmul", x, sigmoid(k, x))
    raise ValueError(activation)
