"""Two models side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser_helpers import focused, says
from fake_shop import Answer, Shop, serving

Open = Callable[..., Any]


@pytest.fixture
def two() -> Iterator[Shop]:
    """A shop with a second model."""
    with serving(Shop(60, other=Shop(60, step=2))) as shop:
        yield shop


@pytest.fixture
def compared(open_page: Open, two: Shop) -> Any:
    """The page with an answer of both."""
    page = open_page(f"{two.address}page/compare.html?topic=red+shoes")
    says(page, "#count", "are in both")
    return page


def test_both_answers_stand_side_by_side_and_what_they_share_is_counted(compared: Any) -> None:
    says(compared, "#count", "12 of the best 24 are in both")
    assert compared.locator(".model").nth(0).locator("li").count() == 24
    assert compared.locator(".model").nth(1).locator("li").count() == 12
    assert compared.locator(".about").all_inner_texts()[1].startswith("12 above 0.60")


def test_a_product_says_where_the_other_model_has_it(compared: Any) -> None:
    notes = compared.locator(".model").nth(0).locator(".rank span").all_inner_texts()
    assert notes[:3] == ["1. there", "only here", "2. there"]


def test_one_model_that_fails_leaves_the_other_ones_answer(compared: Any, two: Shop) -> None:
    two.other.instead["/recall"] = [Answer(500, {"message": "this model is broken"})]
    compared.press("#topic", "Enter")
    says(compared, "#sides", "this model is broken")
    assert compared.locator(".model").nth(0).locator("li").count() == 24


def test_a_product_opens_with_its_own_models_reasons(compared: Any, two: Shop) -> None:
    with compared.expect_request("**/other/products/*/explain**"):
        compared.locator(".model").nth(1).locator("button").nth(1).click()
    says(compared, "#product-title", "product 2")
    says(compared, "#product", "Why")
    compared.keyboard.press("Escape")
    assert "product 2" in focused(compared)


def test_nothing_is_asked_of_another_origin(open_page: Open, two: Shop) -> None:
    page = open_page(f"{two.address}page/compare.html?topic=red+shoes&a=http://example.com/&b=//example.com/")
    says(page, "#count", "are in both")
    assert page.locator("select").first.input_value() == "./"


def test_with_one_model_it_says_how_to_serve_two(open_page: Open, shop: Shop) -> None:
    page = open_page(f"{shop.address}page/compare.html")
    says(page, "#message", "interbert serve")
