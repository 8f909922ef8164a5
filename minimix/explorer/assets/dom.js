"use strict";
// Elements, written as calls.  Whatever is shown goes in as a text node or an attribute, never as
// markup: names and labels come from strangers.  The page's policy forbids style attributes.

const SVG = "http://www.w3.org/2000/svg";

// Tag, attributes (on... are listeners; null and false are left out), children -> the element.
function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

// The same for drawings.
function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value);
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

// Text of a stranger: its direction of writing stays inside of it.
function foreign(text) {
  return el("bdi", {}, text);
}

// An id of the page's fixed markup -> its element.
function byId(id) {
  return document.getElementById(id);
}
