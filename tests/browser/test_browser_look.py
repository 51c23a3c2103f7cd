"""How the page looks and is walked: keys, narrow screens, dark, contrast, two languages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from browser_helpers import focused, says, search
from fake_shop import PAGE, Answer, Shop, serving

Open = Callable[..., Any]

LIGHT = """(colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
  .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
  .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0)"""

# Of the edge of each element, or else its ground, to the page around it.
EDGES = f"""(chosen) => {{
  const light = {LIGHT};
  const ratio = (one, other) => {{
    const [high, low] = [light(one), light(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  }};
  const around = getComputedStyle(document.body).backgroundColor;
  return [...document.querySelectorAll(chosen)].map(getComputedStyle).map((style) => Math.max(
    style.borderTopColor.startsWith("rgba") ? 0 : ratio(style.borderTopColor, around),
    style.backgroundColor.startsWith("rgba") ? 0 : ratio(style.backgroundColor, around)));
}}"""

# Of every text that is seen: the ratio of its colour to the ground below it (WCAG 2.2, "contrast ratio").
CONTRASTS = """() => {
  const paint = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const over = (ground, colour) => {
    paint.fillStyle = ground; paint.fillRect(0, 0, 1, 1);
    paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1);
    const [r, g, b] = paint.getImageData(0, 0, 1, 1).data;
    return `rgb(${r}, ${g}, ${b})`;
  };
  const light = LIGHT;
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.data.trim(), element = walk.currentNode.parentElement;
    if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest('.hidden, .skip, option, :disabled')) continue;
    if (document.querySelector('dialog[open]') && !element.closest('dialog')) continue;
    const style = getComputedStyle(element), grounds = [];
    for (let at = element; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
    let ground = getComputedStyle(document.body).backgroundColor;
    for (const one of grounds) ground = over(ground, one);
    if (element.matches('.boxes text')) ground = getComputedStyle(element.parentElement.querySelector('.tag')).fill;
    const ink = over(ground, element.matches('.boxes text') ? style.fill : style.color);
    const [high, low] = [light(ink), light(ground)].sort((a, b) => b - a);
    found.push([text.slice(0, 30), (high + 0.05) / (low + 0.05)]);
  }
  return found;
}""".replace("LIGHT", LIGHT)


def low_contrasts(page: Any) -> list[Any]:
    found = page.evaluate(CONTRASTS)
    assert len(found) > 3
    return [(text, round(ratio, 2)) for text, ratio in found if ratio < 4.5]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_a_contrast_of_4_5(open_page: Open, shop: Shop, scheme: str) -> None:
    page = open_page(shop.address, color_scheme=scheme)
    shop.instead["/recall"] = [
        Answer(500, {"message": "broken", "request_id": "r-1"}),
        Answer(422, {"message": "wrong", "param": "topic"}),
    ]
    assert low_contrasts(page) == []
    page.click("#filter-toggle")
    for expected in ("broken", "wrong", "product 0"):
        page.press("#topic", "Enter") if page.input_value("#topic") else page.fill("#topic", "red shoes")
        says(page, "main", expected)
        assert low_contrasts(page) == []
    page.click("#results button")
    says(page, "#product", "Why")
    assert low_contrasts(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_topics_and_models_have_that_contrast_too(open_page: Open, scheme: str) -> None:
    with serving(Shop(60, other=Shop(60, step=2))) as shop:
        page = open_page(f"{shop.address}page/topics.html", color_scheme=scheme)
        says(page, "#results", "topic 2")
        assert low_contrasts(page) == []
        page.click(".topic a")
        page.locator("[data-keep=true]").nth(0).click()
        page.locator("[data-keep=false]").nth(1).click()
        says(page, "#count", "Reviewed: 2")
        assert low_contrasts(page) == []
        page.goto(f"{shop.address}page/compare.html?topic=shoes")
        says(page, "#count", "are in both")
        assert low_contrasts(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_can_be_used_has_an_edge_or_ground_of_3(open_page: Open, shop: Shop, scheme: str) -> None:
    page = open_page(shop.address, color_scheme=scheme)
    page.click("#filter-toggle")
    assert page.locator("#topic, #where, #column, .choice, button.main").count() == 5
    edges = page.evaluate(EDGES, "#topic, #where, #column, .choice, button.main")
    assert min(edges) >= 3, edges


def test_dark_is_dark(open_page: Open, shop: Shop) -> None:
    page = open_page(shop.address, color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(16, 19, 23)"


@pytest.mark.parametrize("path", ["page/topics.html", "page/topics.html?name=one", "page/compare.html?topic=shoes"])
def test_no_other_page_is_wider_than_a_narrow_screen(open_page: Open, path: str) -> None:
    with serving(Shop(60, other=Shop(60, step=2))) as shop:
        page = open_page(shop.address + path, viewport={"width": 320, "height": 700})
        page.wait_for_selector(".card")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("width", [320, 390, 768])
def test_nothing_is_wider_than_a_narrow_screen(open_page: Open, shop: Shop, width: int) -> None:
    shop.titles[0] = "averylongtitlewithoutanyspace" * 9
    page = open_page(shop.address, viewport={"width": width, "height": 700}, has_touch=True)
    search(page)
    page.click("#filter-toggle")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#results .card").nth(1).bounding_box()["x"] > 100  # two a row
    page.locator("#results button").nth(0).tap()
    says(page, "#product", "Why")
    assert page.locator("#product").evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth")


def test_the_keyboard_reaches_everything_in_the_order_in_which_it_is_seen(page: Any) -> None:
    search(page)
    page.focus("#topic")
    seen = []
    for _ in range(5):
        page.keyboard.press("Tab")
        seen.append(focused(page))
    assert seen[:2] == ["Search", "threshold"]
    assert "filter-toggle" in seen
    assert "product 0" in seen[-1]
    page.keyboard.press("Shift+Tab")
    assert focused(page) == "filter-toggle"


def test_arrows_walk_the_grid_and_enter_opens(page: Any) -> None:
    search(page)
    page.locator("#results button").nth(0).focus()
    columns = page.evaluate(
        "new Set([...document.querySelectorAll('.grid > .card')].map((c) => c.getBoundingClientRect().x)).size"
    )
    for key, number in (
        ("ArrowRight", 1),
        ("ArrowDown", 1 + columns),
        ("ArrowLeft", columns),
        ("ArrowUp", 0),
        ("End", 23),
    ):
        page.keyboard.press(key)
        assert focused(page).endswith(f"product {number}")
    assert page.evaluate("document.activeElement.getBoundingClientRect().bottom <= innerHeight")
    page.keyboard.press("Enter")
    says(page, "#product-title", "product 23")


def test_a_card_is_not_hidden_under_the_question_when_it_has_the_focus(page: Any) -> None:
    search(page)
    page.locator("#results button").nth(0).focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    top = page.evaluate("document.activeElement.getBoundingClientRect().top")
    assert top >= page.evaluate("document.querySelector('.ask').getBoundingClientRect().bottom") - 1


def test_a_list_says_how_long_it_is_and_where_one_is(page: Any) -> None:
    search(page)
    card = page.locator("#results .card").nth(2)
    assert (card.get_attribute("aria-posinset"), card.get_attribute("aria-setsize")) == ("3", "24")


def test_it_speaks_chinese_to_who_reads_chinese_and_english_when_asked(open_page: Open, shop: Shop) -> None:
    page = open_page(shop.address, locale="zh-CN")
    search(page, "红色 鞋子")
    says(page, "#count", "60 件商品中的 24 件")
    assert page.get_attribute("html", "lang") == "zh-Hans"
    page.click("#language")
    says(page, "#count", "24 of 60 products")
    page.reload()
    says(page, "#language", "中文")


def test_both_languages_say_everything() -> None:
    text = PAGE["words.js"].content.decode()
    english, chinese = text.split("\n};")[0].split("  zh: {")
    names = [set(re.findall(r"(?:^|[\s,{])(\w+):\s+[\"“]", part)) for part in (english.split("  en: {")[1], chinese)]
    assert names[0] == names[1]
    assert len(names[0]) > 50
