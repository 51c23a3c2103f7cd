"""Work of several callers: what is done together, what is dropped, what is refused."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from interbert.recall.service.batching import Abandoned, Batcher, Job, Work
from interbert.recall.service.errors import ServiceError
from interbert.recall.service.metrics import Metrics

PATIENCE = 30.0


class Bench:
    """A batcher with a first work that holds its thread until `go`; `done` has the batches after it."""

    def __init__(self, max_batch: int = 32, max_queue: int = 8) -> None:
        self.batcher = Batcher(max_batch, max_queue, Metrics())
        self.started, self.go = threading.Event(), threading.Event()
        self.done: list[list[Any]] = []

    def hold(self) -> Job:
        def wait(payloads: Sequence[Any]) -> Sequence[Any]:
            self.started.set()
            while not self.go.wait(0.005):
                self.batcher.check()
            return payloads

        return self.put(Work("hold", object(), wait, None))

    def work(self, number: int, group: str = "a") -> Work:
        def act(payloads: Sequence[Any]) -> Sequence[Any]:
            self.done.append(list(payloads))
            if len(payloads) > 1 and 13 in payloads:
                raise ValueError("one of them")
            if 13 in payloads:
                raise ValueError("thirteen")
            return [10 * payload for payload in payloads]

        return Work("work", group, act, number)

    def put(self, work: Work, seconds: float = PATIENCE) -> Job:
        return self.batcher.put(work, time.monotonic() + seconds)


def running(bench: Bench, main: Callable[[], Awaitable[Any]]) -> Any:
    """What `main` returns, with the thread running."""

    async def whole() -> Any:
        bench.batcher.start()
        try:
            return await asyncio.wait_for(main(), PATIENCE)
        finally:
            bench.go.set()
            bench.batcher.close(PATIENCE)

    return asyncio.run(whole())


def test_what_came_while_the_thread_was_busy_is_done_together_by_group() -> None:
    bench = Bench()

    async def main() -> list[Any]:
        bench.hold()
        jobs = [bench.put(bench.work(number, "ab"[number % 2])) for number in range(5)]
        bench.go.set()
        return await asyncio.gather(*(job.future for job in jobs))

    assert running(bench, main) == [0, 10, 20, 30, 40]
    assert bench.done == [[0, 2, 4], [1, 3]]


def test_a_batch_has_a_most() -> None:
    bench = Bench(max_batch=2)

    async def main() -> None:
        bench.hold()
        jobs = [bench.put(bench.work(number)) for number in range(5)]
        bench.go.set()
        await asyncio.gather(*(job.future for job in jobs))

    running(bench, main)
    assert bench.done == [[0, 1], [2, 3], [4]]


def test_what_is_computed_in_one_go_is_bounded_by_its_pairs() -> None:
    bench = Bench()

    async def main() -> None:
        bench.hold()
        jobs = [
            bench.put(replace(bench.work(number), size=size)) for number, size in enumerate((9000, 2000, 2000, 2000))
        ]
        bench.go.set()
        await asyncio.gather(*(job.future for job in jobs))

    running(bench, main)
    assert bench.done == [[0], [1, 2], [3]]


def test_a_turn_takes_about_a_second_at_the_pace_so_far() -> None:
    bench = Bench()
    bench.batcher._pace["work"] = 100.0  # pairs a second

    async def main() -> None:
        bench.hold()
        jobs = [bench.put(replace(bench.work(number), size=size)) for number, size in enumerate((60, 40, 60))]
        bench.go.set()
        await asyncio.gather(*(job.future for job in jobs))

    running(bench, main)
    assert bench.done == [[0, 1], [2]]


def test_each_is_answered_as_soon_as_it_is_done() -> None:
    bench, go_on = Bench(), threading.Event()

    def act(payloads: Sequence[Any]) -> Iterator[Any]:
        yield "first"
        go_on.wait(PATIENCE)
        yield "second"

    async def main() -> None:
        bench.hold()
        first, second = (bench.put(Work("slow", "a", act, None)) for _ in range(2))
        bench.go.set()
        assert await first.future == "first"
        assert not second.future.done()
        go_on.set()
        assert await second.future == "second"

    running(bench, main)


def test_one_that_fails_does_not_fail_the_others() -> None:
    bench = Bench()

    async def main() -> list[Any]:
        bench.hold()
        jobs = [bench.put(bench.work(number)) for number in (1, 13, 2)]
        bench.go.set()
        return await asyncio.gather(*(job.future for job in jobs), return_exceptions=True)

    first, failed, last = running(bench, main)
    assert (first, last) == (10, 20)
    assert isinstance(failed, ValueError)


def test_a_full_queue_is_429_with_a_time_to_come_again() -> None:
    bench = Bench(max_queue=2)

    async def main() -> None:
        bench.hold()
        await asyncio.to_thread(bench.started.wait, PATIENCE)
        for number in range(2):
            bench.put(bench.work(number))
        with pytest.raises(ServiceError, match="2 requests wait already") as caught:
            bench.put(bench.work(2))
        assert caught.value.status == 429
        assert caught.value.retry_seconds is not None

    running(bench, main)


def test_those_that_left_make_room_and_are_never_done() -> None:
    bench = Bench(max_queue=2)

    async def main() -> None:
        bench.hold()
        await asyncio.to_thread(bench.started.wait, PATIENCE)
        gone = [bench.put(bench.work(number)) for number in range(2)]
        for job in gone:
            job.left = True
        stays = bench.put(bench.work(5))
        bench.go.set()
        await stays.future

    running(bench, main)
    assert bench.done == [[5]]


def test_what_is_too_late_is_never_done() -> None:
    bench = Bench()

    async def main() -> None:
        bench.hold()
        bench.put(bench.work(1), seconds=-1)
        stays = bench.put(bench.work(2))
        bench.go.set()
        await stays.future

    running(bench, main)
    assert bench.done == [[2]]


def test_what_nobody_waits_for_stops_in_the_middle() -> None:
    bench = Bench()

    async def main() -> int:
        held = bench.hold()
        await asyncio.to_thread(bench.started.wait, PATIENCE)
        held.left = True  # `go` never comes
        return int(await bench.put(bench.work(1)).future)

    assert running(bench, main) == 10


def test_a_check_from_elsewhere_says_nothing() -> None:
    Bench().batcher.check()
    assert issubclass(Abandoned, Exception)


def test_a_batcher_that_is_closed_takes_nothing() -> None:
    bench = Bench()

    async def main() -> None:
        bench.batcher.close(PATIENCE)
        assert not bench.batcher.is_alive
        with pytest.raises(ServiceError, match="is stopping"):
            bench.put(bench.work(1))

    running(bench, main)
