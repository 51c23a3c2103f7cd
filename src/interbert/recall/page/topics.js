// Topics that were recalled before, as cards; and one of them opened, with its products to keep or to drop.

import { Service } from "./api.js";
import { cardFace, pictureOf } from "./card.js";
import { byId, element, say } from "./dom.js";
import { Grid } from "./grid.js";
import { message, refusal } from "./message.js";
import { ProductDialog } from "./product.js";
import { number, speak, t } from "./words.js";

const name = new URLSearchParams(location.search).get("name");
const service = new Service();
const view = name === null ? allTopics() : oneTopic();

function allTopics() {
  const cards = [];
  let cursor = null,
    total = 0,
    asking = false,
    ended = false;
  const grid = new Grid(byId("results"), { card: topicCard, more: load, narrowest: 240, caption: 88 });

  async function load() {
    if (asking || ended) return;
    asking = true;
    try {
      const answer = await service.topics(cursor);
      cards.push(...answer.items);
      cursor = answer.next_cursor;
      total = answer.total;
      ended = !cursor;
      show();
    } catch (error) {
      ended = true; // until it is tried again
      refusal(error, () => ((ended = false), message(), load()));
    } finally {
      asking = false;
    }
    if (cards.length) grid.show(cards);
  }

  function show() {
    say(byId("count"), cards.length ? t("topicCount", { count: number(total) }) : "");
    if (ended && !cards.length)
      message(
        t("topicsNone"),
        t("topicsHow"),
        element("code", {}, "interbert recall INDEX --topics FILE --out FILE --keep"),
      );
  }

  return { load, redraw: () => (show(), grid.redraw()) };
}

function topicCard(card) {
  const numbers = { products: number(card.products), kept: number(card.kept), dropped: number(card.dropped) };
  return element(
    "li",
    { class: "card topic" },
    element(
      "a",
      { href: `topics.html?${new URLSearchParams({ name: card.name })}` },
      card.cover ? pictureOf(service, card.cover) : element("span", { class: "picture" }),
      element(
        "span",
        { class: "caption" },
        element("b", { class: "title" }, card.title),
        element("span", { class: "sub small" }, card.sub_title),
        element("span", { class: "soft small" }, t("topicNumbers", numbers)),
      ),
    ),
  );
}

function oneTopic() {
  let topic = null,
    products = [];
  const grid = new Grid(byId("results"), { card: productCard, more: () => {}, caption: 124 });
  const dialog = new ProductDialog({
    service,
    topic: () => topic.title,
    at: (index) => products[index],
    closed: (index) => grid.focus(index),
  });
  byId("results").addEventListener("keydown", (event) => {
    const keep = { k: true, d: false }[event.key.toLowerCase()];
    const card = event.target.closest("li");
    if (keep === undefined || !card || event.altKey || event.ctrlKey || event.metaKey) return;
    card.querySelector(`[data-keep="${keep}"]`).click();
  });

  async function load() {
    try {
      topic = await service.topic(name);
      products = [...topic.products, ...topic.dropped];
      message();
      show();
      grid.show(products);
    } catch (error) {
      refusal(error, load);
    }
  }

  function show() {
    byId("back").hidden = byId("how").hidden = false;
    if (!topic) return;
    delete byId("title").dataset.t; // it is the topic's from now on
    byId("title").textContent = topic.title;
    say(byId("sub-title"), topic.sub_title);
    byId("now").hidden = false;
    const { title, threshold, filter } = topic;
    const asked = { topic: title, ...(threshold !== null && { threshold }), ...(filter && { filter }) };
    byId("now").firstChild.href = `../?${new URLSearchParams(asked)}`;
    const done = products.filter((one) => one.kept !== null).length;
    byId("count").textContent = t("reviewed", { done: number(done), all: number(products.length) });
  }

  function productCard(item, index) {
    const card = element("li", { class: "card" });
    const verdict = (keep, word) =>
      element(
        "button",
        {
          type: "button",
          class: "quiet",
          "data-keep": `${keep}`,
          on: { click: () => review(item, keep, card) },
        },
        t(word),
      );
    card.append(
      element(
        "button",
        { type: "button", on: { click: () => dialog.open(index) } },
        ...cardFace(service, item),
      ),
      element("div", { class: "verdicts" }, verdict(true, "keep"), verdict(false, "drop")),
    );
    mark(card, item);
    return card;
  }

  // Keeps or drops a product; the same again takes it back.
  async function review(item, keep, card) {
    const before = item.kept;
    item.kept = before === keep ? null : keep;
    mark(card, item);
    say(byId("failed"), "");
    try {
      await service.review(name, item.id, item.kept === null ? null : item.kept ? "keep" : "drop");
    } catch (error) {
      item.kept = before;
      mark(card, item);
      say(byId("failed"), error.status ? error.message : t("unreachable"));
    }
    show();
  }

  return { load, redraw: () => (show(), grid.redraw(), dialog.redraw()) };
}

function mark(card, item) {
  card.classList.toggle("dropped", item.kept === false);
  for (const button of card.querySelectorAll(".verdicts button"))
    button.setAttribute("aria-pressed", button.dataset.keep === `${item.kept}`);
}

speak(view.redraw);
view.load();
