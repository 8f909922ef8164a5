"use strict";
// The recording: its document, and its arrays by reference.  See minimix/explorer/format.py.

const recording = JSON.parse(byId("document").textContent);
const pictures = recording.pictures;
const nodesByName = new Map(recording.nodes.map((node) => [node.name, node]));
const stagesByName = new Map(recording.stages.map((stage) => [stage.name, stage]));

const ARRAYS = { u1: Uint8Array, i4: Int32Array, f4: Float32Array };
const unpacked = new Map();

async function unpack(element) {
  const packed = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const content = await new Response(stream).arrayBuffer();
  unpacked.set(element.id.replace("buffer-", ""), content);
}

// Unpack all buffers; after that references resolve at once.
async function unpackAll() {
  await Promise.all(Array.from(document.querySelectorAll("script[id^=buffer-]"), unpack));
}

// A reference -> its typed array, in C order.
function arrayOf(ref) {
  const length = ref.shape.reduce((product, side) => product * side, 1);
  return new ARRAYS[ref.dtype](unpacked.get(ref.buffer), ref.offset, length);
}

// A picture's number -> (row, column, channel) -> the network's input there.
function inputOf(p) {
  const { values, levels } = pictures[p].input;
  const [, width, channels] = values.shape;
  const flat = arrayOf(values);
  if (levels === null) return (i, j, c) => flat[(i * width + j) * channels + c];
  const table = arrayOf(levels);
  const count = levels.shape[1];
  return (i, j, c) => table[c * count + flat[(i * width + j) * channels + c]];
}

// A node's name without its stage's.
function shortName(node) {
  return node.name === node.stage ? node.name : node.name.slice(node.stage.length + 1);
}

// A class's index -> its name.
function labelOf(index) {
  return recording.labels[index];
}

// A node and a channel -> the group of kernels that makes it, or null.
function groupOf(node, channel) {
  return node.groups.find((g) => channel >= g.first && channel < g.first + g.channels) ?? null;
}

// Whether the groups differ in what they see, as those of a MixConv do.
function hasKernels(node) {
  return node.groups.some((group) => group.kernels !== null);
}
