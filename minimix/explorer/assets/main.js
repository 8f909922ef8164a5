"use strict";
// The page as a whole: header, views, the layer that is selected, theme, print.

const VIEWS = ["prediction", "layers", "cost", "about"];
const shown = { view: null, layer: null, isReady: false };

function fillHeader() {
  const { model, times } = recording;
  byId("headline").replaceChildren(...pictures.flatMap(({ name, top: [best] }, p) =>
    [p ? " · " : "", foreign(name), " → ", foreign(best.label), ` ${percent(best.p)}`]));
  byId("subline").replaceChildren(
    foreign(model.name), ` · ${model.size} × ${model.size} px · ${short(model.parameters, "parameters")} · ${short(model.macs, "MACs")}`,
    times ? ` · ${milliseconds(times.inference_ms)}` : "");
  byId("find-names").append(...recording.nodes.map((node) => el("option", { value: node.name })));
}

// What fills each view, when it is first opened.
const FILLS = {
  layers: () => byId("pane-layers").append(buildStrip(), el("div", { id: "layer" })),
  cost: () => byId("pane-cost").append(costPane()),
  about: () => byId("pane-about").append(...aboutPane()),
};

function fill(view) {
  if (!(view in FILLS)) return;
  FILLS[view]();
  delete FILLS[view];
  if (view === "layers") showLayer(shown.layer ?? firstLayer());
}

function firstLayer() {
  return (recording.nodes.find((node) => node.kind === "mixconv" && node.groups.length > 1) ?? recording.nodes[0]).name;
}

function showView(view) {
  shown.view = view;
  for (const name of VIEWS) {
    const isShown = name === view;
    byId(`pane-${name}`).hidden = !isShown;
    byId(`tab-${name}`).setAttribute("aria-selected", String(isShown));
    byId(`tab-${name}`).tabIndex = isShown ? 0 : -1;
  }
  fill(view);
  if (view === "layers") markItem(shown.layer);
  remember();
}

// A name of a layer or a block -> its panels, in the view of layers; with the focus, if wanted.
function selectNode(name, isFocused = false) {
  if (shown.view !== "layers") {
    shown.layer = name;
    showView("layers");
  }
  showLayer(name);
  if (isFocused) byId("layer-name").focus({ preventScroll: false });
}

function showLayer(name) {
  shown.layer = name;
  cursor.watchers.length = 0;
  byId("layer").replaceChildren(...(stagesByName.has(name) && !nodesByName.has(name)
    ? [stageCard(stagesByName.get(name))] : layerPanels(nodesByName.get(name))));
  markItem(name);
  remember();
}

function layerPanels(node) {
  const isMap = node.shape.length === 3;
  const kernels = hasKernels(node);
  const first = [isMap && mapsPanel(node), node.vector && vectorPanel(node), node.gates && histogramPanel(node)];
  const second = [node.gates && gatesPanel(node), node.kind !== "input" && fieldPanel(node), !node.gates && histogramPanel(node)];
  return [
    card(node),
    el("div", { class: "columns-2" }, el("div", {}, first.filter(Boolean)), el("div", {}, second.filter(Boolean))),
    ...(kernels ? [kernelsPanel(node), magnifierPanel(node)] : []),
  ];
}

// The address keeps what is shown, so that a link can lead there.
function remember() {
  if (!shown.isReady) return;
  const place = shown.view === "layers" ? `#layers/${encodeURIComponent(shown.layer)}` : `#${shown.view}`;
  if (location.hash !== place) history.replaceState(null, "", place);
}

function recall() {
  const [view, name] = location.hash.slice(1).split("/", 2).map(decoded);
  if (view === "layers" && strips(name)) selectNode(name);
  else showView(VIEWS.includes(view) ? view : "prediction");
}

// A part of the address, which anyone may have written.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    if (error instanceof URIError) return "";
    throw error;
  }
}

function strips(name) {
  return nodesByName.has(name) || stagesByName.has(name);
}

function find(event) {
  event.preventDefault();
  const text = byId("find-text").value.trim().toLowerCase();
  const names = [...nodesByName.keys(), ...stagesByName.keys()];
  const found = names.find((name) => name.toLowerCase() === text) ??
    names.find((name) => text && name.toLowerCase().includes(text));
  byId("find-message").textContent = found ? "" : text
    ? `No layer is called "${text}"; names are such as ${firstLayer()}.` : "";
  if (found) selectNode(found, true);
}

const THEMES = ["system", "light", "dark"];

function turnTheme() {
  const root = document.documentElement;
  const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "system") + 1) % THEMES.length];
  root.dataset.theme = next;
  byId("theme").textContent = `Theme: ${next}`;
}

function turnTab(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1, Home: -VIEWS.indexOf(shown.view), End: VIEWS.length - 1 - VIEWS.indexOf(shown.view) }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const view = VIEWS[(VIEWS.indexOf(shown.view) + step + VIEWS.length) % VIEWS.length];
  showView(view);
  byId(`tab-${view}`).focus();
}

async function start() {
  fillHeader();
  byId("pane-prediction").append(predictionPane());
  byId("find").addEventListener("submit", find);
  byId("theme").addEventListener("click", turnTheme);
  for (const view of VIEWS) {
    byId(`tab-${view}`).addEventListener("click", () => showView(view));
    byId(`tab-${view}`).addEventListener("keydown", turnTab);
  }
  if (!("DecompressionStream" in window)) {
    sayWhatIsMissing();
    return;
  }
  await unpackAll();
  fillWhy();
  shown.isReady = true;
  recall();
  addEventListener("hashchange", recall);
  addEventListener("beforeprint", () => {
    fill("layers");
    finishWork();
  });
  document.documentElement.dataset.ready = "true";
}

// The prediction needs no buffers; everything else does.
function sayWhatIsMissing() {
  byId("why-body").replaceChildren(el("p", { class: "notice" }, "This browser cannot unpack what the page holds: it has no " +
    "DecompressionStream. Chromium 80, Firefox 113 and Safari 16.4 have it, and all later ones."));
  byId("find").hidden = true;
  for (const view of VIEWS) byId(`tab-${view}`).hidden = true;
}

start();
