"""A product that is opened: its regions, the words and regions that carried its score, and the way out."""

from __future__ import annotations

from typing import Any

import pytest
from browser_helpers import focused, says, search
from fake_shop import Answer, Shop


@pytest.fixture
def opened(page: Any) -> Any:
    """The page with its second product open."""
    search(page)
    page.locator("#results button").nth(1).click()
    says(page, "#product", "Why")
    return page


def test_the_words_and_the_regions_that_carried_it_are_shown(opened: Any) -> None:
    chips = opened.locator(".chip").all_inner_texts()
    assert [chip.split("\n") for chip in chips] == [
        ["red", "+0.80"],
        ["shoes", "−0.20"],
        ["1 shoe", "+1.50"],
        ["2 region", "+0.40"],
    ]


def test_the_boxes_lie_where_the_picture_shows_them(opened: Any) -> None:
    picture = opened.locator(".framed img").bounding_box()
    box = opened.locator(".boxes .best rect:not(.tag)").last.bounding_box()
    scale = picture["width"] / 300
    assert picture["width"] / picture["height"] == pytest.approx(1.5, abs=0.01)
    assert box["x"] - picture["x"] == pytest.approx(20 * scale, abs=3)
    assert box["height"] == pytest.approx(100 * scale, abs=6)
    assert opened.locator(".boxes g:visible").count() == 2


def test_a_word_shows_where_it_looks_and_a_region_itself(opened: Any) -> None:
    opened.click(".chip:has-text('red')")
    assert opened.locator(".boxes g:visible").count() == 1
    opened.click(".chip:has-text('2 region')")
    assert opened.locator(".boxes g:visible").text_content() == "2"
    opened.click(".chip:has-text('2 region')")
    assert opened.locator(".boxes g:visible").count() == 2


def test_escape_closes_it_and_the_focus_is_back_on_its_card(opened: Any) -> None:
    opened.keyboard.press("Escape")
    assert not opened.locator("#product").is_visible()
    assert "product 1" in focused(opened)


def test_arrows_go_to_its_neighbours(opened: Any) -> None:
    opened.keyboard.press("ArrowRight")
    says(opened, "#product-title", "product 2")
    opened.keyboard.press("ArrowLeft")
    opened.keyboard.press("ArrowLeft")
    says(opened, "#product-title", "product 0")
    assert opened.locator("button[aria-label='Previous product']").is_disabled()


def test_an_explanation_that_failed_can_be_tried_again(page: Any, shop: Shop) -> None:
    search(page)
    shop.instead["/explain"] = [Answer(503, {"message": "the index is being changed"})]
    page.click("#results button")
    says(page, "#product", "the index is being changed")
    page.click("#product >> text=Try again")
    says(page, "#product", "Why")


def test_a_picture_that_is_not_there_is_said_not_to_be_there(page: Any, shop: Shop) -> None:
    shop.instead["/image"] = [Answer(404, {"message": "no picture"})] * 100
    search(page)
    says(page, "#results", "No picture")
