"use strict";
// What the network says, and why: predictions, class activation, occlusion.

const BARS = 5;

function predictionPane() {
  return el(
    "div", { class: `prediction-${pictures.length}` },
    el("div", { class: `overview pictures-${pictures.length}` }, pictures.map((_, p) => overview(p))),
    el("section", { id: "why", class: "panel", "aria-labelledby": "why-title" },
      el("h2", { id: "why-title" }, "Why this class?"),
      el("p", { class: "muted note" }, "Two answers that need no gradients. Class activation: every cell's own share of the " +
        "class's logit, exact for this network, since pooling and the classifier are linear. Occlusion: what the " +
        "logit loses when a square covers the place."),
      el("div", { id: "why-body", class: "stack" }, el("p", { class: "muted" }, "Unpacking …"))),
  );
}

function overview(p) {
  const picture = pictures[p];
  return el(
    "section", { class: "panel", "aria-labelledby": `picture-${p}` },
    el("h2", { id: `picture-${p}` }, pictures.length > 1 ? `Picture ${"AB"[p]}: ` : "", foreign(picture.name)),
    el("div", { class: "seen-and-said" },
      el("figure", { class: "photo" }, wholePicture(picture),
        el("figcaption", { class: "muted" }, `${whole(picture.width)} × ${whole(picture.height)} px; the network sees the outlined part at `,
          `${recording.model.size} × ${recording.model.size} px`)),
      el("div", { class: "said" }, bars(picture),
        asTable(`The best ${picture.top.length} classes`, ["Class", "Index", "Logit", "Probability"],
          () => picture.top.map((found) => [foreign(found.label), String(found.index), number(found.logit), percent(found.p)])))),
  );
}

function wholePicture(picture) {
  const { width, height, crop_box: [top, left, tall, wide] } = picture;
  const line = Math.max(width, height) / 160;
  return svg(
    "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `The picture ${picture.name}; what the network sees is outlined` },
    svg("image", { href: picture.original, width, height }),
    svg("path", { class: "shade", "fill-rule": "evenodd", d: `M0 0H${width}V${height}H0ZM${left} ${top}v${tall}h${wide}v${-tall}Z` }),
    svg("rect", { class: "crop-line", x: left, y: top, width: wide, height: tall, "stroke-width": line }),
  );
}

function bars(picture) {
  return el("ol", { class: "bars" }, picture.top.slice(0, BARS).map((found, n) => el(
    "li", { class: n === 0 ? "best" : null },
    el("span", { class: "bar-name" }, foreign(found.label)),
    el("span", { class: "bar-value" }, quantity(found.p, percent(found.p), { "data-fact": "p" })),
    svg("svg", { class: "bar-track", "aria-hidden": "true" },
      svg("rect", { class: "bar", width: `${100 * found.p}%`, height: "100%" })),
    el("span", { class: "bar-logit muted" }, "logit ", quantity(found.logit, number(found.logit), { "data-fact": "logit" })))));
}

// Filled in when the buffers are unpacked.
function fillWhy() {
  const state = { chosen: 0, opacity: 0.6 };
  const body = el("div", { class: "why" });
  const draw = () => body.replaceChildren(...pictures.map((_, p) => el(
    "div", { class: "of-picture" }, pictureTag(p),
    el("div", { class: "why-pair" }, activationFigure(p, state), occlusionFigure(p, state)))));
  const redraw = (change) => {
    Object.assign(state, change);
    draw();
  };
  draw();
  byId("why-body").replaceChildren(
    el("div", { class: "controls" },
      selectBox("Class", recording.classes.map((index, k) => [k, labelOf(index)]), 0, (chosen) => redraw({ chosen })),
      el("label", { class: "slider" }, "Picture ", el("input", {
        type: "range", min: "0", max: "100", value: "60", "aria-label": "How much of the map covers the picture, in percent",
        oninput: (event) => {
          state.opacity = event.target.value / 100;
          for (const cells of body.querySelectorAll(".overlay")) cells.setAttribute("opacity", state.opacity);
        },
      }), " map")),
    body,
  );
}

// Rectangles of numbers over what the network sees.
function overlaid(p, places, limit, label, state) {
  const { size } = recording.model;
  return el("div", { class: "photo" }, svg(
    "svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label },
    svg("image", { href: pictures[p].crop, width: size, height: size }),
    svg("g", { class: "overlay", opacity: state.opacity }, places.map(({ x, y, side, value }) => svg(
      "rect", { x, y, width: side, height: side, fill: colourOf("diverging", value, -limit, limit) },
      svg("title", {}, number(value))))),
  ));
}

function activationFigure(p, { chosen, ...state }) {
  const { activation } = pictures[p];
  const [, height, width] = activation.cells.shape;
  const every = pictures.flatMap((_, other) => Array.from(cellsOf(other, chosen), Math.abs));
  const limit = Math.max(...every);
  const cells = cellsOf(p, chosen);
  const side = recording.model.size / width;
  const places = Array.from(cells, (value, n) => ({ x: (n % width) * side, y: Math.floor(n / width) * side, side, value }));
  const drawing = overlaid(p, places, limit, `Class activation of ${labelOf(recording.classes[chosen])}, ${height} × ${width} cells`, state);
  if (width <= 7) drawing.firstChild.append(...places.map(cellText));
  return el(
    "figure", { class: "why-figure" },
    el("h3", {}, "Class activation: ", foreign(labelOf(recording.classes[chosen]))),
    drawing, scaleBar("diverging", -limit, limit, "share of the logit, per cell"),
    sumText(activation, cells, chosen),
    asTable(`Cells of ${labelOf(recording.classes[chosen])}`, ["Row", ...Array.from({ length: width }, (_, j) => `Column ${j}`)],
      () => Array.from({ length: height }, (_, i) =>
        [String(i), ...Array.from(cells.subarray(i * width, (i + 1) * width), (value) => number(value))])),
  );
}

function cellsOf(p, chosen) {
  const { cells } = pictures[p].activation;
  const size = cells.shape[1] * cells.shape[2];
  return arrayOf(cells).subarray(chosen * size, (chosen + 1) * size);
}

function cellText({ x, y, side, value }) {
  return svg("text", {
    x: x + side / 2, y: y + side / 2, class: "cell-text", "font-size": Math.min(side / 4, recording.model.size / 22),
    "text-anchor": "middle", "dominant-baseline": "central", "stroke-width": recording.model.size / 120,
  }, fixed(value, 2));
}

function sumText(activation, cells, chosen) {
  const total = cells.reduce((sum, value) => sum + value, 0);
  const bias = activation.bias[chosen], logit = activation.logits[chosen];
  const sum = total + bias;
  return el(
    "p", { class: "equation-line" },
    "cells ", quantity(total, fixed(total, 4), { "data-fact": "cells" }), bias < 0 ? ` ${MINUS} ` : " + ", "bias ",
    quantity(bias, fixed(Math.abs(bias), 4), { "data-fact": "bias" }), " = ",
    quantity(sum, fixed(sum, 4), { "data-fact": "sum", class: "strong" }), "; logit ",
    quantity(logit, fixed(logit, 4), { "data-fact": "logit" }),
    el("span", { class: "muted" }, ` (difference ${number(sum - logit, 2)})`),
  );
}

function occlusionFigure(p, state) {
  const found = pictures[p].occlusion;
  if (found === null) return el("p", { class: "muted" }, "Occlusion was not recorded.");
  const drops = arrayOf(found.drops);
  const limit = Math.max(...pictures.flatMap(({ occlusion }) => (occlusion ? Array.from(arrayOf(occlusion.drops), Math.abs) : [0])));
  const inset = (found.patch - found.stride) / 2;
  const columns = found.columns.length;
  const places = Array.from(drops, (value, n) => ({
    x: found.columns[n % columns] + inset, y: found.rows[Math.floor(n / columns)] + inset, side: found.stride, value,
  }));
  const worst = drops.indexOf(most(drops));
  return el(
    "figure", { class: "why-figure" },
    el("h3", {}, "Occlusion: ", foreign(found.label)),
    overlaid(p, places, limit, `What covering each place takes from the logit of ${found.label}`, state),
    scaleBar("diverging", -limit, limit, "logit lost when covered"),
    el("p", { class: "equation-line" }, `Covered by a square of ${found.patch} × ${found.patch} px, every ${found.stride} px; the most, `,
      quantity(drops[worst], number(drops[worst], 3)), ", is lost at row ", String(found.rows[Math.floor(worst / columns)]),
      ", column ", String(found.columns[worst % columns]), " px."),
    asTable(`Logit of ${found.label} lost when covered`, ["First row, px", ...found.columns.map((x) => `Column ${x}`)],
      () => found.rows.map((y, i) => [String(y), ...Array.from(drops.subarray(i * columns, (i + 1) * columns), (value) => number(value, 3))])),
  );
}
