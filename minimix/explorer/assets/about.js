"use strict";
// Where everything on the page comes from, and how to read it.

function aboutPane() {
  const { model, times, limits } = recording;
  return [
    el("section", { class: "panel", "aria-labelledby": "about-model" },
      el("h2", { id: "about-model" }, "The model"),
      facts([
        ["Name", foreign(model.name)],
        ["Input", `${model.size} × ${model.size} px, ${model.pipeline.channels ?? "RGB"}`],
        ["Parameters", quantity(model.parameters, whole(model.parameters))],
        ["MACs", quantity(model.macs, whole(model.macs))],
        ["Engine", model.engine],
        ["Stored as", model.dtype],
        ["License", model.license ? foreign(model.license) : null],
        ["Written by", model.tool ? foreign(model.tool) : null],
        ...model.source.map(([key, value]) => [foreign(`Source: ${key}`), foreign(value)]),
      ]),
      settings("Dialect: how the layers were defined", model.dialect),
      settings("Pipeline: from picture to input", model.pipeline)),
    el("section", { class: "panel", "aria-labelledby": "about-page" },
      el("h2", { id: "about-page" }, "How to read this page"),
      el("ul", { class: "notes" }, readingNotes(times, limits).map((note) => el("li", {}, note)))),
    el("section", { class: "panel", "aria-labelledby": "about-keys" },
      el("h2", { id: "about-keys" }, "Keyboard"),
      table("Keys", ["Where", "Key", "What it does"], KEY_HELP)),
  ];
}

function settings(title, values) {
  const rows = Object.entries(values).map(([name, value]) =>
    [foreign(name), foreign(typeof value === "string" ? value : JSON.stringify(value))]);
  return disclosure(title, () => table(title, ["Setting", "Value"], rows));
}

function readingNotes(times, limits) {
  return [
    ["Kernel sizes keep one colour and one hatch: ", KERNEL_SIZES.map((size) => [kernelChip(size), " "])],
    "Activations run from dark blue (lowest) to light yellow (highest); signed numbers, such as weights, from blue " +
      "(negative) over white (0) to red (positive). The scale stands below each picture.",
    "Feature maps are kept in 8 bits per pixel, so their values come with ±; those marked exact, the magnifier, the " +
      "input, the logits and the class activation are the recorded float32 numbers.",
    recording.model.engine === "compiled"
      ? "All layers' outputs and the logits come from the compiled engine, in a run that keeps every result; times and " +
        "occlusion from the same engine at full speed. Gates and class activation follow from recorded outputs, in NumPy."
      : `All numbers come from the ${recording.model.engine} engine, in NumPy.`,
    "Batch norm and activation are shown with the convolution that they follow.",
    times === null ? "No times were measured."
      : "Times were measured on the machine named under Cost, when this page was made; they are not those of your computer.",
    `The page keeps below ${bytes(limits.page_bytes)}; ${recording.full ? "it was made with --full" : "minimix explore --full keeps more channels"}.`,
    `Made by ${recording.made_by}. Nothing is loaded from anywhere; nothing leaves this page.`,
  ];
}

const KEY_HELP = [
  ["Anywhere", "Tab, Shift + Tab", "the next or previous control"],
  ["Views", "Left, Right", "the view before or after"],
  ["Layers", "Up, Down", "the layer before or after"],
  ["Layers", "Page Up, Page Down", "the same layer of the block before or after"],
  ["Layers", "Left, Right", "fold the block up, open it, go into it"],
  ["Layers", "Home, End", "the first or last layer"],
  ["Maps", "Arrow keys", "move the cursor by one pixel, with Shift by five"],
];
