"use strict";
// Histograms of a layer's output, and values sorted: gates, pooled means, logits.

// Drawn about as large as shown, so that its text keeps its size.
const CHART = { width: document.documentElement.clientWidth < 560 ? 330 : 560, height: 230, left: 52, right: 12, top: 12, bottom: 40 };
const PLOT = {
  width: CHART.width - CHART.left - CHART.right,
  height: CHART.height - CHART.top - CHART.bottom,
};

function chartFrame(label, ...content) {
  return svg("svg", { class: "chart", viewBox: `0 0 ${CHART.width} ${CHART.height}`, role: "img", "aria-label": label }, content);
}

// Places and texts -> labels and lines of the vertical axis; of the horizontal one.
function verticalAxis(ticks) {
  return ticks.map(([y, text]) => [
    svg("line", { class: "grid-line", x1: CHART.left, x2: CHART.width - CHART.right, y1: y, y2: y }),
    svg("text", { class: "tick", x: CHART.left - 6, y, "text-anchor": "end", "dominant-baseline": "central" }, text),
  ]);
}

function horizontalAxis(ticks, title) {
  const y = CHART.height - CHART.bottom;
  return [
    ticks.map(([x, text], n) => svg("text", {
      class: "tick", x, y: y + 16,
      "text-anchor": n === 0 ? "start" : n === ticks.length - 1 ? "end" : "middle",
    }, text)),
    svg("text", { class: "tick", x: CHART.left + PLOT.width / 2, y: y + 34, "text-anchor": "middle" }, title),
  ];
}

function histogramPanel(node) {
  const body = el("div");
  let isLog = true;
  const draw = () => body.replaceChildren(histogramChart(node, isLog));
  draw();
  const { low, high, counts } = node.histogram;
  const width = (high - low) / counts[0].length;
  const [height, pixels] = [node.shape.length, node.shape.reduce((a, b) => a * b, 1)];
  return panel(
    "Histogram", `All ${whole(pixels)} values of the output${height === 3 && node.kind !== "input" ? `. ${deadText(node)}` : "."}`,
    choice("Counts", [[true, "logarithmic"], [false, "linear"]], true, (log) => {
      isLog = log;
      draw();
    }),
    body,
    table(`Output of ${node.name}`, ["Of", "Lowest", "Highest", "Mean", "Deviation", "Zeros"],
      node.stats.map((of, p) => [pictureTag(p) ?? "Values", number(of.low), number(of.high), number(of.mean),
        number(of.std), percent(of.zeros)])),
    deadList(node),
    asTable(`Histogram of ${node.name}`, ["From", "To", ...counts.map((_, p) => (counts.length > 1 ? `Values, ${"AB"[p]}` : "Values"))],
      () => counts[0].map((_, n) => [number(low + n * width), number(low + (n + 1) * width),
        ...counts.map((of) => whole(of[n]))])),
  );
}

function deadList(node) {
  if (!node.dead.some((dead) => dead.length)) return null;
  return disclosure("Which channels are dead", () => el("div", {}, node.dead.map((dead) =>
    el("p", { class: "numbers" }, dead.length ? dead.join(", ") : "none"))));
}

function histogramChart(node, isLog) {
  const { low, high, counts } = node.histogram;
  const most = Math.max(...counts.flat());
  const scale = (count) => (isLog ? Math.log1p(count) / Math.log1p(most) : count / most);
  const bottom = CHART.top + PLOT.height;
  const step = PLOT.width / counts[0].length;
  const y = (count) => bottom - PLOT.height * scale(count);
  const ticks = isLog
    ? [0, ...Array.from({ length: 8 }, (_, k) => 10 ** k).filter((n) => n <= most)]
    : [0, 0.5, 1].map((share) => Math.round(share * most));
  const zero = low < 0 && high > 0 ? CHART.left + (PLOT.width * -low) / (high - low) : null;
  const isBetween = zero !== null && zero > CHART.left + 60 && zero < CHART.left + PLOT.width - 60;
  const bars = counts[0].map((count, n) => svg("rect", {
    class: "bar", x: CHART.left + n * step, y: y(count), width: Math.max(1, step - 1), height: bottom - y(count),
  }, svg("title", {}, `${number(low + ((high - low) * n) / counts[0].length, 3)}: ${plural(count, "value")}`)));
  const other = counts[1] && svg("path", {
    class: "other-line",
    d: counts[1].map((count, n) => `${n ? "L" : "M"}${CHART.left + n * step} ${y(count)}h${step}`).join(""),
  });
  return el("div", {},
    chartFrame(`Histogram of ${node.name}, from ${number(low, 3)} to ${number(high, 3)}`,
      verticalAxis(ticks.map((count) => [y(count), whole(count)])), bars, other,
      zero && svg("line", { class: "zero-line", x1: zero, x2: zero, y1: CHART.top, y2: bottom }),
      horizontalAxis([[CHART.left, number(low, 3)], ...(isBetween ? [[zero, "0"]] : []),
        [CHART.left + PLOT.width, number(high, 3)]], "value")),
    pictures.length > 1 && pairLegend());
}

function pairLegend() {
  return el("p", { class: "legend muted" },
    el("span", { class: "chip" }, el("span", { class: "sample-bar" }), pictureTag(0)),
    el("span", { class: "chip" }, el("span", { class: "sample-line" }), pictureTag(1)));
}

// Values of each channel, one list per picture -> sorted by picture A's, the other overlaid.
function sortedChart(label, lists, [low, high], unit) {
  const order = sortedBy(lists[0]);
  const count = order.length;
  const bottom = CHART.top + PLOT.height;
  const y = (value) => bottom - (PLOT.height * (value - low)) / (high - low || 1);
  const step = PLOT.width / count;
  const x = (n) => CHART.left + n * step;
  const area = order.map((c, n) => `L${x(n)} ${y(lists[0][c])}h${step}`).join("");
  const base = Math.min(bottom, y(Math.max(low, 0)));
  const marks = lists[1] && svg("path", {
    class: count > 120 ? "other-dots" : "other-line",
    d: order.map((c, n) => `M${x(n)} ${y(lists[1][c])}h${Math.max(step, 1.5)}`).join(""),
  });
  const middle = (low + high) / 2;
  return chartFrame(label,
    verticalAxis([low, middle, high].map((value) => [y(value), number(value, 2)])),
    svg("path", { class: "area", d: `M${CHART.left} ${base}${area}V${base}Z` }), marks,
    horizontalAxis([[CHART.left, "1"], [CHART.left + PLOT.width, whole(count)]], unit));
}

// Indices, the largest value first.
function sortedBy(values) {
  return Array.from(values, (_, n) => n).sort((a, b) => values[b] - values[a] || a - b);
}

function gatesPanel(node) {
  const lists = node.gates.map(arrayOf);
  const below = lists.map((gates) => gates.filter((gate) => gate < 0.1).length);
  const above = lists.map((gates) => gates.filter((gate) => gate > 0.9).length);
  const counted = pictures.map((_, p) => `${pictures.length > 1 ? `${"AB"[p]}: ` : ""}${whole(below[p])} nearly closed ` +
    `(below 0.1), ${whole(above[p])} nearly open (above 0.9)`);
  return panel(
    "Gates", `One factor per channel, 0 to 1, computed from the means of all ${whole(lists[0].length)} channels. ${counted.join("; ")}.`,
    sortedChart(`Gates of ${node.name}, sorted`, lists, [0, 1],
      pictures.length > 1 ? "channels, sorted by the gates of A" : "channels, sorted by gate"),
    pictures.length > 1 && [pairLegend(), differences(lists)],
    asTable(`Gates of ${node.name}, sorted`, ["Channel", ...lists.map((_, p) => (lists.length > 1 ? `Gate, ${"AB"[p]}` : "Gate"))],
      () => sortedBy(lists[0]).map((c) => [String(c), ...lists.map((gates) => fixed(gates[c], 4))])),
  );
}

// The channels whose gates differ most between the pictures.
function differences(lists) {
  const order = sortedBy(lists[0].map((gate, c) => Math.abs(gate - lists[1][c]))).slice(0, 5);
  return table("Gates that differ most", ["Channel", "A", "B", "B − A"],
    order.map((c) => [String(c), fixed(lists[0][c], 3), fixed(lists[1][c], 3), fixed(lists[1][c] - lists[0][c], 3)]));
}

// The output of pooling or of the classifier.
function vectorPanel(node) {
  const lists = node.vector.map(arrayOf);
  const isLogits = node.kind === "linear";
  const low = Math.min(0, ...lists.map(least)), high = Math.max(...lists.map(most));
  return panel(
    isLogits ? "Logits" : "Means",
    isLogits ? "One number per class, before softmax." : "The mean of every channel over all its pixels.",
    sortedChart(`${isLogits ? "Logits" : "Means"}, sorted`, lists, [low, high],
      `${isLogits ? "classes" : "channels"}, sorted${pictures.length > 1 ? " by A" : ""}`),
    pictures.length > 1 && pairLegend(),
    asTable(`Output of ${node.name}, sorted`,
      [isLogits ? "Class" : "Channel", ...lists.map((_, p) => (lists.length > 1 ? `Value, ${"AB"[p]}` : "Value"))],
      () => sortedBy(lists[0]).map((c) =>
        [isLogits ? foreign(labelOf(c)) : String(c), ...lists.map((values) => number(values[c]))])),
  );
}
