"use strict";
// One place in the picture, kept from layer to layer: what all panels of a layer look at.

const cursor = { y: 0.5, x: 0.5, watchers: [] };

// A node with maps -> the pixel of its output where the cursor is.
function pixelOf(node) {
  const [height, width] = node.shape;
  return [Math.floor(cursor.y * height), Math.floor(cursor.x * width)];
}

// Move the cursor to the middle of a node's output pixel.
function movePixel(node, i, j) {
  cursor.y = (i + 0.5) / node.shape[0];
  cursor.x = (j + 0.5) / node.shape[1];
  for (const watch of cursor.watchers) watch(i, j);
}

// Call with the pixel now, and whenever it moves, until another layer is shown.
function watchPixel(node, watch) {
  cursor.watchers.push(watch);
  watch(...pixelOf(node));
}
