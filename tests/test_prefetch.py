"""interbert.training.prefetch"""

from __future__ import annotations

import threading

import pytest

from interbert.training.prefetch import made_ahead


def test_items_come_in_order() -> None:
    with made_ahead(lambda number: number * number, 3, 7) as items:
        assert list(items) == [9, 16, 25, 36]


def test_there_is_nothing_after_the_last() -> None:
    with made_ahead(str, 5, 5) as items:
        assert list(items) == []


def test_an_error_is_raised_where_its_item_would_have_come() -> None:
    with made_ahead(lambda number: 6 // (2 - number), 0, 5) as items:
        assert [next(items), next(items)] == [3, 6]
        with pytest.raises(ZeroDivisionError):
            next(items)


def test_no_more_are_made_than_may_wait() -> None:
    made: list[int] = []
    fourth = threading.Event()

    def make(number: int) -> int:
        made.append(number)
        if number == 3:
            fourth.set()
        return number

    with made_ahead(make, 0, 100, ahead=2) as items:
        next(items)
        assert fourth.wait(5)  # one taken, two waiting, one in hand
    assert made == [0, 1, 2, 3]


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    with made_ahead(str, 0, 10**9) as items:
        next(items)
    assert threading.active_count() == before
