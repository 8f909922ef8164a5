"use strict";
// Feature maps: the liveliest channels of a layer, and the one chosen, pixel by pixel.

// What can be shown of a node: channels, their scale, 8-bit places, and exact values if kept.
function mapsOf(node) {
  return node.kind === "input" ? inputMaps() : recordedMaps(node);
}

function recordedMaps(node) {
  const { channels, energies, low, high, values } = node.maps;
  const [height, width] = node.shape;
  const flat = values.map(arrayOf);
  return {
    channels, energies, low, high,
    places: (p, n) => flat[p].subarray(n * height * width, (n + 1) * height * width),
    name: (n) => `channel ${channels[n]}`,
    value: (p, n, i, j) => recordedValue(node, flat[p][(n * height + i) * width + j], p, n, i, j),
  };
}

// A pixel's value: exact where the magnifier has the channel, else as near as 8 bits come.
function recordedValue(node, place, p, n, i, j) {
  const { channels, low, high } = node.maps;
  const sample = node.magnifier.find((each) => each.channel === channels[n]);
  if (sample) {
    const raw = arrayOf(sample.output[p])[i * node.shape[1] + j];
    return { value: activated(node, raw * sample.scale + sample.shift), error: 0 };
  }
  const step = (high[n] - low[n]) / 255;
  return { value: low[n] + place * step, error: step / 2 };
}

// The picture as the network reads it: three exact channels.
function inputMaps() {
  const size = recording.model.size;
  const read = pictures.map((_, p) => inputOf(p));
  const planes = read.map((at) => [0, 1, 2].map((c) =>
    Float32Array.from({ length: size * size }, (_, n) => at(Math.floor(n / size), n % size, c))));
  const every = [0, 1, 2].map((c) => planes.map((picture) => picture[c]));
  const low = every.map((of) => Math.min(...of.map((plane) => plane.reduce((a, b) => Math.min(a, b)))));
  const high = every.map((of) => Math.max(...of.map((plane) => plane.reduce((a, b) => Math.max(a, b)))));
  const energy = (c) => planes.reduce((sum, picture) =>
    sum + picture[c].reduce((total, x) => total + x * x, 0) / (size * size * planes.length), 0);
  return {
    channels: [0, 1, 2], energies: [0, 1, 2].map(energy), low, high,
    places: (p, c) => Uint8Array.from(planes[p][c], (x) => placeOf(x, low[c], high[c])),
    name: (c) => `channel ${c}, ${{ R: "red", G: "green", B: "blue" }[(recording.model.pipeline.channels ?? "RGB")[c]]}`,
    value: (p, c, i, j) => ({ value: read[p](i, j, c), error: 0 }),
  };
}

function activated(node, x) {
  if (node.activation === "relu") return Math.max(x, 0);
  if (node.activation === "swish") return x / (1 + Math.exp(-x));
  return x;
}

function mapsPanel(node) {
  const isLeftOut = node.kind === "input"
    ? pictures.some((picture) => picture.input === null) : node.maps.channels.length === 0;
  if (isLeftOut) {
    return panel("Feature maps", "Left out, so that the page stays below " +
      `${bytes(recording.limits.page_bytes)}; minimix explore --full keeps more.`);
  }
  const maps = mapsOf(node);
  const state = { node, maps, chosen: 0, isShared: false };
  const total = node.shape[2];
  const note = node.kind === "input"
    ? "The three colours after normalisation: what the first convolution reads."
    : `${maps.channels.length} of ${plural(total, "channel")}, ${hasKernels(node) && node.groups.length > 1
        ? "the liveliest of each kernel size in turns"
        : "the liveliest first"} (mean of squares). ${deadText(node)}`;
  state.tiles = el("div", { class: "tiles", role: "group", "aria-label": "Channels" });
  state.large = el("div", { class: "large-map" });
  fillTiles(state);
  showMap(state);
  return panel(
    "Feature maps", note,
    choice("Scale", [[false, "each channel its own"], [true, "one for all"]], false, (shared) => {
      state.isShared = shared;
      fillTiles(state);
      showMap(state);
    }),
    el("div", { class: "maps" }, state.large, state.tiles),
    asTable(`Channels of ${node.name} at the cursor`,
      ["Channel", ...(hasKernels(node) ? ["Kernel"] : []), "Energy", "Lowest", "Highest",
        ...pictures.map((_, p) => (pictures.length > 1 ? `Value, ${"AB"[p]}` : "Value"))],
      () => channelRows(state)),
  );
}

function deadText(node) {
  const total = node.shape.at(-1);
  const counts = node.dead.map((dead, p) =>
    `${whole(dead.length)} of ${whole(total)}${pictures.length > 1 ? ` (${"AB"[p]})` : ""}`);
  const meaning = node.activation === "relu" ? "zero everywhere" : "the same everywhere";
  return `Dead channels, ${meaning}: ${counts.join(", ")}.`;
}

// The scale of channel n.
function rangeOf({ maps, isShared }, n) {
  return isShared ? [Math.min(...maps.low), Math.max(...maps.high)] : [maps.low[n], maps.high[n]];
}

// 8-bit places of a channel, on the scale that is shown.
function placesOf(state, p, n) {
  const { maps } = state;
  const places = maps.places(p, n);
  if (!state.isShared) return places;
  const [low, high] = rangeOf(state, n);
  const lookup = Uint8Array.from({ length: 256 }, (_, k) =>
    placeOf(maps.low[n] + (k * (maps.high[n] - maps.low[n])) / 255, low, high));
  return places.map((place) => lookup[place]);
}

function fillTiles(state) {
  const [height, width] = state.node.shape;
  state.tiles.replaceChildren(...state.maps.channels.map((channel, n) => {
    const [low, high] = rangeOf(state, n);
    const group = hasKernels(state.node) ? groupOf(state.node, channel) : null;
    const canvases = pictures.map((_, p) => {
      const canvas = el("canvas", { width, height, "aria-hidden": "true" });
      paint(canvas, "sequential", placesOf(state, p, n));
      return canvas;
    });
    return el(
      "button", {
        type: "button", class: "tile", "aria-pressed": String(n === state.chosen),
        "aria-label": `${state.maps.name(n)}${group ? `, kernel ${group.extent} px` : ""}, from ${number(low, 3)} to ${number(high, 3)}`,
        onclick: () => {
          state.chosen = n;
          for (const [k, tile] of [...state.tiles.children].entries()) {
            tile.setAttribute("aria-pressed", String(k === n));
          }
          showMap(state);
        },
      },
      el("span", { class: "canvases" }, canvases),
      el("span", { class: "tile-name" },
        group && el("span", { class: `swatch small ${kernelClass(group.extent)}` }), `ch ${channel}`),
      el("span", { class: "tile-range muted" }, `${number(low, 2)} … ${number(high, 2)}`),
    );
  }));
}

// The chosen channel, large, with the value under the cursor.
function showMap(state) {
  const { node, maps, chosen } = state;
  const [height, width] = node.shape;
  const views = pictures.map((_, p) => {
    const view = new PixelMap(height, width, `Feature map, ${maps.name(chosen)}${pictures.length > 1 ? `, picture ${"AB"[p]}` : ""}`,
      (i, j) => movePixel(node, i, j));
    view.paint("sequential", placesOf(state, p, chosen));
    return view;
  });
  const readout = el("p", { class: "readout", role: "status" });
  state.update = (i, j) => {
    for (const view of views) view.mark(i, j);
    readout.replaceChildren(`Row ${i}, column ${j}: `, ...pictures.flatMap((_, p) => {
      const { value, error } = maps.value(p, chosen, i, j);
      const about = error > 0 ? ` ± ${number(error, 2)}` : " exact";
      return [p ? "; " : "", pictures.length > 1 ? `${"AB"[p]} ` : "",
        quantity(value, number(value)), el("span", { class: "muted" }, about)];
    }));
  };
  const [low, high] = rangeOf(state, chosen);
  const group = hasKernels(node) ? groupOf(node, maps.channels[chosen]) : null;
  state.large.replaceChildren(
    el("p", { class: "map-name" }, el("b", {}, maps.name(chosen)), " ", group && kernelChip(group.extent)),
    pair((p) => views[p].element),
    scaleBar("sequential", low, high, "activation, no unit"),
    readout,
  );
  if (state.isWatched) state.update(...pixelOf(node));
  else watchPixel(node, (i, j) => state.update(i, j));
  state.isWatched = true;
}

function channelRows({ node, maps }) {
  const [i, j] = pixelOf(node);
  return maps.channels.map((channel, n) => [
    String(channel),
    ...(hasKernels(node) ? [kernelChip(groupOf(node, channel).extent)] : []),
    number(maps.energies[n]), number(maps.low[n]), number(maps.high[n]),
    ...pictures.map((_, p) => number(maps.value(p, n, i, j).value)),
  ]);
}
