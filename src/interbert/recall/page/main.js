// The search page: a topic in, its products as a grid that a threshold cuts.

import { Service, ServiceError } from "./api.js";
import { cardFace } from "./card.js";
import { afterPause, byId, element, say } from "./dom.js";
import { filterBox } from "./filter.js";
import { Grid } from "./grid.js";
import { button, message, refusal } from "./message.js";
import { ProductDialog } from "./product.js";
import { expectedPrecision, Search } from "./search.js";
import { number, percent, seconds, speak, t } from "./words.js";

const LIVE_SECONDS = 1.5; // an answer that took longer is asked for by Enter, not by typing
const LOWER = 0.3; // of the threshold that an empty answer offers

const service = new Service();
const form = byId("ask"),
  topic = byId("topic"),
  slider = byId("threshold");
let info = null; // what the service says of itself
let search = null; // what is shown
let next = null; // what is asked

const grid = new Grid(byId("results"), { card: productCard, more });
const dialog = new ProductDialog({
  service,
  topic: () => search.question.topic,
  at: (index) => search.items[index],
  closed: (index) => grid.focus(index),
});
let filters;

function productCard(item, index) {
  return element(
    "li",
    { class: "card" },
    element(
      "button",
      { type: "button", on: { click: () => dialog.open(index) } },
      ...cardFace(service, item),
    ),
  );
}

const threshold = () => Number(slider.value);
const question = () => ({
  topic: topic.value.trim(),
  threshold: threshold(),
  mode: form.elements.mode.value,
  ...(byId("where").value.trim() && { filter: byId("where").value.trim() }),
});

// Asks for what the form says; an answer that is not wanted any more is dropped.
async function ask() {
  next?.stop();
  next = null;
  wrong({});
  if (!info) learn();
  if (!topic.value.trim()) return begin();
  const asked = (next = new Search(service, question()));
  history.replaceState(null, "", `?${new URLSearchParams(asked.question)}`);
  busy(true);
  try {
    await asked.more(() => asked === next && showEarly(asked));
  } catch (error) {
    if (asked !== next || error.name === "AbortError") return;
    if (error.code === "timeout" && asked.items.length) goOn(asked, error);
    else refused(error);
    return;
  } finally {
    if (asked === next) busy(false);
  }
  if (asked !== next) return;
  search = asked;
  show();
}

// Shows what was found so far.
function showEarly(asked) {
  search = asked;
  byId("results").classList.remove("stale");
  show();
}

// Asks again for what took longer than the service allows; what was scored is remembered there, and stays here.
function goOn(asked, error) {
  say(byId("progress"), t("goesOn"));
  setTimeout(() => asked === next && ask(), 1000 * Math.max(1, error.retrySeconds));
}

// The next products of what is shown.
async function more() {
  const shown = search;
  if (!shown || shown.progress || next !== shown || shown.above(threshold())?.here < shown.items.length) return;
  try {
    if ((await shown.more()) && shown === search) show();
  } catch (error) {
    if (shown === search) say(byId("precision"), error.status ? error.message : t("unreachable"));
  }
}

// Shows what is known at the slider's threshold; what is not known is asked for.
function show() {
  const above = search?.above(threshold());
  byId("threshold-value").textContent = threshold().toFixed(2);
  tellPrecision();
  if (!search || next !== search) return;
  if (!above) {
    byId("count").textContent = t("counting");
    return askSoon();
  }
  message();
  tellProgress(search.progress, above.here);
  dialog.follow(search.items);
  grid.show(search.items, above.here);
  if (search.progress) return;
  byId("count").textContent = counted(above.count);
  byId("count").title = cascadeHow();
  say(byId("topic-error"), search.facts.truncated && t("truncated"));
  slider.setAttribute("aria-valuetext", `${threshold().toFixed(2)}: ${byId("count").textContent}`);
  filters.offer();
  if (!above.count) nothing();
}

// Asks where what the form says is not asked already: by Enter, say, before a pause in the typing was over.
function askChanged() {
  if (JSON.stringify(question()) !== JSON.stringify(next?.question)) ask();
}

const askSoon = afterPause(askChanged, 150);

function counted(recalled) {
  const {
    total_scored: scored,
    total_passed: passed = scored,
    seconds: took,
    measured_recall: measured,
  } = search.facts;
  const values = {
    recalled: number(recalled),
    passed: number(passed),
    scored: number(scored),
    seconds: seconds(took),
  };
  if (search.question.mode === "exact") return t("count", values);
  return measured
    ? t("countCascade", { ...values, recall: percent(measured.recall) })
    : t("countCascadeUnknown", values);
}

function cascadeHow() {
  const measured = search.question.mode === "cascade" && search.facts.measured_recall;
  return measured ? t("measured", measured) : "";
}

function tellPrecision() {
  if (!search || !info) return say(byId("precision"), "");
  const { calibration } = info;
  if (!calibration) return say(byId("precision"), t("uncalibrated"));
  const precision = expectedPrecision(calibration.cuts, threshold());
  const values = { precision: precision !== null && percent(precision), pairs: number(calibration.pairs) };
  say(byId("precision"), t(precision === null ? "precisionNone" : "precision", values));
}

// How far the scoring has come, until it is done.
function tellProgress(progress, here) {
  const bar = byId("busy");
  bar.classList.toggle("known", Boolean(progress?.total));
  if (!progress?.total) {
    bar.removeAttribute("aria-valuenow");
    return say(byId("progress"), "");
  }
  const share = progress.scored / progress.total;
  bar.style.setProperty("--share", share);
  bar.setAttribute("aria-valuenow", Math.round(100 * share));
  const values = { here: number(here), scored: number(progress.scored), total: number(progress.total) };
  say(byId("progress"), t("progress", values));
}

function begin() {
  search = null;
  byId("count").textContent = "";
  grid.show([]);
  tellPrecision();
  message(t("start"), t("startMore"));
}

function nothing() {
  if (search.facts.total_passed === 0) return message(t("emptyFilter"), t("emptyMore"));
  const lower = () => {
    slider.value = LOWER;
    ask();
    slider.focus();
  };
  const shown = threshold().toFixed(2);
  const offer = threshold() > LOWER && button(t("emptyLower", { threshold: LOWER.toFixed(2) }), lower);
  message(t("empty", { threshold: shown }), t("emptyMore"), offer || "");
}

// Says what was wrong with a field beside the field, and everything else in the results' place.
function refused(error) {
  search = null;
  grid.show([]);
  byId("count").textContent = "";
  tellProgress();
  tellPrecision();
  message();
  if (error.status === 422 && ["topic", "filter"].includes(error.param))
    return wrong({ [error.param]: error.message });
  refusal(error, ask);
}

function wrong({ topic: ofTopic, filter: ofFilter }) {
  say(byId("topic-error"), ofTopic);
  topic.setAttribute("aria-invalid", Boolean(ofTopic));
  filters.wrong(ofFilter);
}

function busy(on) {
  byId("busy").hidden = !on;
  byId("results").setAttribute("aria-busy", on);
  byId("results").classList.toggle("stale", on);
  if (on && !search) message();
  if (!on) return;
  tellProgress();
  byId("count").textContent = t("searching");
}

// Values of a column among the products that are here, for the filter's suggestions.
function seenValues(column) {
  const seen = new Set(
    (search?.items ?? []).map((item) => item.cells?.[column] ?? (column === "title" ? "" : null)),
  );
  return [...seen]
    .filter((value) => value !== null && value !== "")
    .sort()
    .slice(0, 50);
}

// Fills the form from the page's address, so that an answer can be passed on.
function fromAddress() {
  const asked = new URLSearchParams(location.search);
  topic.value = asked.get("topic") ?? "";
  slider.value = asked.get("threshold") ?? slider.value;
  byId("where").value = asked.get("filter") ?? "";
  if (asked.get("mode") === "cascade") form.elements.mode.value = "cascade";
}

// Asks what the service is; where it wants a key or is not there, that is said when it is asked for products.
async function learn() {
  try {
    info = await service.info();
    filters.know(info.columns);
    tellPrecision();
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
  }
}

function start() {
  fromAddress();
  filters = filterBox(seenValues, askChanged);
  speak(() => {
    show();
    if (!search) begin();
    grid.redraw();
    dialog.redraw();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  topic.addEventListener(
    "input",
    afterPause(() => {
      if (!(search?.facts.seconds >= LIVE_SECONDS)) askChanged();
    }, 350),
  );
  for (const mode of form.elements.mode) mode.addEventListener("change", ask);
  slider.addEventListener("input", show);
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input, select, dialog")) return;
    event.preventDefault();
    topic.focus();
  });
  topic.focus();
  show();
  ask();
}

start();
