"""Work of several callers computed together: a bounded queue, one thread that computes, answers as each is done.

In: `Work` from the event loop. What has the same group is done by one call, as many as have come while the thread was
busy. Work whose caller has left, or whose time is over, is dropped where it waits, and what is computed stops at its
next `check`, where nobody waits for any of it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from interbert.recall.service.errors import ServiceError
from interbert.recall.service.metrics import Metrics

log = logging.getLogger(__name__)

LINGER_SECONDS = 0.004  # under load, the thread waits so long for the callers that were just answered to ask again
START_RATE = 50.0  # works a second, before any was measured
MOST_PAIRS = 4_096  # that are computed in one go, unless one caller asks for more
TURN_SECONDS = 1.0  # that they take, about: more together gain nothing, and everybody waits for the last of them
START_PAIRS = 200.0  # pairs a second, before any was measured


class Abandoned(Exception):
    """Nobody waits for what is computed."""


@dataclass(frozen=True)
class Work:
    """act: from the payloads of one group to their results, in order, each answered as it comes.

    what: its name in the metrics.  size: about how many pairs are scored.
    """

    what: str
    group: Hashable
    act: Callable[[Sequence[Any]], Iterable[Any]]
    payload: Any
    size: int = 1


@dataclass(eq=False)
class Job:
    """Work that waits, or is done. left: nobody waits for it any more."""

    work: Work
    deadline: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    left: bool = field(default=False)

    def settle(self, result: Any, error: BaseException | None) -> None:
        """From the computing thread: the result, or what went wrong."""
        if self.left or self.loop.is_closed():
            return
        try:
            self.loop.call_soon_threadsafe(self._set, result, error)
        except RuntimeError:
            self.left = True  # the loop closed meanwhile

    def _set(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class Batcher:
    """max_batch: works that are done together.  max_queue: that may wait."""

    def __init__(self, max_batch: int, max_queue: int, metrics: Metrics) -> None:
        self._max_batch, self._max_queue, self._metrics = max_batch, max_queue, metrics
        self._waiting: deque[Job] = deque()
        self._condition = threading.Condition()
        self._running: list[Job] = []
        self._closed = False
        self._rate = START_RATE
        self._pace: dict[str, float] = {}  # pairs a second of each kind
        self._thread = threading.Thread(target=self._work, name="interbert-compute", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether anything that is put is ever done."""
        return self._thread.is_alive() and not self._closed

    @property
    def is_computing(self) -> bool:
        """Whether the thread still runs, also after `close`."""
        return self._thread.is_alive()

    def close(self, timeout_seconds: float) -> None:
        """Takes nothing more; what waits is dropped, what runs is waited for."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)

    def put(self, work: Work, deadline: float) -> Job:
        """Queues work. deadline: of `time.monotonic()`. ServiceError 429 where too much waits, 503 when closed."""
        loop = asyncio.get_running_loop()
        job = Job(work, deadline, loop, loop.create_future())
        with self._condition:
            if self._closed:
                raise ServiceError(503, "the service is stopping", code="stopping", retry_seconds=5)
            if len(self._waiting) >= self._max_queue:
                self._waiting = deque(one for one in self._waiting if not one.left)
            if len(self._waiting) >= self._max_queue:
                raise ServiceError(
                    429,
                    f"{len(self._waiting)} requests wait already; come again later",
                    code="queue_full",
                    retry_seconds=min(60.0, len(self._waiting) / self._rate),
                )
            self._waiting.append(job)
            self._metrics.queued.set(len(self._waiting))
            self._condition.notify()
        return job

    def check(self) -> None:
        """For what computes to call now and then. Raises Abandoned where nobody waits for it."""
        if threading.current_thread() is self._thread and all(map(_is_over, self._running)):
            raise Abandoned

    def _work(self) -> None:
        together = 1
        while (jobs := self._next(together > 1)) is not None:
            together = len(jobs)
            if jobs:
                self._do(jobs)

    def _next(self, linger: bool) -> list[Job] | None:
        """The works to do together; None: no more are coming."""
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            if linger and len(self._waiting) < self._max_batch:
                self._condition.wait_for(lambda: len(self._waiting) >= self._max_batch or self._closed, LINGER_SECONDS)
            return self._taken()

    def _taken(self) -> list[Job]:
        """The first that still matters, and those of its group."""
        taken: list[Job] = []
        rest: deque[Job] = deque()
        while self._waiting:
            job = self._waiting.popleft()
            if not _is_over(job):
                (taken if self._goes_with(taken, job) else rest).append(job)
        self._waiting = rest
        self._metrics.queued.set(len(rest))
        return taken

    def _goes_with(self, taken: list[Job], job: Job) -> bool:
        if not taken:
            return True
        size, what = sum(one.work.size for one in (*taken, job)), job.work.what
        most = min(MOST_PAIRS, TURN_SECONDS * self._pace.get(what, START_PAIRS))
        return job.work.group == taken[0].work.group and len(taken) < self._max_batch and size <= most

    def _do(self, jobs: list[Job]) -> None:
        what, began = jobs[0].work.what, time.monotonic()
        self._metrics.batch.labels(what).observe(len(jobs))
        self._running, answered = jobs, 0
        try:
            for job, result in zip(jobs, jobs[0].work.act([job.work.payload for job in jobs]), strict=True):
                job.settle(result, None)
                answered += 1
        except Abandoned:
            pass
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].settle(None, error)
            else:  # one of them is to blame: the others are not to suffer for it
                for job in jobs[answered:]:
                    if not _is_over(job):
                        self._do([job])
        finally:
            self._running = []
            seconds = time.monotonic() - began
            self._metrics.busy_seconds.labels(what).inc(seconds)
            if answered:
                self._measure(jobs[:answered], max(seconds, 1e-4))

    def _measure(self, jobs: Sequence[Job], seconds: float) -> None:
        """Takes in how long works took that were done together."""
        self._rate += 0.2 * (len(jobs) / seconds - self._rate)
        what, pairs = jobs[0].work.what, sum(job.work.size for job in jobs)
        before = self._pace.get(what, START_PAIRS)
        self._pace[what] = before + 0.2 * (pairs / seconds - before)


def _is_over(job: Job) -> bool:
    return job.left or time.monotonic() > job.deadline
