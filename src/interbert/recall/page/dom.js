// Making elements. Texts become text nodes: a title that looks like markup stays a title.

// element("p", {class: "soft", on: {click: f}}, "text", child, …); attributes that are false or undefined are left out.
export function element(tag, { on = {}, ...attributes } = {}, ...children) {
  const made =
    tag === "svg" || SVG.has(tag) ? document.createElementNS(NS, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  for (const [event, handler] of Object.entries(on)) made.addEventListener(event, handler);
  made.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

const NS = "http://www.w3.org/2000/svg";
const SVG = new Set(["rect", "g", "text"]);

export const byId = (id) => document.getElementById(id);

// Shows an element with a text, or hides it where there is none.
export function say(place, text) {
  place.textContent = text || "";
  place.hidden = !text;
}

// Calls `what` when nobody has called for so long.
export function afterPause(what, milliseconds) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(what, milliseconds, ...values);
  };
}
