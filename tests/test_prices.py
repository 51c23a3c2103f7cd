"""Prices as shops write them."""

from __future__ import annotations

import pytest

from interbert.recall.prices import price_of


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1,299", 1299),
        ("1,29", 1.29),
        ("1.299,50", 1299.5),
        ("1,299.50", 1299.5),
        ("12 345,6", 12345.6),
        ("1'299", 1299),
    ],
)
def test_marks_between_digits(text: str, amount: float) -> None:
    assert price_of(text) == ("", amount)
    assert price_of(f" {text} EUR ") == ("EUR", amount)
    assert price_of(f"¥ {text}") == ("¥", amount)


@pytest.mark.parametrize(
    "text", ["", "USD", "$1 USD", "1-2", "about 5", "5 per kilo", "1.2.3,4,5", "-5 EUR", "1" + " " * 99_999 + "x y"]
)
def test_what_is_no_price(text: str) -> None:
    assert price_of(text) is None
