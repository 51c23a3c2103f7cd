// One product, opened: its picture with the regions, and the words and regions that carried its score.

import { pictureOf } from "./card.js";
import { byId, element } from "./dom.js";
import { button } from "./message.js";
import { signed, t } from "./words.js";

const BEST = 5; // regions that are drawn at first

export class ProductDialog {
  #asking = null;

  // at(index): the item there, or undefined.  closed(index): what to do when it is closed.
  constructor({ service, topic, at, closed }) {
    Object.assign(this, { service, topic, at, closed, dialog: byId("product") });
    this.dialog.addEventListener("close", () => this.#asking?.abort());
    this.dialog.addEventListener("close", () => this.closed(this.index));
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("keydown", (event) => this.#key(event));
  }

  open(index) {
    const item = this.at(index);
    if (!item) return;
    Object.assign(this, { index, item });
    const used = document.activeElement?.ariaLabel;
    const picture = element(
      "div",
      { class: "framed" },
      pictureOf(this.service, item, { alt: item.title, pause: 0, side: 0 }),
    );
    const why = element(
      "div",
      { class: "why", "aria-live": "polite" },
      element("p", { class: "soft" }, t("explaining")),
    );
    this.dialog.replaceChildren(this.#head(item), element("div", { class: "sides" }, picture, why));
    if (this.dialog.open) this.#focus(used);
    else this.dialog.showModal();
    this.dialog.scrollTop = 0;
    this.#explain(item, picture, why);
  }

  // Stays with its product where products have moved.
  follow(items) {
    const index = this.dialog.open ? items.findIndex((one) => one.id === this.item.id) : -1;
    if (index >= 0) this.index = index;
  }

  redraw() {
    if (this.dialog.open) this.open(this.index);
  }

  #head(item) {
    const go = (step, sign, name) =>
      element(
        "button",
        {
          type: "button",
          class: "quiet",
          "aria-label": t(name),
          disabled: !this.at(this.index + step),
          on: { click: () => this.open(this.index + step) },
        },
        sign,
      );
    return element(
      "header",
      {},
      element(
        "div",
        {},
        element("h2", { id: "product-title" }, item.title || item.id),
        element("p", { class: "soft" }, `${t("score")} ${item.score?.toFixed(3) ?? "–"} · ${item.id}`),
      ),
      element(
        "div",
        { class: "buttons" },
        go(-1, "←", "previous"),
        go(1, "→", "next"),
        element(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-label": t("close"),
            autofocus: true,
            on: { click: () => this.dialog.close() },
          },
          "✕",
        ),
      ),
    );
  }

  // The button that was used has the focus again, or else the one that closes.
  #focus(label) {
    const buttons = [...this.dialog.querySelectorAll("header button:enabled")];
    (buttons.find((one) => one.ariaLabel === label) ?? buttons.at(-1)).focus();
  }

  async #explain(item, picture, why) {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    try {
      const found = await this.service.explain(item.id, this.topic(), asking.signal);
      if (!asking.signal.aborted) explanation(found, this.topic(), picture, why);
    } catch (error) {
      if (asking.signal.aborted || error.name === "AbortError") return;
      why.replaceChildren(
        element("p", { class: "wrong" }, error.status ? error.message : t("unreachable")),
        button(t("retry"), () => this.#explain(item, picture, why)),
      );
    }
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey || !this.at(this.index + step)) return;
    event.preventDefault();
    this.open(this.index + step);
  }
}

// Fills `why` with words and regions, and draws regions over the picture.
function explanation(found, topic, picture, why) {
  const [width, height] = found.image_size;
  const best = found.regions
    .map((region, at) => ({ ...region, at }))
    .filter((region) => region.weight > 0)
    .sort((one, other) => other.weight - one.weight)
    .slice(0, BEST);
  const drawn = boxes(found.regions, best, width, height);
  picture.style.setProperty("--ratio", `${width} / ${height}`);
  picture.append(drawn.svg);

  const most = Math.max(...found.words.map((word) => Math.abs(word.weight)), 1e-6);
  const words = found.words.map((word, at) =>
    choice(word.word, word.weight, most, () => drawn.shade(found.weights[at])),
  );
  const regions = best.map((region, place) =>
    choice(`${place + 1} ${region.label || t("region")}`, region.weight, best[0].weight, () =>
      drawn.only(region.at),
    ),
  );
  choices([...words, ...regions], drawn.all);

  why.replaceChildren(
    element("h3", {}, t("why", { topic })),
    element("h4", {}, t("words")),
    element("p", { class: "soft small" }, t("wordsMore")),
    element("div", { class: "chips" }, ...words),
    element("h4", {}, t("regions")),
    element("p", { class: "soft small" }, best.length ? t("regionsMore") : t("noRegion")),
    element("div", { class: "chips" }, ...regions),
  );
}

// A word or a region with its weight, as a button that stays pressed.
function choice(text, weight, most, chosen) {
  const side = weight > 0 ? "for" : "against";
  const chip = element(
    "button",
    { type: "button", class: `chip ${side}`, "aria-pressed": "false", title: t(`${side}It`) },
    element("span", {}, text),
    element("span", { class: "weight" }, signed(weight)),
    element("span", { class: "bar" }),
  );
  chip.style.setProperty("--share", Math.min(1, Math.abs(weight) / most));
  chip.chosen = chosen;
  return chip;
}

// Of all chips at most one is pressed; without one, `none` is shown.
function choices(chips, none) {
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      const on = chip.getAttribute("aria-pressed") === "false";
      for (const other of chips) other.setAttribute("aria-pressed", on && other === chip);
      if (on) chip.chosen();
      else none();
    });
  }
}

// The regions as an SVG over the picture, in the picture's own pixels.
function boxes(regions, best, width, height) {
  const unit = Math.max(width, height) / 100;
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, class: "boxes", "aria-hidden": "true" });
  const shapes = regions.map(({ box: [x1, y1, x2, y2] }) => {
    const place = best.findIndex(
      (one) => one.box[0] === x1 && one.box[1] === y1 && one.box[2] === x2 && one.box[3] === y2,
    );
    const rect = element("rect", { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) });
    if (place < 0) return element("g", { class: "other" }, rect);
    const [x, y, side] = [Math.min(x1, width - 6 * unit), Math.min(y1, height - 6 * unit), 6 * unit];
    return element(
      "g",
      { class: "best" },
      rect,
      element("rect", { class: "tag", x, y, width: side, height: side }),
      element(
        "text",
        { x: x + side / 2, y: y + side * 0.75, "font-size": 4.5 * unit, "text-anchor": "middle" },
        `${place + 1}`,
      ),
    );
  });
  svg.append(...shapes.toReversed()); // regions come the surest first: those on top

  const show = (style) =>
    shapes.forEach((shape, at) => {
      const { shown, strength } = style(at, shape);
      shape.toggleAttribute("hidden", !shown);
      shape.style.setProperty("--strength", strength);
    });
  const all = () => show((_, shape) => ({ shown: shape.classList.contains("best"), strength: 0 }));
  all();
  return {
    svg,
    all,
    only: (chosen) => show((at) => ({ shown: at === chosen, strength: 0.25 })),
    shade: (weights) => {
      const most = Math.max(...weights, 1e-9);
      show((at) => ({ shown: weights[at] > 0.2 * most, strength: (0.7 * weights[at]) / most }));
    },
  };
}
