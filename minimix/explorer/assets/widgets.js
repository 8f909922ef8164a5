"use strict";
// What several panels are made of: panels, tables behind charts, scales, choices, pixel maps.

// A title, a sentence on how to read it, content -> a panel.
function panel(title, note, ...content) {
  const id = `panel-${title.toLowerCase().replaceAll(/[^a-z]+/g, "-")}`;
  return el(
    "section", { class: "panel", "aria-labelledby": id },
    el("h3", { id }, title),
    note && el("p", { class: "muted note" }, note),
    content,
  );
}

// Work that may take long is done in slices, so that the page answers in between.
const SLICE_MS = 16;
const unfinished = new Set();

// Steps (a generator) -> they are taken while an element is shown, the first ones in a moment.
function inSlices(steps, element) {
  unfinished.add(steps);
  const slice = () => {
    const end = performance.now() + SLICE_MS;
    while (element.isConnected && performance.now() < end) {
      if (steps.next().done) break;
    }
    if (element.isConnected && performance.now() >= end) setTimeout(slice);
    else unfinished.delete(steps);
  };
  setTimeout(slice);
}

// Take all steps that are left, at once.
function finishWork() {
  for (const steps of unfinished) while (!steps.next().done);
  unfinished.clear();
}

// A summary -> what opens below it, built anew whenever it is opened.
function disclosure(summary, build) {
  const body = el("div", { class: "disclosed" });
  const box = el("details", {}, el("summary", {}, summary), body);
  box.addEventListener("toggle", () => {
    if (box.open) body.replaceChildren(build());
  });
  return box;
}

// Heads, rows of texts or elements -> a table; its caption says what it holds.
function table(caption, heads, rows) {
  return el(
    "div", { class: "scroller", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table", {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell, n) =>
        n === 0 ? el("th", { scope: "row" }, cell) : el("td", {}, cell))))),
    ),
  );
}

// The table behind a chart.
function asTable(caption, heads, rows) {
  return disclosure("Show as table", () => table(caption, heads, rows()));
}

// Terms and what they are -> a list of facts.
function facts(pairs, attributes = { class: "facts" }) {
  const shown = pairs.filter(([, value]) => value !== null);
  return el("dl", attributes, shown.map(([term, value]) =>
    el("div", {}, el("dt", {}, term), el("dd", {}, value))));
}

// A map's name, its ends -> the scale, with its numbers.
function scaleBar(map, low, high, unit = "") {
  const canvas = el("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  paint(canvas, map, Uint8Array.from({ length: 256 }, (_, n) => n));
  const labels = map === "diverging" ? [low, 0, high] : [low, high];
  return el(
    "div", { class: "scale" }, canvas,
    el("div", { class: "ends" }, labels.map((x) => el("span", {}, number(x, 3)))),
    unit && el("div", { class: "unit muted" }, unit),
  );
}

// Places 0 to 255 in a map -> the pixels of a canvas.
function paint(canvas, map, places) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const colours = PIXELS[map];
  for (let n = 0; n < pixels.length; n++) pixels[n] = colours[places[n]];
  context.putImageData(image, 0, 0);
}

// A name, [value, text] of each, the chosen value, what to do -> radio buttons in a row.
function choice(legend, options, chosen, onchoose) {
  const name = `choice-${choice.count++}`;
  return el(
    "fieldset", { class: "choice" }, el("legend", {}, legend),
    options.map(([value, text]) => el(
      "label", {},
      el("input", {
        type: "radio", name, value, checked: value === chosen, onchange: () => onchoose(value),
      }),
      el("span", {}, text),
    )),
  );
}
choice.count = 0;

// A legend, [value, text] of each, the chosen value, what to do -> a list to choose from.
function selectBox(legend, options, chosen, onchoose) {
  return el(
    "label", { class: "select" }, `${legend} `,
    el("select", { onchange: (event) => onchoose(Number(event.target.value)) },
      options.map(([value, text]) => el("option", { value, selected: value === chosen }, text))),
  );
}

// "A" or "B" and the file's name; nothing where there is one picture.
function pictureTag(p) {
  if (pictures.length === 1) return null;
  return el("span", { class: `tag tag-${p}` }, el("b", {}, "AB"[p]), " ", foreign(pictures[p].name));
}

// What to build for each picture -> side by side.
function pair(build) {
  return el("div", { class: `pair pair-${pictures.length}` }, pictures.map((_, p) =>
    el("div", { class: "of-picture" }, pictureTag(p), build(p))));
}

// A button that leads to a node.
function nodeLink(name) {
  return el("button", { type: "button", class: "link", onclick: () => selectNode(name, true) }, name);
}

const KEYS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// A map of one number per pixel, with a cursor that pointer and arrow keys move.
class PixelMap {
  // Height, width, the name it is read out by; onpixel(row, column) when the cursor is moved.
  constructor(height, width, label, onpixel = null) {
    this.height = height;
    this.width = width;
    this.onpixel = onpixel;
    this.canvas = el("canvas", { width, height, "aria-hidden": "true" });
    this.rows = svg("rect", { class: "cross", x: 0, width, height: 1 });
    this.columns = svg("rect", { class: "cross", y: 0, height, width: 1 });
    this.cursor = svg("rect", { class: "cursor", width: 1, height: 1 });
    const isLarge = onpixel && width > 20;
    this.drawing = svg(
      "svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      isLarge && this.rows, isLarge && this.columns, this.cursor,
    );
    this.element = el(
      "div", onpixel
        ? {
            class: "pixel-map live", tabindex: "0", role: "application", "aria-label": label,
            "aria-roledescription": "map; arrow keys move the cursor",
            onkeydown: (event) => this.pressed(event), onpointerdown: (event) => this.pointed(event),
            onpointermove: (event) => this.pointed(event),
          }
        : { class: "pixel-map", role: "img", "aria-label": label },
      this.canvas, this.drawing,
    );
  }

  paint(map, places) {
    paint(this.canvas, map, places);
  }

  // Numbers -> colours between low and high.
  paintNumbers(map, values, low, high) {
    this.paint(map, Uint8Array.from(values, (x) => placeOf(x, low, high)));
  }

  // Show a rectangle, by default one pixel.
  mark(i, j, height = 1, width = 1) {
    this.at = [i, j];
    const place = { x: j, y: i, width, height };
    for (const [name, value] of Object.entries(place)) this.cursor.setAttribute(name, value);
    this.rows.setAttribute("y", i);
    this.columns.setAttribute("x", j);
  }

  pressed(event) {
    const step = KEYS[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const far = event.shiftKey ? 5 : 1;
    this.move(this.at[0] + far * step[0], this.at[1] + far * step[1]);
  }

  pointed(event) {
    const box = this.element.getBoundingClientRect();
    this.move(
      Math.floor(((event.clientY - box.top) * this.height) / box.height),
      Math.floor(((event.clientX - box.left) * this.width) / box.width),
    );
  }

  move(i, j) {
    const row = Math.min(this.height - 1, Math.max(0, i));
    const column = Math.min(this.width - 1, Math.max(0, j));
    if (row !== this.at[0] || column !== this.at[1]) this.onpixel(row, column);
  }
}
