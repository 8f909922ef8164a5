"use strict";
// What each block and each layer costs: time, multiply-accumulates, parameters, memory.

const METRICS = {
  ms: ["Time", milliseconds, (node) => node.ms ?? 0],
  macs: ["MACs", (n) => short(n, "MACs"), (node) => node.macs],
  parameters: ["Parameters", (n) => short(n, "parameters"), (node) => node.parameters],
  bytes: ["Output memory", bytes, (node) => node.output_bytes],
};
const COST_KINDS = [
  ["mixconv", "MixConv and depthwise", ["mixconv"]],
  ["pointwise", "1 × 1 convolutions", ["pointwise"]],
  ["gate", "squeeze-excite", ["squeeze_excite"]],
  ["other", "everything else", null],
];
const COLUMN = 54;
const COST_HEIGHT = 230;

function costPane() {
  const body = el("div", { class: "stack" });
  const metrics = Object.keys(METRICS).filter((name) => name !== "ms" || recording.times !== null);
  const show = (name) => body.replaceChildren(...costOf(name));
  show(metrics[0]);
  return el(
    "section", { class: "panel", "aria-labelledby": "cost-title" },
    el("h2", { id: "cost-title" }, "What does it cost?"),
    choice("Measure", metrics.map((name) => [name, METRICS[name][0]]), metrics[0], show),
    body,
  );
}

function costKind(node) {
  return COST_KINDS.find(([, , kinds]) => kinds === null || kinds.includes(node.kind))[0];
}

function costOf(name) {
  const [title, text, of] = METRICS[name];
  const total = recording.nodes.reduce((sum, node) => sum + of(node), 0);
  const ranked = recording.nodes.filter((node) => of(node) > 0).sort((a, b) => of(b) - of(a));
  return [
    el("p", { class: "note" }, totalText(name, total)),
    el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": `${title} along the network` }, columnsChart(title, text, of)),
    kindsLegend(of, text, total),
    el("h3", {}, "The most expensive layers"),
    el("ol", { class: "bars ranked" }, ranked.slice(0, 12).map((node) => el(
      "li", {},
      el("span", { class: "bar-name" }, nodeLink(node.name)),
      el("span", { class: "bar-value" }, quantity(of(node), text(of(node))), el("span", { class: "muted" }, ` ${percent(of(node) / total)}`)),
      svg("svg", { class: "bar-track", "aria-hidden": "true" },
        svg("rect", { class: "bar", width: `${(100 * of(node)) / of(ranked[0])}%`, height: "100%" }))))),
    asTable(`${title} of every layer`, ["Layer", "What", title, "Share"], () => recording.nodes.map((node) =>
      [nodeLink(node.name), kindText(node), name === "ms" ? timeOf(node) : quantity(of(node), text(of(node))), percent(of(node) / total)])),
  ];
}

function totalText(name, total) {
  const { times, model } = recording;
  if (name === "ms") {
    return ["One inference takes ", quantity(times.inference_ms, milliseconds(times.inference_ms), { "data-fact": "inference", class: "strong" }),
      ` (median of ${times.runs} runs, ${plural(times.threads, "thread")}, `, foreign(times.machine), "); its layers add up to ",
      quantity(times.nodes_ms, milliseconds(times.nodes_ms), { "data-fact": "total" }),
      ", the rest is calling and handing over. Layers that are done inside another have no time of their own."];
  }
  const exact = { macs: model.macs, parameters: model.parameters, bytes: total }[name];
  const what = {
    macs: "multiply-accumulates for one picture.", parameters: "numbers that training chose, batch norms included.",
    bytes: "bytes of all layers' outputs as float32; they are not all alive at the same time.",
  }[name];
  return [quantity(exact, whole(exact), { "data-fact": "total", class: "strong" }), ` ${what}`];
}

// A column for each block, its layers stacked.
function columnsChart(title, text, of) {
  const sums = recording.stages.map((stage) => stage.nodes.reduce((sum, name) => sum + of(nodesByName.get(name)), 0));
  const most = Math.max(...sums);
  const [left, top, bottom] = [92, 22, 30];
  const width = left + COLUMN * recording.stages.length;
  const height = (value) => (COST_HEIGHT * value) / most;
  const base = top + COST_HEIGHT;
  return svg(
    "svg", { class: "columns", width, height: base + bottom, viewBox: `0 0 ${width} ${base + bottom}`, role: "img", "aria-label": `${title}, a column for each block` },
    [0, 0.5, 1].map((share) => [
      svg("line", { class: "grid-line", x1: left, x2: width, y1: base - height(share * most), y2: base - height(share * most) }),
      svg("text", { class: "tick", x: left - 8, y: base - height(share * most), "text-anchor": "end", "dominant-baseline": "central" },
        text(share * most).replace(/ (MACs|parameters)$/, "")),
    ]),
    recording.stages.map((stage, n) => stageColumn(stage, left + n * COLUMN, base, height, of, text)),
  );
}

function stageColumn(stage, x, base, height, of, text) {
  let y = base;
  const segments = stage.nodes.map((name) => nodesByName.get(name)).filter((node) => of(node) > 0).map((node) => {
    const tall = height(of(node));
    y -= tall;
    const place = { x: x + 7, y, width: COLUMN - 14, height: Math.max(tall, 0.5) };
    return svg("g", { class: "segment", onclick: () => selectNode(node.name, true) },
      svg("rect", { ...place, class: `cost-${costKind(node)}` }),
      costKind(node) === "gate" && svg("rect", { ...place, fill: "url(#hatch-gate)" }),
      svg("title", {}, `${node.name}: ${text(of(node))}`));
  });
  return svg("g", {}, segments, svg("text", { class: "tick", x: x + COLUMN / 2, y: base + 18, "text-anchor": "middle" },
    stage.name.replace("blocks.", "").replace("classifier", "class.")));
}

function kindsLegend(of, text, total) {
  return el("p", { class: "legend" }, COST_KINDS.map(([kind, label]) => {
    const sum = recording.nodes.filter((node) => costKind(node) === kind).reduce((all, node) => all + of(node), 0);
    return el("span", { class: "chip" }, el("span", { class: `cost-sample sample-${kind}` }), `${label}: ${text(sum)}, ${percent(sum / total)}`);
  }));
}
