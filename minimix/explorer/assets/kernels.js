"use strict";
// Kernels as tiles, and the frequencies that they let through.

const AT_ONCE = 8; // tiles of a group that can be seen at first; the others follow in a moment
const FREQUENCIES = 25; // odd: frequency 0 lies in the middle

// A kernel (size × size) -> the magnitude of its 2-D Fourier transform, frequency 0 in the middle,
// from −½ to ½ cycles per px along either axis.
function spectrum(kernel, size) {
  const n = FREQUENCIES;
  const { cos, sin } = wavesOf(size);
  const found = new Float64Array(n * n);
  for (let k = 0; k < n; k++) {
    const [real, imaginary] = columnsAt(kernel, size, cos, sin, k);
    for (let m = 0; m < n; m++) {
      let re = 0, im = 0;
      for (let y = 0; y < size; y++) {
        const c = cos[m * size + y], s = sin[m * size + y];
        re += real[y] * c - imaginary[y] * s;
        im += real[y] * s + imaginary[y] * c;
      }
      found[m * n + k] = Math.hypot(re, im);
    }
  }
  return found;
}

// The waves of all frequencies at the px of a kernel's row, computed once for each size.
function wavesOf(size) {
  if (!wavesOf.known.has(size)) {
    const n = FREQUENCIES;
    const angles = Float64Array.from({ length: n * size }, (_, at) =>
      (-2 * Math.PI * (Math.floor(at / size) - (n - 1) / 2) * (at % size)) / (n - 1));
    wavesOf.known.set(size, { cos: angles.map(Math.cos), sin: angles.map(Math.sin) });
  }
  return wavesOf.known.get(size);
}
wavesOf.known = new Map();

// Every row of a kernel at horizontal frequency k.
function columnsAt(kernel, size, cos, sin, k) {
  const real = new Float64Array(size), imaginary = new Float64Array(size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      real[y] += kernel[y * size + x] * cos[k * size + x];
      imaginary[y] += kernel[y * size + x] * sin[k * size + x];
    }
  }
  return [real, imaginary];
}

// A group -> its kernels, each a list of planes (one, or one per input channel).
function kernelsOf(group) {
  const { channels, weights } = group.kernels;
  const flat = arrayOf(weights);
  const size = group.kernel_size;
  const depth = weights.shape[3] ?? 1;
  const area = size * size;
  return channels.map((channel, n) => ({
    channel,
    planes: depth === 1 ? [flat.subarray(n * area, (n + 1) * area)] : Array.from({ length: depth }, (_, c) => Float32Array.from(
      { length: area }, (_, k) => flat[(n * area + k) * depth + c])),
  }));
}

// The strength of a kernel at each frequency, over all its planes.
function responseOf(kernel, size) {
  const each = kernel.planes.map((plane) => spectrum(plane, size));
  if (each.length === 1) return each[0];
  return each[0].map((_, k) => Math.hypot(...each.map((of) => of[k])));
}

function kernelsPanel(node) {
  return panel(
    "Kernels", "Each kernel beside the frequencies it lets through: middle is even brightness, " +
      "the edge is ½ cycle per px. Blue weights subtract, red ones add.",
    el("div", { class: `kernel-groups groups-${node.groups.length}` },
      node.groups.map((group) => kernelGroup(node, group))),
  );
}

function kernelGroup(node, group) {
  const kernels = kernelsOf(group);
  const size = group.kernel_size;
  const limit = most(arrayOf(group.kernels.weights).map(Math.abs));
  const shown = el("div", { class: "kernel-shown", role: "status" });
  const tiles = el("div", { class: "scroller kernel-tiles", tabindex: "0", role: "group", "aria-label": `Kernels of ${group.extent} px` });
  const summary = el("div", { class: "kernel-summary" });
  const responses = [];
  const responseAt = (n) => (responses[n] ??= responseOf(kernels[n], size));
  const add = (kernel) => tiles.append(kernelTile(group, kernel, limit,
    () => shown.replaceChildren(kernelNumbers(group, kernel, limit))));
  const first = kernels.slice(0, AT_ONCE);
  first.forEach(add);
  const paintTile = (n, top) => paintSpectrum(tiles.children[n].querySelector("canvas:last-child"), responseAt(n), top);
  const strongest = (count) => Math.max(...Array.from({ length: count }, (_, n) => most(responseAt(n))));
  first.forEach((_, n) => paintTile(n, strongest(first.length)));
  // The scale is known when all responses are: then the first tiles get their final colours.
  const rest = function* () {
    for (let n = first.length; n < kernels.length; n++) {
      responseAt(n);
      yield;
    }
    const top = strongest(kernels.length);
    summary.replaceChildren(...kernelSummary(responses, size, limit, top));
    for (let n = 0; n < kernels.length; n++) {
      if (n >= first.length) add(kernels[n]);
      paintTile(n, top);
      yield;
    }
  };
  inSlices(rest(), tiles);
  return el(
    "div", { class: "kernel-group" },
    el("h4", {}, kernelChip(group.extent), `: ${kernels.length} of ${plural(group.channels, "kernel")}`,
      group.dilation > 1 ? `, ${size} × ${size} weights with dilation ${group.dilation}` : ""),
    summary, tiles, shown,
    asTable(`Kernels of ${group.extent} px in ${node.name}`, ["Channel", "Norm (L2)", "Sum of weights", "Strongest response"],
      () => kernels.map((kernel, n) => [String(kernel.channel), number(group.kernels.norms[n]),
        number(kernel.planes.reduce((sum, plane) => plane.reduce((a, b) => a + b, sum), 0)),
        number(most(responseAt(n)))])),
  );
}

// The mean response, and the scales of all that is shown of a group.
function kernelSummary(responses, size, limit, top) {
  const mean = responses[0].map((_, k) =>
    responses.reduce((sum, response) => sum + response[k], 0) / responses.length);
  return [
    el("figure", {}, spectrumImage(mean, most(mean), `Mean response of the ${size} × ${size} kernels`),
      el("figcaption", {}, "Mean response")),
    el("div", { class: "scales" },
      scaleBar("diverging", -limit, limit, "weight"), scaleBar("sequential", 0, top, "response, tiles"),
      scaleBar("sequential", 0, most(mean), "response, mean")),
  ];
}

function spectrumImage(values, top, label) {
  const canvas = el("canvas", { class: "spectrum", width: FREQUENCIES, height: FREQUENCIES, role: "img", "aria-label": label });
  paintSpectrum(canvas, values, top);
  return canvas;
}

function paintSpectrum(canvas, values, top) {
  paint(canvas, "sequential", Uint8Array.from(values, (x) => placeOf(x, 0, top)));
}

// A kernel's planes, and a canvas for its response.
function kernelTile(group, kernel, limit, onclick) {
  const size = group.kernel_size;
  const weights = kernel.planes.map((plane) => {
    const canvas = el("canvas", { class: "kernel", width: size, height: size });
    paint(canvas, "diverging", Uint8Array.from(plane, (x) => placeOf(x, -limit, limit)));
    return canvas;
  });
  const spectral = el("canvas", { class: "kernel", width: FREQUENCIES, height: FREQUENCIES });
  return el(
    "button", {
      type: "button", class: "tile kernel-tile", onclick,
      "aria-label": `Kernel of channel ${kernel.channel}; show its numbers`,
    },
    el("span", { class: "canvases", "aria-hidden": "true" }, weights, spectral),
    el("span", { class: "tile-name" }, `ch ${kernel.channel}`),
  );
}

// A kernel's numbers, each on its colour.
function kernelNumbers(group, kernel, limit) {
  const size = group.kernel_size;
  return el("div", {},
    el("p", {}, el("b", {}, `Kernel of channel ${kernel.channel}`)),
    el("div", { class: "grids" }, kernel.planes.map((plane) =>
      grid(size, plane, limit, `Kernel of channel ${kernel.channel}, ${size} × ${size} weights`))),
    kernel.planes.map((plane, c) => asTable(
      `Weights of channel ${kernel.channel}${kernel.planes.length > 1 ? `, input channel ${c}` : ""}`,
      ["Row", ...Array.from({ length: size }, (_, x) => `Column ${x}`)],
      () => Array.from({ length: size }, (_, y) =>
        [String(y), ...Array.from(plane.subarray(y * size, (y + 1) * size), (w) => number(w))]))));
}
