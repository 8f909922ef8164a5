"use strict";
// Kernels as tiles, and the frequencies that they let through.

const AT_ONCE = 8; // tiles of a group that can be seen at first; the others follow in a moment
const FREQUENCIES = 25; // odd: frequency 0 lies in the middle

// A kernel (size × size) -> the magnitude of its 2-D Fourier transform, frequency 0 in the middle,
// from −½ to ½ cycles per px along either axis.
function spectrum(kernel, size) {
  const n = FREQUENCIES;
  const cos = [], sin = [];
  for (let k = 0; k < n; k++) {
    for (let x = 0; x < size; x++) {
      const angle = (-2 * Math.PI * (k - (n - 1) / 2) * x) / (n - 1);
      cos.push(Math.cos(angle));
      sin.push(Math.sin(angle));
    }
  }
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
  return channels.map((channel, n) => ({
    channel,
    planes: Array.from({ length: depth }, (_, c) => Float32Array.from(
      { length: size * size }, (_, k) => flat[(n * size * size + k) * depth + c])),
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
  const limit = Math.max(...kernels.flatMap((k) => k.planes.flatMap((plane) => [...plane].map(Math.abs))));
  const responses = kernels.map((kernel) => responseOf(kernel, size));
  const mean = responses[0].map((_, k) =>
    responses.reduce((sum, response) => sum + response[k], 0) / responses.length);
  const top = Math.max(...responses.map((response) => Math.max(...response)));
  const shown = el("div", { class: "kernel-shown", role: "status" });
  const tiles = el("div", { class: "scroller kernel-tiles", tabindex: "0", role: "group", "aria-label": `Kernels of ${group.extent} px` });
  const add = (from, to) => tiles.append(...kernels.slice(from, to).map((kernel, n) =>
    kernelTile(group, kernel, responses[from + n], limit, top,
      () => shown.replaceChildren(kernelNumbers(group, kernel, limit)))));
  add(0, AT_ONCE);
  setTimeout(() => tiles.isConnected && add(AT_ONCE, kernels.length));
  return el(
    "div", { class: "kernel-group" },
    el("h4", {}, kernelChip(group.extent), `: ${kernels.length} of ${plural(group.channels, "kernel")}`,
      group.dilation > 1 ? `, ${size} × ${size} weights with dilation ${group.dilation}` : ""),
    el("div", { class: "kernel-summary" },
      el("figure", {}, spectrumImage(mean, Math.max(...mean), `Mean response of the ${size} × ${size} kernels`),
        el("figcaption", {}, "Mean response")),
      el("div", { class: "scales" },
        scaleBar("diverging", -limit, limit, "weight"), scaleBar("sequential", 0, top, "response, tiles"),
        scaleBar("sequential", 0, Math.max(...mean), "response, mean"))),
    tiles, shown,
    asTable(`Kernels of ${group.extent} px in ${node.name}`, ["Channel", "Norm (L2)", "Sum of weights", "Strongest response"],
      () => kernels.map((kernel, n) => [String(kernel.channel), number(group.kernels.norms[n]),
        number(kernel.planes.reduce((sum, plane) => plane.reduce((a, b) => a + b, sum), 0)),
        number(Math.max(...responses[n]))])),
  );
}

function spectrumImage(values, top, label) {
  const canvas = el("canvas", { class: "spectrum", width: FREQUENCIES, height: FREQUENCIES, role: "img", "aria-label": label });
  paint(canvas, "sequential", Uint8Array.from(values, (x) => placeOf(x, 0, top)));
  return canvas;
}

function kernelTile(group, kernel, response, limit, top, onclick) {
  const size = group.kernel_size;
  const weights = kernel.planes.map((plane) => {
    const canvas = el("canvas", { class: "kernel", width: size, height: size });
    paint(canvas, "diverging", Uint8Array.from(plane, (x) => placeOf(x, -limit, limit)));
    return canvas;
  });
  const spectral = el("canvas", { class: "kernel", width: FREQUENCIES, height: FREQUENCIES });
  paint(spectral, "sequential", Uint8Array.from(response, (x) => placeOf(x, 0, top)));
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
