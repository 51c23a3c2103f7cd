// What stands in the results' place where there are none: a beginning, nothing found, or a refusal with what to do.

import { saveKey } from "./api.js";
import { byId, element } from "./dom.js";
import { number, t } from "./words.js";

let counting; // the countdown of a retry

// Shows a heading, a line and elements below it; without a heading, nothing.
export function message(heading, line, ...below) {
  clearInterval(counting);
  const place = byId("message");
  place.hidden = !heading;
  place.replaceChildren(
    ...(heading ? [element("h2", {}, heading), element("p", {}, line || ""), ...below] : []),
  );
}

export const button = (text, click, kind = "main") =>
  element("button", { type: "button", class: kind, on: { click } }, text);

// Says why the service did not answer. again: asks it again.
export function refusal(error, again) {
  const request =
    error.requestId && element("p", { class: "soft small" }, t("request", { id: error.requestId }));
  if (error.status === 401) return keyWanted(error, again);
  if (error.status === 429 || (error.status === 503 && error.retrySeconds)) return waiting(error, again);
  const heading = error.status === 503 ? t("notReady") : t("failed");
  message(heading, error.status ? error.message : t("unreachable"), button(t("retry"), again), request);
}

function waiting(error, again) {
  let left = Math.max(1, Math.ceil(error.retrySeconds));
  const line = () => t("busyMore", { seconds: number(left) });
  const heading = error.code === "timeout" ? "goesOn" : error.status === 429 ? "busyTitle" : "notReady";
  message(t(heading), line(), button(t("retry"), again));
  counting = setInterval(() => {
    left -= 1;
    byId("message").querySelector("p").textContent = line();
    if (left > 0) return;
    clearInterval(counting);
    again();
  }, 1000);
}

function keyWanted(error, again) {
  const input = element("input", {
    type: "password",
    autocomplete: "off",
    "aria-label": t("key"),
    required: true,
  });
  const submit = (event) => {
    event.preventDefault();
    saveKey(input.value.trim());
    again();
  };
  message(
    t("needKey"),
    error.message,
    element(
      "form",
      { class: "line", on: { submit } },
      input,
      element("button", { class: "main" }, t("useKey")),
    ),
  );
  input.focus();
}
