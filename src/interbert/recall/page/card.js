// A product as a card: its picture, its score, its title.

import { element } from "./dom.js";
import { t } from "./words.js";

// The card's inside; service: whose picture it is.
export function cardFace(service, item) {
  const picture = pictureOf(service, item);
  const bar = element("span", { class: "bar" });
  bar.style.setProperty("--share", item.score ?? 0);
  return [
    picture,
    element(
      "span",
      { class: "caption" },
      element(
        "span",
        { class: "score" },
        element("span", { class: "hidden" }, `${t("score")} `),
        item.score?.toFixed(2) ?? "–",
        bar,
      ),
      element("span", { class: "title", title: item.title }, item.title || item.id),
    ),
  ];
}

const SIDE = 200; // pixels of a card's picture on the page, about

// The picture in its frame; where it cannot be shown, that is said. pause: milliseconds; what was scrolled past by then
// is not fetched.  side: see `showImage`.
export function pictureOf(service, item, { alt = "", pause = 80, side = SIDE } = {}) {
  const frame = element("span", { class: "picture" });
  const failed = () => frame.replaceChildren(element("span", { class: "soft small" }, t("noPicture")));
  const image = element("img", {
    alt,
    loading: "lazy",
    decoding: "async",
    draggable: "false",
    on: { error: failed },
  });
  frame.append(image);
  setTimeout(() => frame.isConnected && service.showImage(image, item.image_url, side), pause);
  return frame;
}
