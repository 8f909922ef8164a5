"use strict";
// The magnifier: one output pixel of a convolution, taken apart.  Everything that it shows is
// computed here from the recorded input and kernel, and stands beside the recorded output.

const GRID = 260;

// Numbers, size × size, with null for padding -> a drawing of them, zero in the middle of the scale.
function grid(size, values, limit, label) {
  const side = GRID / size;
  const digits = size <= 3 ? 3 : 2;
  const cells = Array.from(values, (value, n) => {
    const x = (n % size) * side, y = Math.floor(n / size) * side;
    const place = { x, y, width: side, height: side };
    if (value === null) {
      return [svg("rect", { ...place, class: "padding" }),
        size <= 7 && gridText("pad", x, y, side, size, "padding-text")];
    }
    const [low, high] = [-limit, limit];
    return [
      svg("rect", { ...place, fill: colourOf("diverging", value, low, high) }),
      size <= 7 && gridText(fixed(value, digits), x, y, side, size, null, inkOn("diverging", value, low, high)),
    ];
  });
  return svg("svg", { class: `grid grid-${size}`, viewBox: `0 0 ${GRID} ${GRID}`, role: "img", "aria-label": label }, cells);
}

function gridText(text, x, y, side, size, className, fill = null) {
  return svg("text", {
    x: x + side / 2, y: y + side / 2, "font-size": { 3: 20, 5: 14 }[size] ?? 11.5,
    class: className, fill, "text-anchor": "middle", "dominant-baseline": "central",
  }, text);
}

// A node, one of its samples, a picture, an output pixel -> every product and their sum.
function magnified(node, sample, p, i, j) {
  const group = node.groups[sample.group];
  const size = group.kernel_size;
  const depth = sample.weight.shape[2] ?? 1;
  const weights = arrayOf(sample.weight);
  const [height, width, read] = readBy(sample, p);
  const top = i * node.stride - group.pad[0], left = j * node.stride - group.pad[0];
  const planes = Array.from({ length: depth }, () => ({ patch: [], weight: [], product: [] }));
  let sum = sample.bias;
  for (let k = 0; k < size * size; k++) {
    const y = top + Math.floor(k / size) * group.dilation, x = left + (k % size) * group.dilation;
    const inside = y >= 0 && y < height && x >= 0 && x < width;
    for (let c = 0; c < depth; c++) {
      const weight = weights[k * depth + c];
      const value = inside ? read(y, x, c) : null;
      planes[c].patch.push(value);
      planes[c].weight.push(weight);
      planes[c].product.push(inside ? value * weight : null);
      sum += inside ? value * weight : 0;
    }
  }
  return { planes, sum, size, top, left, recorded: arrayOf(sample.output[p])[i * node.shape[1] + j] };
}

// What a sample reads -> its height, width, and (row, column, channel) -> value.
function readBy(sample, p) {
  if (sample.reads === "picture") {
    const { size } = recording.model;
    return [size, size, inputOf(p)];
  }
  const [height, width] = sample.input[p].shape;
  const flat = arrayOf(sample.input[p]);
  return [height, width, (i, j) => flat[i * width + j]];
}

function magnifierPanel(node) {
  if (node.magnifier.length === 0) {
    return panel("Magnifier", "Left out of this layer, so that the page stays below " +
      `${bytes(recording.limits.page_bytes)}; minimix explore --full keeps more.`);
  }
  const body = el("div", { class: "magnifier" });
  let show = () => {};
  const choose = (m) => {
    const views = pictures.map((_, p) => new Magnifier(node, node.magnifier[m], p));
    body.replaceChildren(pictures.length === 1 ? views[0].element
      : el("div", { class: "stack" }, views.map((view, p) => el("div", { class: "of-picture" }, pictureTag(p), view.element))));
    show = (i, j) => views.forEach((view) => view.show(i, j));
    show(...pixelOf(node));
  };
  const options = node.magnifier.map((sample, m) => [m,
    `channel ${sample.channel}, ${node.groups[sample.group].extent} × ${node.groups[sample.group].extent}`]);
  choose(0);
  watchPixel(node, (i, j) => show(i, j));
  return panel(
    "Magnifier", "One output pixel of the convolution alone: patch × kernel, added up. Move the cursor " +
      "over the output, or use the arrow keys there.",
    selectBox("Kernel", options, 0, choose), body,
  );
}

// A sample of a picture: what it reads, what it gives, and the sum under the cursor.
class Magnifier {
  constructor(node, sample, p) {
    Object.assign(this, { node, sample, p });
    this.group = node.groups[sample.group];
    this.equation = el("div", { class: "equation" });
    this.output = this.outputMap();
    this.input = this.inputMap();
    this.limit = Math.max(...arrayOf(sample.weight).map(Math.abs));
    this.element = el(
      "div", { class: "magnified" },
      el("div", { class: "magnifier-maps" },
        el("figure", {}, this.input.element, el("figcaption", {}, sample.reads === "picture"
          ? "Reads the picture" : `Reads channel ${sample.channel}`), this.inputScale),
        el("figure", {}, this.output.element, el("figcaption", {}, "Gives"), this.outputScale)),
      this.equation,
    );
  }

  outputMap() {
    const [height, width] = this.node.shape;
    const values = arrayOf(this.sample.output[this.p]);
    const all = this.sample.output.map(arrayOf);
    const low = Math.min(...all.map(least)), high = Math.max(...all.map(most));
    const view = new PixelMap(height, width, `Output of the convolution, channel ${this.sample.channel}`,
      (i, j) => movePixel(this.node, i, j));
    view.paintNumbers("sequential", values, low, high);
    this.outputScale = scaleBar("sequential", low, high);
    return view;
  }

  inputMap() {
    const [height, width, read] = readBy(this.sample, this.p);
    const view = new PixelMap(height, width, "What the convolution reads; the window is outlined");
    if (this.sample.reads === "picture") {
      view.canvas.replaceWith(el("img", { src: pictures[this.p].crop, alt: "" }));
      this.inputScale = null;
      return view;
    }
    const values = Float32Array.from({ length: height * width }, (_, n) => read(Math.floor(n / width), n % width));
    const all = this.sample.input.map(arrayOf);
    const low = Math.min(...all.map(least)), high = Math.max(...all.map(most));
    view.paintNumbers("sequential", values, low, high);
    this.inputScale = scaleBar("sequential", low, high);
    return view;
  }

  show(i, j) {
    const found = magnified(this.node, this.sample, this.p, i, j);
    const { extent } = this.group;
    this.output.mark(i, j);
    this.input.mark(found.top, found.left, extent, extent);
    this.equation.replaceChildren(
      el("div", { class: "planes" }, found.planes.map((plane, c) => this.products(found, plane, c))),
      this.result(found, i, j),
    );
  }

  products({ size, planes }, { patch, weight, product }, c) {
    const largest = (values) => Math.max(1e-9, ...values.map((x) => Math.abs(x ?? 0)));
    const colour = planes.length > 1 ? `, input channel ${c}` : "";
    const part = (name, values, limit) => el("figure", {},
      grid(size, values, limit, `${name}${colour}`), el("figcaption", {}, `${name}${colour}`),
      scaleBar("diverging", -limit, limit));
    return el(
      "div", { class: `products products-${size}` },
      part("Patch", patch, largest(patch)), el("span", { class: "operator" }, "×"),
      part("Kernel", weight, this.limit), el("span", { class: "operator" }, "="),
      part("Products", product, largest(product)),
      asTable(`Patch × kernel = products${colour}`, ["Row", "Column", "Patch", "Kernel", "Product"],
        () => patch.map((value, n) => [String(Math.floor(n / size)), String(n % size),
          value === null ? "padding, 0" : number(value, 6), number(weight[n], 6),
          value === null ? "0" : number(product[n], 6)])),
    );
  }

  result({ planes, sum, recorded }, i, j) {
    const { node, sample } = this;
    const padding = planes.reduce((count, plane) => count + plane.patch.filter((x) => x === null).length, 0);
    const normed = recorded * sample.scale + sample.shift;
    const given = activated(node, normed);
    const hasNorm = node.members.some((member) => member.kind === "batch_norm");
    return el(
      "div", { class: "result", role: "status" },
      facts([
        ["Output pixel", `row ${i}, column ${j}`],
        ["Sum of products", quantity(sum, number(sum, 7), { class: "strong", "data-fact": "sum" })],
        ["of which bias", sample.bias === 0 ? null : number(sample.bias, 6)],
        ["Recorded", quantity(recorded, number(recorded, 7), { "data-fact": "recorded" })],
        ["Difference", `${number(sum - recorded, 3)} (float32 rounding)`],
        ["Padding", padding ? `${plural(padding, "cell")}, counted as 0` : null],
        ["Batch norm", hasNorm ? [`× ${number(sample.scale)} ${sample.shift < 0 ? MINUS : "+"} ${number(Math.abs(sample.shift))} = `,
          quantity(normed, number(normed))] : null],
        [`After ${node.activation}`, node.activation ? quantity(given, number(given), { "data-fact": "given" }) : null],
      ], { class: "facts sums" }),
    );
  }
}

function least(values) {
  return values.reduce((a, b) => Math.min(a, b));
}

function most(values) {
  return values.reduce((a, b) => Math.max(a, b));
}
