"use strict";
// The architecture as a strip of blocks: a tree of stages and layers, walked with the arrow keys.

const strip = { items: new Map(), current: null, tree: null };

const LABELS = { squeeze_excite: "SE", add: "+", pool: "mean", linear: "linear" };

// Stages, one after another -> the tree.
function buildStrip() {
  strip.tree = el(
    "ul", {
      class: "strip", role: "tree", "aria-label": "Layers, block by block",
      onkeydown: walk, onclick: clicked,
    },
    recording.stages.map(stageItem),
  );
  return el(
    "div", { class: "strip-frame" }, strip.tree,
    el("p", { class: "muted note keys" }, "Arrow keys walk through the layers, Page Up and Page Down jump a block, ",
      "Left folds a block up."),
    legend(),
  );
}

function stageItem(stage) {
  const last = nodesByName.get(stage.nodes.at(-1));
  if (last.name === stage.name) return loneItem(last);
  const item = el(
    "li", {
      class: "stage", role: "treeitem", "aria-expanded": "true", "aria-selected": "false",
      "aria-label": `${stage.name}, ${plural(stage.nodes.length, "layer")}${stage.residual ? ", adds its input" : ""}`,
      tabindex: "-1", "data-name": stage.name,
    },
    el("span", { class: "stage-name", "aria-hidden": "true" }, stage.name),
    el(
      "div", { class: "flow" },
      stage.residual && el("span", { class: "arc", "aria-hidden": "true" }),
      el("ul", { role: "group" }, stage.nodes.map((name) => nodeItem(nodesByName.get(name)))),
    ),
    el("span", { class: "stage-shape muted", "aria-hidden": "true" }, shapeLines(last.shape)),
  );
  strip.items.set(stage.name, item);
  return item;
}

// A layer that is a stage of its own.
function loneItem(node) {
  const item = nodeItem(node);
  item.classList.add("stage");
  item.prepend(el("span", { class: "stage-name", "aria-hidden": "true" }, node.name));
  item.append(el("span", { class: "stage-shape muted", "aria-hidden": "true" }, shapeLines(node.shape)));
  return item;
}

function shapeLines(shape) {
  if (shape.length === 1) return String(shape[0]);
  return [`${shape[0]}×${shape[1]}`, el("br"), `×${shape[2]}`];
}

function nodeItem(node) {
  const sizes = hasKernels(node) ? node.groups.map((group) => group.extent) : [];
  const kernels = sizes.length ? `, kernels of ${sizes.join(", ")} px` : "";
  const item = el(
    "li", {
      class: `layer ${node.kind}`, role: "treeitem", "aria-selected": "false", tabindex: "-1",
      "data-name": node.name, "data-groups": node.groups.length > 1 && !sizes.length ? node.groups.length : null,
      "aria-label": `${shortName(node)}, ${node.kind.replace("_", "-")}${kernels}, output ${shapeText(node.shape)}`,
    },
    sizes.length
      ? el("span", { class: "lanes", "aria-hidden": "true" }, node.groups.map(lane))
      : el("span", { class: "box", "aria-hidden": "true" }, LABELS[node.kind] ?? shortName(node)),
  );
  strip.items.set(node.name, item);
  return item;
}

function lane(group) {
  return el(
    "span", { class: "lane" },
    el("span", { class: `swatch ${kernelClass(group.extent)}` }),
    el("span", { class: "lane-label" }, String(group.extent)),
  );
}

function legend() {
  const found = new Set(recording.nodes.filter(hasKernels).flatMap((n) => n.groups.map((g) => g.extent)));
  return el(
    "p", { class: "legend muted" },
    "Kernel size in px: ", [...found].sort((a, b) => a - b).map(kernelChip),
    el("span", { class: "chip" }, el("span", { class: "sample-box SE" }, "SE"), "squeeze-excite: gates per channel"),
    el("span", { class: "chip" }, el("span", { class: "sample-arc" }), "adds the block's input"),
    el("span", { class: "chip" }, el("span", { class: "sample-split" }), "1 × 1 in 2 groups"),
  );
}

// Show which item is selected; it alone is reached with Tab.
function markItem(name) {
  const before = strip.items.get(strip.current);
  if (before) {
    before.setAttribute("aria-selected", "false");
    before.tabIndex = -1;
  }
  const item = strip.items.get(name);
  item.setAttribute("aria-selected", "true");
  item.tabIndex = 0;
  strip.current = name;
  const stage = item.parentElement.closest(".stage");
  if (stage) fold(stage, false);
  const card = stage ?? item;
  const frame = strip.tree;
  if (card.offsetLeft < frame.scrollLeft) frame.scrollLeft = card.offsetLeft - 24;
  const beyond = card.offsetLeft + card.offsetWidth - frame.clientWidth;
  if (beyond > frame.scrollLeft) frame.scrollLeft = beyond + 24;
}

function fold(stage, folded) {
  stage.setAttribute("aria-expanded", String(!folded));
}

function isFolded(item) {
  return item.getAttribute("aria-expanded") === "false";
}

// Items that can be seen, in order.
function visibleItems() {
  return [...strip.tree.querySelectorAll("[role=treeitem]")].filter((item) => {
    const stage = item.parentElement.closest(".stage");
    return !stage || !isFolded(stage);
  });
}

// The same layer of a neighbouring block, or the nearest.
function jump(item, by) {
  const stages = recording.stages;
  const stage = item.closest(".stage").dataset.name;
  const target = stages[stages.findIndex((each) => each.name === stage) + by];
  if (!target) return item;
  if (item.dataset.name === stage || isFolded(strip.items.get(target.name))) {
    return strip.items.get(target.name);
  }
  const node = nodesByName.get(item.dataset.name);
  const others = target.nodes.map((name) => nodesByName.get(name));
  const same = others.find((other) => shortName(other) === shortName(node)) ??
    others.find((other) => other.kind === node.kind) ?? others[0];
  return strip.items.get(same.name);
}

function folding(item, folded) {
  const isStage = item.classList.contains("stage");
  if (!item.hasAttribute("aria-expanded") && isStage) return item;
  if (folded) {
    if (!isStage) return item.closest(".stage");
    if (!isFolded(item)) fold(item, true);
    return item;
  }
  if (!isStage) return item;
  if (isFolded(item)) {
    fold(item, false);
    return item;
  }
  return item.querySelector(".layer");
}

function walk(event) {
  const item = event.target.closest("[role=treeitem]");
  if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
  const items = visibleItems();
  const n = items.indexOf(item);
  const targets = {
    ArrowDown: () => items[Math.min(n + 1, items.length - 1)],
    ArrowUp: () => items[Math.max(n - 1, 0)],
    ArrowRight: () => folding(item, false),
    ArrowLeft: () => folding(item, true),
    Home: () => items[0],
    End: () => items.at(-1),
    PageDown: () => jump(item, 1),
    PageUp: () => jump(item, -1),
    Enter: () => item,
    " ": () => item,
  };
  if (!(event.key in targets)) return;
  event.preventDefault();
  const target = targets[event.key]();
  if (target.dataset.name !== strip.current) selectNode(target.dataset.name);
  target.focus({ preventScroll: true });
}

function clicked(event) {
  const item = event.target.closest("[role=treeitem]");
  if (!item) return;
  selectNode(item.dataset.name);
  item.focus({ preventScroll: true });
}
