"""The batches of the next steps, made by a thread while this step computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


@contextmanager
def made_ahead(make: Callable[[int], Item], first: int, last: int, ahead: int = 2) -> Iterator[Iterator[Item]]:
    """Yields an iterator over make(first), ..., make(last - 1), at most `ahead` of them waiting.

    An error of `make` is raised where its item would have come. Leaving the block ends the thread.
    """
    ready: queue.Queue[Item | BaseException] = queue.Queue(ahead)
    over = threading.Event()

    def work() -> None:
        for number in range(first, last):
            try:
                item: Item | BaseException = make(number)
            except BaseException as error:
                item = error
            _put(ready, item, over)
            if over.is_set() or isinstance(item, BaseException):
                return

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        yield _taken(ready, last - first)
    finally:
        over.set()
        thread.join()


def _put(ready: queue.Queue[Item], item: Item, over: threading.Event) -> None:
    while not over.is_set():
        try:
            ready.put(item, timeout=0.1)
        except queue.Full:
            continue
        return


def _taken(ready: queue.Queue[Item | BaseException], count: int) -> Iterator[Item]:
    for _ in range(count):
        item = ready.get()
        if isinstance(item, BaseException):
            raise item
        yield item
