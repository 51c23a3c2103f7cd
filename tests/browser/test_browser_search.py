"""The search page before a service that answers as it is told: what is shown, and what is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from browser_helpers import focused, says, search, slide
from fake_shop import Answer, Shop, serving

Open = Callable[..., Any]


def test_a_topic_shows_its_products_best_first_with_picture_title_and_score(page: Any, shop: Shop) -> None:
    search(page)
    says(page, "#count", "24 of 60 products")
    cards = page.locator("#results .card")
    assert cards.nth(0).inner_text().split("\n")[-2:] == ["0.99", "product 0"]
    page.wait_for_function("() => document.querySelector('#results img')?.naturalWidth === 300")
    assert shop.asked == [{"topic": "red shoes", "threshold": 0.6, "mode": "exact", "limit": 100}]


def test_results_come_while_one_types(page: Any, shop: Shop) -> None:
    page.type("#topic", "shoes")
    says(page, "#count", "24 of 60 products")
    assert shop.asked[-1]["topic"] == "shoes"


def test_sliding_up_counts_without_asking_again(page: Any, shop: Shop) -> None:
    search(page)
    slide(page, 0.9)
    says(page, "#count", "6 of 60 products")
    assert page.locator("#results .card").count() == 6
    assert len(shop.asked) == 1


def test_sliding_down_asks_for_what_is_not_known(page: Any, shop: Shop) -> None:
    search(page)
    slide(page, 0.5)
    says(page, "#count", "30 of 60 products")
    assert [question["threshold"] for question in shop.asked] == [0.6, 0.5]


def test_the_precision_lies_between_the_cuts_of_the_calibration(page: Any) -> None:
    search(page)
    says(page, "#precision", "Expected precision 80%")
    slide(page, 0.95)
    says(page, "#precision", "not known")


def test_scores_that_are_not_calibrated_promise_no_precision(open_page: Open, shop: Shop) -> None:
    shop.calibration = None
    page = open_page(shop.address)
    search(page)
    says(page, "#precision", "not calibrated")


def test_a_cascade_says_what_it_finds_of_the_exact_answer(page: Any) -> None:
    search(page)
    page.check("input[value=cascade]", force=True)
    says(page, "#count", "finds 97% of the exact answer")


def test_a_condition_is_written_into_the_filter_and_asked_for(page: Any, shop: Shop) -> None:
    search(page)
    page.click("#filter-toggle")
    for column, operator, value in (("price", "<", "300"), ("shop's own", "=", "it's")):
        page.select_option("#column", column)
        page.select_option("#operator", operator)
        page.fill("#value", value)
        page.click("#add")
    assert page.input_value("#where") == "price < 300 and \"shop's own\" = 'it''s'"
    says(page, "#count", "24 of 60 products")
    assert shop.asked[-1]["filter"] == page.input_value("#where")


def test_a_filter_that_does_not_parse_is_said_beside_it(page: Any, shop: Shop) -> None:
    search(page)
    wrong = "filter: there is no column 'prise'; did you mean 'price'?"
    shop.instead["/recall"] = [Answer(422, {"message": wrong, "param": "filter"})]
    page.click("#filter-toggle")
    page.fill("#where", "prise < 3")
    says(page, "#where-error", wrong)
    assert page.get_attribute("#where", "aria-invalid") == "true"


def test_an_empty_answer_offers_a_lower_threshold(page: Any, shop: Shop) -> None:
    shop.titles = shop.titles[:40]
    slide(page, 0.99)
    page.fill("#topic", "a unicorn")
    says(page, "#message", "No product scores above 0.99")
    asked = len(shop.asked)
    page.click("text=Show all above 0.30")
    says(page, "#count", "28 of 40 products")
    assert len(shop.asked) == asked + 1
    assert page.locator("#message").is_hidden()


def test_a_filter_that_nothing_passes_is_not_blamed_on_the_threshold(page: Any) -> None:
    page.click("#filter-toggle")
    page.fill("#where", "price < 0")
    search(page)
    says(page, "#message", "No product passes the filter")


def test_a_failure_says_what_the_service_said_and_can_be_tried_again(page: Any, shop: Shop) -> None:
    shop.instead["/recall"] = [Answer(500, {"message": "the index is damaged", "request_id": "r-17"})]
    search(page)
    says(page, "#message", "the index is damaged")
    says(page, "#message", "r-17")
    page.click("text=Try again")
    says(page, "#count", "24 of 60 products")


def test_a_full_service_is_asked_again_when_it_said(page: Any, shop: Shop) -> None:
    shop.instead["/recall"] = [Answer(429, {"message": "full"}, {"Retry-After": "1"})]
    search(page)
    says(page, "#message", "Trying again in 1 s.")
    says(page, "#count", "24 of 60 products")


def test_what_takes_longer_than_the_service_allows_goes_on(page: Any, shop: Shop) -> None:
    shop.instead["/recall"] = [Answer(503, {"message": "too long", "code": "timeout"}, {"Retry-After": "1"})]
    search(page)
    says(page, "#message", "goes on where it stopped")
    says(page, "#count", "24 of 60 products")


def test_a_service_that_is_gone_is_said_to_be_gone(page: Any) -> None:
    page.context.set_offline(True)
    search(page)
    says(page, "#message", "The service does not answer")


def test_a_key_that_is_wanted_is_asked_for_and_goes_with_pictures_too(open_page: Open, shop: Shop) -> None:
    shop.instead["/recall"] = [Answer(401, {"message": "no key"})]
    page = open_page(shop.address)
    keys = []
    page.on("request", lambda request: keys.append((last_of(request.url), request.headers.get("authorization"))))
    search(page)
    page.fill("#message input", "secret")
    page.click("text=Use it")
    page.wait_for_function("() => document.querySelector('#results img')?.naturalWidth === 300")
    assert ("recall", "Bearer secret") in keys
    assert ("image", "Bearer secret") in keys
    assert ("image", None) not in keys


def last_of(address: str) -> str:
    return urlsplit(address).path.rsplit("/", 1)[-1]


def test_cards_take_small_pictures_and_an_opened_product_the_whole_one(page: Any) -> None:
    sizes = []
    page.on("request", lambda request: sizes.append(urlsplit(request.url).query) if "/image" in request.url else None)
    search(page)
    page.wait_for_function("() => document.querySelector('#results img')?.naturalWidth === 300")
    assert set(sizes) == {"size=200"}
    page.click("#results button")
    page.wait_for_function("() => document.querySelector('#product img')?.naturalWidth === 300")
    assert "" in sizes


def asked_early(page: Any, shop: Shop) -> None:
    """A question of which two products are known, and the answer is not."""
    shop.early = [(4, [5]), (10, [3])]
    shop.finish.clear()
    page.fill("#topic", "red shoes")
    page.press("#topic", "Enter")
    says(page, "#progress", "2 so far, of 10 scored; 60 in all")


def test_products_are_shown_while_others_are_scored(page: Any, shop: Shop) -> None:
    asked_early(page, shop)
    assert [text.split("\n")[-1] for text in page.locator("#results .card").all_inner_texts()] == [
        "product 3",
        "product 5",
    ]
    assert page.get_attribute("#busy", "aria-valuenow") == "17"
    shop.finish.set()
    says(page, "#count", "24 of 60 products")
    assert page.locator("#progress").is_hidden()
    assert page.locator("#busy").is_hidden()
    says(page, "#results", "product 0")


def test_the_focus_and_an_opened_product_stay_where_products_move(page: Any, shop: Shop) -> None:
    asked_early(page, shop)
    page.click("#results .card:has-text('product 5') button")
    says(page, "#product-title", "product 5")
    shop.finish.set()
    says(page, "#count", "24 of 60 products")
    page.keyboard.press("ArrowRight")
    says(page, "#product-title", "product 6")
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.activeElement.innerText.endsWith('product 6')")


def test_early_products_stay_where_the_time_is_over_and_it_goes_on(page: Any, shop: Shop) -> None:
    shop.last = {"error": {"message": "too long", "code": "timeout"}, "status": 503, "retry_after": 1}
    asked_early(page, shop)
    shop.finish.set()
    says(page, "#progress", "goes on where it stopped")
    assert page.locator("#results .card").count() == 2
    shop.early, shop.last = [], None
    says(page, "#count", "24 of 60 products")


def test_what_goes_wrong_after_early_products_is_said(page: Any, shop: Shop) -> None:
    shop.last = {"error": {"message": "the index is damaged"}, "status": 500, "retry_after": None}
    asked_early(page, shop)
    shop.finish.set()
    says(page, "#message", "the index is damaged")
    assert page.locator("#results .card").count() == 0


def test_an_answer_that_comes_after_the_next_question_is_dropped(page: Any, shop: Shop) -> None:
    shop.hold.clear()
    page.fill("#topic", "old")
    page.press("#topic", "Enter")
    says(page, "#count", "Scoring")
    assert page.locator("#busy").is_visible()
    page.fill("#topic", "new")
    page.press("#topic", "Enter")
    shop.hold.set()
    says(page, "#count", "24 of 60 products")
    assert "topic=new" in page.url


def test_a_title_that_is_markup_stays_text(page: Any, shop: Shop) -> None:
    title = "<script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
    shop.titles[0] = title
    search(page)
    page.click("#results button")
    says(page, "#product-title", title)
    assert page.locator("#results script, #product script, img[src=x]").count() == 0
    assert page.title() == "interbert"


def test_the_address_holds_the_question(open_page: Open, shop: Shop) -> None:
    page = open_page(f"{shop.address}?topic=red+shoes&threshold=0.9&mode=cascade&filter=price+%3C+9")
    says(page, "#count", "6 products, of 60 best candidates")
    assert shop.asked == [
        {"topic": "red shoes", "threshold": 0.9, "mode": "cascade", "filter": "price < 9", "limit": 100}
    ]


def test_10000_products_scroll_smoothly(open_page: Open) -> None:
    with serving(Shop(10_000)) as shop:
        page = open_page(shop.address)
        slide(page, 0)
        search(page)
        client = page.context.new_cdp_session(page)
        client.send("Performance.enable", {"timeDomain": "threadTicks"})
        before = measured(client)
        frames = page.evaluate(TO_THE_END)
        spent = measured(client) - before
        says(page, "#results", "product 9999")
        assert page.locator("#results .card").count() < 80
        assert len(shop.asked) == 21
        assert spent / frames < 1 / 60, f"{1000 * spent / frames:.1f} ms a frame"


# Scrolls some screens a frame until the last product has a card; returns how many frames that took.
TO_THE_END = """() => new Promise((done) => {
  let frames = 0;
  const step = () => {
    frames += 1;
    scrollBy(0, 2500);
    if (document.querySelector('[aria-posinset="10000"]')) done(frames);
    else requestAnimationFrame(step);
  };
  step();
})"""


def measured(client: Any) -> float:
    """Seconds of the processor that scripts, styles and layout have taken so far."""
    values = {one["name"]: one["value"] for one in client.send("Performance.getMetrics")["metrics"]}
    return float(sum(values[f"{what}Duration"] for what in ("Script", "Layout", "RecalcStyle")))


def test_a_slash_leads_to_the_topic(page: Any) -> None:
    search(page)
    page.focus("#filter-toggle")
    page.keyboard.press("/")
    assert focused(page) == "topic"
