"""The page before the real service: a process that serves a small index with pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_helpers import says, search, slide
from PIL import Image
from pretraining_helpers import EXTRACTOR, random_regions
from recall_helpers import SPREAD, indexed, product, write_catalogue
from service_helpers import process
from task_helpers import saved_run

from interbert.files import sha256_of
from interbert.recall.bundles import recall_topics
from interbert.recall.search import Question, open_searcher
from interbert.recall.topics import Topic, open_topics
from interbert.vision.provenance import ImageInfo
from interbert.vision.store import RegionStore

Open = Callable[..., Any]
COUNT = 12
MARKUP = "<script>document.title = 'owned'</script>"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of products with pictures, one of whose titles is markup, and a topic kept beside it."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "images").mkdir()
    saved_run(folder / "run", SPREAD)
    random = np.random.default_rng(0)
    with RegionStore.writer(folder / "regions", EXTRACTOR) as writer:
        for number in range(COUNT):
            path = folder / f"images/{number}.png"
            Image.new("RGB", (100, 80), (20 * number, 90, 200)).save(path)
            regions = random_regions(random, int(random.integers(3, 8)))
            writer.append(f"images/{number}", regions, ImageInfo(str(path), sha256_of(path), number))
    products = [product(number, image=f"images/{number}.png") for number in range(COUNT)]
    products[3]["title"] = MARKUP
    write_catalogue(folder / "catalogue.jsonl", products)
    indexed(folder)
    topics = open_topics(folder / "index")
    for topic, answer in recall_topics(open_searcher(folder / "index"), [Topic("dogs", "a dog")], Question(0.0)):
        topics.put(topic, answer)
    topics.close()
    return folder / "index"


@pytest.fixture(scope="module")
def address(index: Path) -> Iterator[str]:
    """Where it is served."""
    with process(index, "--port", 0, "--images", index.parent) as (_, address):
        yield address


def test_a_topic_is_searched_slid_filtered_and_explained(open_page: Open, address: str) -> None:
    page, kinds = open_page(address), list[str]()
    page.on("response", lambda answer: "/recall" in answer.url and kinds.append(answer.headers["content-type"]))
    slide(page, 0)
    search(page, "a dog on the road")
    says(page, "#count", f"{COUNT} of {COUNT} products")
    says(page, "#precision", "not calibrated")
    page.wait_for_function("() => document.querySelector('#results img')?.naturalWidth === 100")
    scores = [float(text.split()[-1]) for text in page.locator("#results .score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert kinds[0].startswith("application/x-ndjson")
    page.click("#filter-toggle")
    page.select_option("#column", "price")
    page.select_option("#operator", "<")
    page.fill("#value", "50")
    page.click("#add")
    says(page, "#count", "5 of 5 products")
    page.click("#results button")
    says(page, "#product", "Why “a dog on the road”?")
    assert page.locator(".chips").first.locator(".chip").count() == 5


def test_what_the_service_refuses_is_said_beside_the_field(open_page: Open, address: str) -> None:
    page = open_page(address)
    asked_for(page, "中文", "#topic-error", "language")
    page.click("#filter-toggle")
    page.fill("#where", "prise < 3")
    asked_for(page, "a dog", "#where-error", "price")


def asked_for(page: Any, topic: str, place: str, text: str) -> None:
    page.fill("#topic", topic)
    page.press("#topic", "Enter")
    says(page, place, text)


def test_a_cascade_says_what_it_was_measured_to_find(open_page: Open, address: str) -> None:
    page = open_page(f"{address}?topic=a+dog&threshold=0&mode=cascade")
    says(page, "#count", "of the exact answer")


def test_a_title_that_is_markup_stays_text(open_page: Open, address: str) -> None:
    page = open_page(f"{address}?topic=a+dog&threshold=0")
    says(page, "#results", MARKUP)
    page.click(f"#results button:has-text('{MARKUP[:8]}')")
    says(page, "#product-title", MARKUP)
    assert page.title() == "interbert"


def test_a_topic_is_opened_and_a_review_is_kept(open_page: Open, address: str, index: Path) -> None:
    page = open_page(f"{address}page/topics.html")
    says(page, "#count", "Kept beside the index: 1")
    page.click(".topic a")
    says(page, "#count", f"Reviewed: 0 of {COUNT}")
    page.locator("#results .card").nth(0).locator("text=Drop").click()
    says(page, "#count", f"Reviewed: 1 of {COUNT}")
    page.reload()
    says(page, "#count", f"Reviewed: 1 of {COUNT}")
    assert page.locator("#results .dropped").count() == 1
    assert len(open_topics(index).reviews()) == 1
