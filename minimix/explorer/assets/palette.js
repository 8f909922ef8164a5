"use strict";
// One visual language, as in minimix/palette.py: kernel sizes by colour, hatch and label; one
// sequential map for activations, one diverging map with zero in its middle for signed numbers.

const SEQUENTIAL = [[0.2, 0.01, -0.1], [0.42, -0.06, -0.09], [0.66, -0.11, 0.02], [0.92, -0.03, 0.16]];
const DIVERGING = [
  [0.45, -0.05, -0.12], [0.72, -0.03, -0.06], [0.96, 0, 0], [0.74, 0.08, 0.1], [0.52, 0.14, 0.1],
];
const KERNEL_SIZES = [3, 5, 7, 9, 11];

// OKLab -> linear sRGB (Ottosson, 2020).
function linearOf([lightness, a, b]) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
}

function encoded(linear) {
  const x = Math.min(1, Math.max(0, linear));
  return Math.round(255 * (x <= 0.0031308 ? 12.92 * x : 1.055 * x ** (1 / 2.4) - 0.055));
}

// Anchors -> 256 colours [r, g, b].
function colourTable(anchors) {
  return Array.from({ length: 256 }, (_, n) => {
    const place = (n * (anchors.length - 1)) / 255;
    const left = Math.min(Math.floor(place), anchors.length - 2);
    const share = place - left;
    return linearOf(anchors[left].map((x, k) => x + share * (anchors[left + 1][k] - x))).map(encoded);
  });
}

const TABLES = { sequential: colourTable(SEQUENTIAL), diverging: colourTable(DIVERGING) };

// The same as pixels of a canvas.
const PIXELS = Object.fromEntries(
  Object.entries(TABLES).map(([name, table]) => [
    name,
    Uint32Array.from(table, (rgb) => {
      const pixel = new Uint8ClampedArray([...rgb, 255]);
      return new Uint32Array(pixel.buffer)[0];
    }),
  ]),
);

// A number between low and high -> its place in a map, 0 to 255.
function placeOf(x, low, high) {
  if (!(high > low)) return 0;
  return Math.round(255 * Math.min(1, Math.max(0, (x - low) / (high - low))));
}

// A map's name, a number, the scale -> "rgb(r, g, b)".
function colourOf(map, x, low, high) {
  return `rgb(${TABLES[map][placeOf(x, low, high)].join(", ")})`;
}

// Black or white, whichever is readable on that colour.
function inkOn(map, x, low, high) {
  const [r, g, b] = TABLES[map][placeOf(x, low, high)];
  return 0.2126 * r ** 2.2 + 0.7152 * g ** 2.2 + 0.0722 * b ** 2.2 > 0.19 * 255 ** 2.2
    ? "#111" : "#fff";
}

// An extent in px -> the class of its colour and hatch.
function kernelClass(extent) {
  return KERNEL_SIZES.includes(extent) ? `k${extent}` : "kother";
}

// An extent in px -> a swatch with its label.
function kernelChip(extent) {
  return el(
    "span", { class: "chip" },
    el("span", { class: `swatch ${kernelClass(extent)}`, "aria-hidden": "true" }),
    `${extent} × ${extent}`,
  );
}
