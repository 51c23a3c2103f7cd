// Two models, one topic. Both are served under this page's origin: each by its path, the other ones as /info says.

import { Service } from "./api.js";
import { cardFace } from "./card.js";
import { afterPause, byId, element, say } from "./dom.js";
import { message, refusal } from "./message.js";
import { ProductDialog } from "./product.js";
import { number, seconds, speak, t } from "./words.js";

const BEST = 24; // products of each side
const topic = byId("topic"),
  slider = byId("threshold");
const sides = [...document.querySelectorAll(".model")].map((place) => ({
  place,
  chooser: place.querySelector("select"),
  service: new Service(),
  answer: null,
  error: null,
  asking: null,
}));
const dialog = new ProductDialog({
  topic: () => topic.value.trim(),
  at: (index) => dialog.side?.answer?.items[index],
  closed: (index) => dialog.side.place.querySelectorAll(".card button")[index]?.focus(),
});
let models = []; // {name, path}

async function ask() {
  byId("threshold-value").textContent = Number(slider.value).toFixed(2);
  for (const side of sides) side.asking?.abort();
  for (const side of sides) Object.assign(side, { answer: null, error: null });
  if (!topic.value.trim() || models.length < 2) return show();
  const [a, b] = sides.map((side) => side.chooser.value);
  const asked = { topic: topic.value.trim(), threshold: slider.value, a, b };
  history.replaceState(null, "", `?${new URLSearchParams(asked)}`);
  byId("busy").hidden = false;
  const asking = sides.map(askOne);
  await Promise.all(asking);
  if (sides.every((side) => !side.asking)) byId("busy").hidden = true;
  show();
}

async function askOne(side) {
  const asking = (side.asking = new AbortController());
  const began = performance.now();
  try {
    const question = {
      topic: topic.value.trim(),
      threshold: Number(slider.value),
      mode: "exact",
      limit: BEST,
    };
    const answer = await side.service.recall(question, asking.signal);
    if (side.asking === asking) side.answer = { ...answer, seconds: (performance.now() - began) / 1000 };
  } catch (error) {
    if (side.asking === asking && error.name !== "AbortError") side.error = error;
  } finally {
    if (side.asking === asking) side.asking = null;
  }
}

function show() {
  const asked = sides.some((side) => side.answer || side.error || side.asking);
  byId("sides").hidden = models.length < 2;
  if (models.length > 1) message(asked ? "" : t("compareTitle"), t("compareStart"));
  sides.forEach((side, at) => showSide(side, sides[1 - at]));
  const [ids, others] = sides.map((side) => side.answer?.items.map((item) => item.id));
  const both = ids && others && ids.filter((id) => others.includes(id)).length;
  byId("count").textContent =
    both === undefined
      ? ""
      : t("shared", { shared: number(both), count: number(Math.max(ids.length, others.length)) });
}

function showSide(side, other) {
  const { answer, error, place } = side;
  say(place.querySelector(".wrong"), error && (error.status ? error.message : t("unreachable")));
  place.querySelector(".about").textContent = answer
    ? `${t("above", { count: number(answer.total_recalled), threshold: Number(slider.value).toFixed(2) })} · ${seconds(answer.seconds)} s`
    : "";
  place
    .querySelector("ol")
    .replaceChildren(...(answer?.items ?? []).map((item, at) => ranked(side, other, item, at)));
}

// A product with its place here and in the other model's answer.
function ranked(side, other, item, at) {
  const there = other.answer ? other.answer.items.findIndex((one) => one.id === item.id) : null;
  const note = there === null ? "" : there < 0 ? t("onlyHere") : t("rankThere", { rank: there + 1 });
  const open = () => {
    dialog.side = side;
    dialog.service = side.service;
    dialog.open(at);
  };
  const mark = (on) => () => {
    for (const one of document.querySelectorAll(".ranks .card"))
      one.classList.toggle("same", on && one.dataset.id === item.id);
  };
  return element(
    "li",
    { class: `card${there !== null && there < 0 ? " only" : ""}`, "data-id": item.id },
    element(
      "button",
      {
        type: "button",
        on: {
          click: open,
          mouseenter: mark(true),
          mouseleave: mark(false),
          focus: mark(true),
          blur: mark(false),
        },
      },
      element("span", { class: "rank" }, element("b", {}, `${at + 1}`), element("span", {}, note)),
      ...cardFace(side.service, item),
    ),
  );
}

function chooseFrom(side, path) {
  side.chooser.replaceChildren(
    ...models.map((model) =>
      element("option", { value: model.path, selected: model.path === path }, model.name),
    ),
  );
  side.service = new Service(path);
}

async function start() {
  const asked = new URLSearchParams(location.search);
  topic.value = asked.get("topic") ?? "";
  slider.value = asked.get("threshold") ?? slider.value;
  speak(() => {
    show();
    dialog.redraw();
  });
  byId("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  slider.addEventListener("input", afterPause(ask, 200));
  slider.addEventListener(
    "input",
    () => (byId("threshold-value").textContent = Number(slider.value).toFixed(2)),
  );
  let info;
  try {
    info = await new Service().info();
  } catch (error) {
    return refusal(error, () => location.reload());
  }
  models = [{ name: info.model ?? "1", path: "./" }, ...(info.others ?? [])];
  if (models.length < 2)
    return message(
      t("compareNone"),
      t("compareHow"),
      element("code", {}, "interbert serve INDEX --other NAME=/PATH/"),
    );
  sides.forEach((side, at) => {
    const wanted = asked.get(at ? "b" : "a");
    chooseFrom(side, models.some((model) => model.path === wanted) ? wanted : models[at].path);
    side.chooser.addEventListener("change", () => {
      side.service = new Service(side.chooser.value);
      ask();
    });
  });
  ask();
}

start();
