"use strict";
// The receptive field of a layer's pixel on the picture, one rectangle for each kernel size.

const DASHES = { 3: null, 5: "8 3", 7: "4 3", 9: "10 3 2 3", 11: "2 3" };

// A field, an output row and column -> what it sees, in px of the network's input.
function seenBy(field, i, j) {
  const along = (n) => [field.first + n * field.step, field.last + n * field.step];
  const [[top, bottom], [left, right]] = [along(i), along(j)];
  return { top, left, height: bottom - top + 1, width: right - left + 1 };
}

// Share of a rectangle that lies outside of the picture.
function paddingShare({ top, left, height, width }, size) {
  const inside = (start, length) => Math.max(0, Math.min(size, start + length) - Math.max(0, start));
  return 1 - (inside(top, height) * inside(left, width)) / (height * width);
}

// Fields to draw: of each group, or of the layer.
function fieldsOf(node) {
  const groups = hasKernels(node)
    ? node.groups.map((group) => ({ extent: group.extent, field: group.field }))
    : [{ extent: null, field: node.field }];
  return groups.sort((a, b) => b.field.size - a.field.size);
}

function fieldPanel(node) {
  const isMap = node.shape.length === 3;
  const fields = fieldsOf(node);
  const views = pictures.map((_, p) => new FieldView(fields, p));
  const list = el("div", { class: "field-list", role: "status" });
  const show = (i, j) => {
    for (const view of views) view.show(i, j);
    list.replaceChildren(el("ul", { class: "plain" }, fields.map(({ extent, field }) =>
      el("li", {}, extent ? kernelChip(extent) : "This layer", `: ${fieldWords(field, i, j)}`))));
  };
  if (isMap && node.field.step) watchPixel(node, show);
  else show(0, 0);
  return panel(
    "Receptive field", "The part of the picture that the value under the cursor can depend on, along its " +
      "convolutions. Squeeze-excite is left out: it is global, and through it every value also depends on " +
      "means over the whole picture.",
    pair((p) => views[p].element), list,
    asTable(`Receptive field of ${node.name}`, ["Kernel", "Size, px", "Step, px", "First px of row and column 0"],
      () => fields.map(({ extent, field }) =>
        [extent ? kernelChip(extent) : "layer", String(field.size), String(field.step), String(field.first)])),
  );
}

function fieldWords(field, i, j) {
  if (field.step === 0) return "the whole picture";
  const { size } = recording.model;
  const seen = seenBy(field, i, j);
  const covers = seen.top <= 0 && seen.left <= 0 &&
    seen.top + seen.height >= size && seen.left + seen.width >= size;
  const share = paddingShare(seen, size);
  return `${seen.width} × ${seen.height} px${covers ? ", the whole picture and more" : ""}` +
    `${share > 0.0005 ? `, ${percent(share)} of it padding` : ""}`;
}

class FieldView {
  constructor(fields, p) {
    const { size } = recording.model;
    const margin = Math.min(0.75 * size, Math.max(size / 6, fields[0].field.size / 2));
    Object.assign(this, { fields, size, margin });
    this.unit = (size + 2 * margin) / 100;
    byId("hatch-outside").setAttribute("patternTransform", `scale(${this.unit / 2})`);
    this.shapes = svg("g");
    const whole = { x: -margin, y: -margin, width: size + 2 * margin, height: size + 2 * margin };
    this.element = el("div", { class: "photo" }, svg(
      "svg", {
        viewBox: `${-margin} ${-margin} ${size + 2 * margin} ${size + 2 * margin}`, role: "img",
        "aria-label": "The picture with the receptive field outlined; the numbers follow below",
      },
      svg("rect", { ...whole, class: "field-outside" }),
      svg("rect", { ...whole, fill: "url(#hatch-outside)" }),
      svg("image", { href: pictures[p].crop, width: size, height: size }),
      svg("text", { x: size / 2, y: this.size + margin - 4 * this.unit, class: "field-note", "font-size": 4.2 * this.unit, "text-anchor": "middle", "dominant-baseline": "central" }, "padding: zeros"),
      this.shapes,
    ));
  }

  show(i, j) {
    const seen = this.fields.map(({ field }) => (field.step
      ? seenBy(field, i, j) : { top: 0, left: 0, height: this.size, width: this.size }));
    this.shapes.replaceChildren(
      ...this.fields.flatMap(({ extent }, n) => this.rectangle(seen[n], extent)),
      ...this.fields.flatMap(({ extent }, n) => this.label(seen[0], seen[n], extent, n)));
  }

  // Sides beyond the drawing's edge are not seen; the label says so.
  rectangle(seen, extent) {
    const width = 0.8 * this.unit;
    const place = { x: seen.left, y: seen.top, width: seen.width, height: seen.height };
    return [
      svg("rect", { ...place, class: "field-halo", "stroke-width": 2.2 * width }),
      svg("rect", { ...place, class: `field ${kernelClass(extent)}-line`, "stroke-width": width, "stroke-dasharray": this.dash(extent) }),
    ];
  }

  dash(extent) {
    return DASHES[extent]?.split(" ").map((length) => (length * this.unit) / 3).join(" ");
  }

  // Labels stand below each other, right of the largest rectangle if there is room, else left.
  label(largest, seen, extent, n) {
    const { unit } = this;
    const edge = this.size + this.margin, room = 29 * unit;
    const right = largest.left + largest.width + 2 * unit;
    const left = largest.left - room;
    const x = right + room < edge ? right : Math.max(left, unit - this.margin);
    const y = Math.min(Math.max(largest.top, unit - this.margin), edge - 6 * unit * this.fields.length) + (6 * n + 4) * unit;
    const isWhole = seen.left >= -this.margin && seen.top >= -this.margin &&
      seen.left + seen.width <= edge && seen.top + seen.height <= edge;
    const line = { x1: x, x2: x + 6 * unit, y1: y - 1.5 * unit, y2: y - 1.5 * unit };
    return [
      svg("line", { ...line, class: "field-halo", "stroke-width": 2 * unit }),
      svg("line", { ...line, class: `${kernelClass(extent)}-line`, "stroke-width": 0.9 * unit, "stroke-dasharray": this.dash(extent) }),
      svg("text", { x: x + 7.5 * unit, y, class: "field-label", "font-size": 4.4 * unit, "stroke-width": 0.9 * unit },
        `${extent ? `${extent} × ${extent}` : `${seen.width} px`}${isWhole ? "" : " beyond"}`),
    ];
  }
}
