"""A real Chromium, headless, in front of a service. Where there is none, one line says that they did not run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from fake_shop import Shop, serving

SECONDS = 20  # that a wait may take on a busy machine
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The browser of a module's tests; closed with it, since its event loop must not meet other tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--disable-dev-shm-usage"])
        yield browser
        browser.close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    """60 products."""
    with serving(Shop()) as shop:
        yield shop


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address in a tab of its own, with options of `new_context`. What a page complains of fails its test."""
    contexts, complaints = [], []

    def heard(message: Any) -> None:
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            complaints.append(message.text)

    def opened(address: str, **options: Any) -> Any:
        context = browser.new_context(**({"locale": "en-GB", "viewport": {"width": 1280, "height": 860}} | options))
        contexts.append(context)
        context.set_default_timeout(1000 * SECONDS)
        page = context.new_page()
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page: Callable[..., Any], shop: Shop) -> Any:
    """The shop's page."""
    return open_page(shop.address)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = sorted((item for item in items if item.path.parent.name == "browser"), key=lambda item: item.nodeid)
    if here and (missing := _missing()):  # one of them stays, and says it for all
        here[0].add_marker(pytest.mark.skip(reason=f"the browser tests did not run: there is no {missing}"))
        config.hook.pytest_deselected(items=here[1:])
        items[:] = [item for item in items if item not in here[1:]]


def _missing() -> str | None:
    if CHROMIUM is None:
        return "chromium (Debian: apt-get install chromium)"
    return None if find_spec("playwright") else "playwright (scripts/install --test)"
