"""Topics as cards, and one that is opened and reviewed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from browser_helpers import focused, says
from fake_shop import Answer, Shop

Open = Callable[..., Any]


@pytest.fixture
def opened(open_page: Open, shop: Shop) -> Any:
    """A topic's page."""
    page = open_page(f"{shop.address}page/topics.html?name=topic+1")
    says(page, "#count", "Reviewed: 0 of 8")
    return page


def test_a_card_has_cover_title_sub_title_and_numbers_and_opens_its_products(open_page: Open, shop: Shop) -> None:
    page = open_page(f"{shop.address}page/topics.html")
    says(page, "#count", "Kept beside the index: 3")
    card = page.locator(".topic").nth(1)
    assert card.inner_text().split("\n") == ["topic 1 title", "for rain", "Products: 8 · kept: 0 · dropped: 0"]
    page.wait_for_function("() => document.querySelector('.topic img').naturalWidth === 300")
    card.click()
    says(page, "#title", "topic 1 title")
    assert page.locator("#results .card").count() == 8


def test_a_service_without_topics_says_how_to_make_some(open_page: Open, shop: Shop) -> None:
    shop.topic_count = 0
    page = open_page(f"{shop.address}page/topics.html")
    says(page, "#message", "--topics FILE")


def test_a_product_is_kept_or_dropped_and_the_same_again_takes_it_back(opened: Any, shop: Shop) -> None:
    card = opened.locator("#results .card").nth(2)
    card.locator("text=Keep").click()
    says(opened, "#count", "Reviewed: 1 of 8")
    assert shop.reviews == {"p/2": "keep"}
    card.locator("text=Drop").click()
    opened.wait_for_function("() => document.querySelectorAll('.dropped').length === 1")
    assert card.locator("[aria-pressed=true]").inner_text() == "Drop"
    card.locator("text=Drop").click()
    says(opened, "#count", "Reviewed: 0 of 8")
    assert shop.reviews == {"p/2": None}


def test_keys_review_and_walk(opened: Any, shop: Shop) -> None:
    opened.locator("#results .card > button").nth(0).focus()
    opened.keyboard.press("k")
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("d")
    says(opened, "#count", "Reviewed: 2 of 8")
    assert shop.reviews == {"p/0": "keep", "p/1": "drop"}
    assert "product 1" in focused(opened)


def test_a_review_that_failed_is_taken_back_and_said(opened: Any, shop: Shop) -> None:
    shop.instead["/review"] = [Answer(503, {"message": "the index is being changed"})]
    opened.locator("#results .card").nth(0).locator("text=Drop").click()
    says(opened, "#failed", "the index is being changed")
    assert opened.locator("[aria-pressed=true]").count() == 0


def test_a_topic_can_be_searched_anew(opened: Any) -> None:
    opened.click("#now a")
    says(opened, "#count", "18 of 60 products")
    assert opened.input_value("#topic") == "topic 1 title"
