"""What a person does on the page, and what they see."""

from __future__ import annotations

from typing import Any


def search(page: Any, topic: str = "red shoes") -> None:
    """Asks, and waits for the answer."""
    page.fill("#topic", topic)
    page.press("#topic", "Enter")
    page.wait_for_selector(".card, #message h2:text-matches('No product|could not|key|many|goes on')")


def slide(page: Any, threshold: float) -> None:
    page.locator("#threshold").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')) }", threshold
    )


def says(page: Any, place: str, text: str) -> None:
    """Waits until a place says that among other things."""
    page.wait_for_function(
        "([place, text]) => document.querySelector(place)?.innerText.includes(text)", arg=[place, text]
    )


def focused(page: Any) -> str:
    """The text, or else the id, of what has the focus."""
    return str(page.evaluate("document.activeElement.id || document.activeElement.innerText"))
