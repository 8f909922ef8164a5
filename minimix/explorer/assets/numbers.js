"use strict";
// Numbers as people read them, each with its unit.

const NARROW = "\u202f";
const MINUS = "\u2212";

// 15392736 -> "15 392 736".
function whole(n) {
  return String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, NARROW);
}

// To so many significant digits; very small ones as 1.3e−7.
function number(x, digits = 4) {
  if (x === 0) return "0";
  const size = Math.abs(x);
  const text =
    size < 1e-4 || size >= 1e7
      ? x.toExponential(digits - 2)
      : x.toFixed(Math.min(6, Math.max(0, digits - 1 - Math.floor(Math.log10(size)))));
  return text.replace("e+", "e").replaceAll("-", MINUS);
}

// With so many digits after the point.
function fixed(x, digits) {
  const text = x.toFixed(digits);
  return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", MINUS);
}

// 15392736, "MACs" -> "15.4 M MACs".
function short(n, unit) {
  const scales = [[1e9, "G"], [1e6, "M"], [1e3, "k"]];
  const [scale, letter] = scales.find(([least]) => n >= least) ?? [1, ""];
  const count = scale === 1 ? String(n) : (n / scale).toPrecision(3);
  return `${count}${letter && NARROW + letter} ${unit}`;
}

// 110592 -> "111 kB".
function bytes(n) {
  const scales = [[1e6, "MB"], [1e3, "kB"]];
  const [scale, unit] = scales.find(([least]) => n >= least) ?? [1, "B"];
  return `${scale === 1 ? n : (n / scale).toPrecision(3)} ${unit}`;
}

// 0.0165405 -> "0.0165 ms".
function milliseconds(ms) {
  if (ms === 0 || ms >= 100) return `${whole(ms)} ms`;
  return `${ms.toPrecision(3)} ms`;
}

// 0.9451 -> "94.5 %".
function percent(share) {
  return `${fixed(100 * share, 1)}${NARROW}%`;
}

// 1, "channel" -> "1 channel"; 2 -> "2 channels".
function plural(n, noun) {
  return `${whole(n)} ${noun}${n === 1 ? "" : "s"}`;
}

// A number as text, with its exact value beside it for programs.
function quantity(value, text, attributes = {}) {
  return el("data", { value: String(value), ...attributes }, text);
}

// [48, 48, 8] -> "48 × 48 × 8".
function shapeText(shape) {
  return shape.join(" × ");
}
