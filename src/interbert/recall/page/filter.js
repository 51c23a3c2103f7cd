// Writes a filter's text out of a column, a comparison and a value. The service parses it; nothing here runs it.

import { afterPause, byId, element, say } from "./dom.js";
import { t } from "./words.js";

const COMPARISONS = {
  number: ["=", "!=", "<", "<=", ">", ">=", "null"],
  text: ["=", "!=", "like", "null"],
};
const ALWAYS = ["title", "id", "image"]; // of every index; its own columns are offered first
const PLAIN = /^(?!(?:and|or|not|in|like|is|null|true|false)$)[\p{L}_][\p{L}\p{N}_]*$/iu; // a column that needs no quotes

// examples(column): values that were seen.  changed(): asks anew.  What it returns is told the columns, when they are
// known: name -> "text" or "number".
export function filterBox(examples, changed) {
  const { where, column, operator, value, values, add, clear, builder } = Object.fromEntries(
    ["where", "column", "operator", "value", "values", "add", "clear", "builder"].map((id) => [id, byId(id)]),
  );
  const toggle = byId("filter-toggle");
  let columns = {};

  const know = (known) => {
    columns = known;
    const own = Object.keys(columns).filter((name) => !ALWAYS.includes(name));
    const names = [...own, ...ALWAYS.filter((name) => name in columns && name !== "image")];
    builder.hidden = !names.length;
    column.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    offer();
  };
  const offer = () => {
    const chosen = operator.value;
    const shown = { like: t("contains"), null: t("isEmpty"), "!=": "≠", "<=": "≤", ">=": "≥" };
    operator.replaceChildren(
      ...COMPARISONS[columns[column.value] ?? "text"].map((sign) =>
        element("option", { value: sign }, shown[sign] ?? sign),
      ),
    );
    if ([...operator.options].some((one) => one.value === chosen)) operator.value = chosen;
    values.replaceChildren(...examples(column.value).map((one) => element("option", { value: one })));
    value.hidden = operator.value === "null";
  };
  const open = (shown) => {
    byId("filter").hidden = !shown;
    toggle.setAttribute("aria-expanded", shown);
    if (shown) offer();
  };
  const write = (text) => {
    where.value = text;
    mark();
    changed();
  };
  const append = () => {
    if (operator.value !== "null" && !value.value.trim()) return value.focus();
    const one = condition(column.value, columns[column.value], operator.value, value.value.trim());
    value.value = "";
    write(where.value.trim() ? `${joinable(where.value.trim())} and ${one}` : one);
  };
  const mark = () => (byId("filter-on").hidden = !where.value.trim());

  toggle.addEventListener("click", () => open(byId("filter").hidden));
  column.addEventListener("change", offer);
  operator.addEventListener("change", () => (value.hidden = operator.value === "null"));
  add.addEventListener("click", append);
  clear.addEventListener("click", () => write(""));
  where.addEventListener("input", mark);
  where.addEventListener("input", afterPause(changed, 600));
  value.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    append();
  });
  mark();
  open(Boolean(where.value));
  const wrong = (text) => {
    if (text) open(true);
    say(byId("where-error"), text);
    where.setAttribute("aria-invalid", Boolean(text));
  };
  return { know, offer, wrong };
}

const joinable = (text) => (/\bor\b/i.test(text) ? `(${text})` : text);
const quoted = (text, quote) => quote + text.replaceAll(quote, quote + quote) + quote;

// condition("price", "number", "<", "300") is `price < 300`.
export function condition(column, kind, sign, value) {
  const name = PLAIN.test(column) ? column : quoted(column, '"');
  if (sign === "null") return `${name} is null`;
  if (sign === "like") return `${name} like ${quoted(`%${value}%`, "'")}`;
  return `${name} ${sign} ${kind === "number" ? value : quoted(value, "'")}`;
}
