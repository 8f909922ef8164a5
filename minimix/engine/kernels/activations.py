"""relu, sigmoid and swish on vectors; ``minimix.ops.pointwise`` says what they mean.

``sigmoid(x) = 1 / (1 + 2^t)`` with ``t = -x / ln 2``.  t is split into a whole number n and f in
-0.5..0.5, exactly but for the rounding of 1 / ln 2; 2^f is a polynomial of degree 5, 2^n an
exponent.  x is clamped to -87..87, beyond which sigmoid is 0 or 1 as far as float32 can tell from
1e-38; swish multiplies by an x that is clamped below, so that minus infinity gives -1e-36.  A NaN
stays a NaN.  Largest relative errors, of either function at any width: 6e-7 from x = -20 up, 2e-6
from there down to -87; below that the absolute error is 2e-38 for sigmoid and 2e-36 for swish.
"""

from __future__ import annotations

from minimix.engine.kernels.builder import Kernel, Value

_LOG2_E = 1.4426950408889634
_BOUND = 87.0
_ROUND = 12582912.0  # 1.5 * 2^23: adding it leaves the nearest whole number in the low bits
_EXP2 = (1.3264727e-3, 9.671513e-3, 5.5507336e-2, 2.4022242e-1, 6.93147e-1, 1.0)
"""2^f on -0.5..0.5, highest power first: minimax, relative error 1.1e-7."""


def _scale(k: Kernel, power: Value, shifted: Value, whole: Value) -> Value:
    """power * 2^whole, ``shifted`` being whole + ``_ROUND``."""
    if k.wide_x86:
        return k.call(
            k.vector,
            "llvm.x86.avx512.mask.scalef.ps.512",
            (k.vector, power),
            (k.vector, whole),
            (k.vector, power),
            ("i16", "-1"),
            ("i32", "4"),
        )
    low = k.value(f"bitcast {k.vector} {shifted} to {k.integers}")
    exponent = k.value(f"shl {k.integers} {low}, {k.integer_constant(23)}")
    bits = k.value(f"bitcast {k.vector} {power} to {k.integers}")
    scaled = k.value(f"add {k.integers} {bits}, {exponent}")
    return k.value(f"bitcast {k.integers} {scaled} to {k.vector}")


def _exp_of_minus(k: Kernel, x: Value) -> Value:
    """exp(-x) for x in -87..87."""
    minus_log2_e, rounding = k.constant(-_LOG2_E), k.constant(_ROUND)
    shifted = k.fma(x, minus_log2_e, rounding)
    whole = k.arithmetic("fsub", shifted, rounding)
    f = k.fma(x, minus_log2_e, k.value(f"fneg {k.vector} {whole}"))
    power = k.constant(_EXP2[0])
    for coefficient in _EXP2[1:]:
        power = k.fma(power, f, k.constant(coefficient))
    return _scale(k, power, shifted, whole)


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


def _at_least(k: Kernel, x: Value, bound: float) -> Value:
    # An ordered comparison is false for NaN, which therefore passes through.
    return k.select("olt", x, k.constant(bound), k.constant(bound), x)


def _sigmoid_from(k: Kernel, x: Value) -> Value:
    """sigmoid of an x that is at least -87."""
    x = k.select("ogt", x, k.constant(_BOUND), k.constant(_BOUND), x)
    return _reciprocal(k, k.arithmetic("fadd", _exp_of_minus(k, x), k.constant(1.0)))


def sigmoid(k: Kernel, x: Value) -> Value:
    """1 / (1 + exp(-x))."""
    result = _sigmoid_from(k, _at_least(k, x, -_BOUND))
    return k.select("uno", x, x, x, result)


def swish(k: Kernel, x: Value) -> Value:
    """x * sigmoid(x)."""
    x = _at_least(k, x, -_BOUND)
    return k.arithmetic("fmul", x, _sigmoid_from(k, x))


def relu(k: Kernel, x: Value) -> Value:
    """max(x, 0); a NaN stays a NaN."""
    return _at_least(k, x, 0.0)


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
            return swish(k, x)
    raise ValueError(activation)
