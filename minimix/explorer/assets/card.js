"use strict";
// What a layer is: its facts, its formulas, and the reference code that computes it.

const KINDS = {
  input: "the picture, as the network reads it",
  conv: "full convolution",
  mixconv: "depthwise convolution",
  pointwise: "1 × 1 convolution",
  squeeze_excite: "squeeze-excite",
  add: "residual addition",
  pool: "global average pooling",
  linear: "fully connected layer",
  batch_norm: "batch norm",
  activation: "activation",
};
const MEMBER_NAMES = { batch_norm: "batch norm", activation: "activation" };

function kindText(node) {
  const mixes = node.kind === "mixconv" && node.groups.length > 1;
  const what = mixes ? `MixConv: depthwise with ${node.groups.length} kernel sizes` : KINDS[node.kind];
  const rest = node.members.slice(1).map((member) => MEMBER_NAMES[member.kind] ?? member.kind);
  if (node.activation && node.members.length > 1) rest[rest.length - 1] = node.activation;
  return [what, ...rest].join(" + ");
}

function timeOf(node) {
  if (recording.times === null) return "not measured";
  if (node.ms !== null) return quantity(node.ms, milliseconds(node.ms), { "data-fact": "ms" });
  return node.ms_in === null ? "not measured" : ["inside ", nodeLink(node.ms_in)];
}

function fieldText(node) {
  if (node.kind === "input") return null;
  if (node.field.step === 0) return "the whole picture";
  return `${node.field.size} × ${node.field.size} px`;
}

function strideText(node) {
  return node.stride === null ? null : `stride ${node.stride}, ${node.padding} padding`;
}

function card(node) {
  const groups = node.groups.length > 1 || hasKernels(node)
    ? node.groups.map((group) => el("li", {},
        hasKernels(node) ? kernelChip(group.extent) : `group ${node.groups.indexOf(group) + 1}`,
        `: ${plural(group.channels, "channel")}`))
    : null;
  return el(
    "section", { class: "card", "aria-labelledby": "layer-name" },
    el("div", { class: "card-head" },
      el("h2", { id: "layer-name", tabindex: "-1" }, node.name),
      el("p", { class: "muted" }, kindText(node)),
      stepButtons(node.name)),
    el("div", { class: "card-body" }, facts([
      ["Output", `${shapeText(node.shape)}${node.shape.length === 3 ? "" : " values"}`],
      ["Parameters", quantity(node.parameters, whole(node.parameters), { "data-fact": "parameters" })],
      ["MACs", quantity(node.macs, whole(node.macs), { "data-fact": "macs" })],
      ["Time", timeOf(node)],
      ["Output memory", quantity(node.output_bytes, bytes(node.output_bytes), { "data-fact": "bytes" })],
      ["Receptive field", fieldText(node)],
      ["Window", strideText(node)],
      ["Reads", node.inputs.length ? el("span", { class: "links" }, node.inputs.map(nodeLink)) : null],
      ["Kernels", groups && el("ul", { class: "plain" }, groups)],
    ]), el("div", { class: "formulas" }, formulaList(node), codeOf(node))),
  );
}

function formulaList(node) {
  if (node.formulas.length === 0) return null;
  return el("ol", { class: "plain formula", "aria-label": "Formulas" },
    node.formulas.map((line) => el("li", {}, line)));
}

function codeOf(node) {
  if (node.code.length === 0) return null;
  return disclosure(`Reference code: ${node.code.join(", ")}`, () => el(
    "div", {},
    el("p", { class: "muted note" }, recording.model.engine === "reference"
      ? "This ran, in NumPy."
      : "The readable version, in NumPy. The compiled engine computes the same, within its tested tolerance."),
    node.code.map((name) => el(
      "pre", { tabindex: "0", role: "region", "aria-label": `Source code of ${name}` },
      el("code", {}, recording.code[name]))),
  ));
}

// Buttons to the layer before and after.
function stepButtons(name) {
  const names = recording.nodes.map((node) => node.name);
  const n = names.indexOf(name);
  const button = (text, target) => el(
    "button", { type: "button", disabled: !target, onclick: () => selectNode(target, true) }, text);
  return el("div", { class: "steps" }, button("← Previous", names[n - 1]), button("Next →", names[n + 1]));
}

// A stage as a whole: its layers and what they cost together.
function stageCard(stage) {
  const nodes = stage.nodes.map((name) => nodesByName.get(name));
  const sum = (of) => nodes.reduce((total, node) => total + of(node), 0);
  return el(
    "section", { class: "card", "aria-labelledby": "layer-name" },
    el("div", { class: "card-head" },
      el("h2", { id: "layer-name", tabindex: "-1" }, stage.name),
      el("p", { class: "muted" }, stage.residual ? "adds its input to its output" : "no residual connection")),
    facts([
      ["Output", shapeText(nodes.at(-1).shape)],
      ["Parameters", whole(sum((node) => node.parameters))],
      ["MACs", whole(sum((node) => node.macs))],
      ["Time", recording.times && milliseconds(sum((node) => node.ms ?? 0))],
      ["Written as", stage.spec && el("code", {}, stage.spec)],
    ]),
    table(`Layers of ${stage.name}`, ["Layer", "What", "Output", "Parameters", "MACs", "Time"],
      nodes.map((node) => [nodeLink(node.name), kindText(node), shapeText(node.shape),
        whole(node.parameters), whole(node.macs), timeOf(node)])),
  );
}
