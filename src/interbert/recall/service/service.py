"""What all routes share: the index, the queue, the pictures; and how a request waits for what it asked for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import Depends, Request

from interbert.errors import InterbertError, UsageError
from interbert.recall.measuring import measure_if_unknown
from interbert.recall.service.batching import Batcher, Work
from interbert.recall.service.errors import ClientLeft, ServiceError, defect, request_id
from interbert.recall.service.images import ProductImages
from interbert.recall.service.live import LiveIndex
from interbert.recall.service.metrics import Metrics
from interbert.recall.service.settings import Settings
from interbert.recall.service.thumbnails import Thumbnails

Tell = Callable[[Any], None]  # from any thread
log = logging.getLogger("interbert.service")


class Service:
    """One index that is served. began: `time.monotonic()` of a request is in its scope's state."""

    def __init__(self, index: LiveIndex, settings: Settings) -> None:
        self.index, self.settings, self.metrics = index, settings, Metrics()
        self.batcher = Batcher(settings.max_batch, settings.max_queue, self.metrics)
        self.images = ProductImages(index.now().store.region_folder, settings.images)
        self.thumbnails = Thumbnails(self.images)
        index.check = self.batcher.check
        self.stopping = False

    def prepare(self) -> None:
        """What is better done before the first request: how well a cascade finds is measured."""
        measure_if_unknown(self.index.now())

    def ready(self) -> int:
        """The version that answers. Raises ServiceError 503 where nothing can be asked."""
        if self.stopping or not self.batcher.is_alive:
            raise ServiceError(503, "the service is stopping", code="stopping", retry_seconds=5)
        version = self.index.now().version
        self.metrics.index_version.set(version)
        return version

    async def done(self, request: Request, work: Work) -> Any:
        """The result of work, which is dropped where the client leaves or the request's time is over.

        Raises ServiceError 429, 503 or 422, ClientLeft.
        """
        limit = self.settings.time_limit_seconds
        deadline = request.scope["state"].get("began", time.monotonic()) + limit
        job = self.batcher.put(work, deadline)
        gone = asyncio.ensure_future(_has_left(request))
        try:
            left = max(0.0, deadline - time.monotonic())
            await asyncio.wait({job.future, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if job.future.done():
                return job.future.result()
            if gone.done():
                self.metrics.left.labels("client").inc()
                raise ClientLeft
            self.metrics.left.labels("time").inc()
            raise ServiceError(
                503,
                f"it took longer than {limit:g} s; what was scored is remembered: asked again, it goes on there",
                code="timeout",
                retry_seconds=1,
            )
        except UsageError as error:
            raise ServiceError(422, str(error)) from error
        except InterbertError as error:  # of damaged files, and weights that give no numbers: no fault of who asks
            log.error("request %s: %s", request_id(request.scope), error)
            raise defect() from error
        finally:
            job.left = True
            gone.cancel()
            job.future.cancel()

    async def streamed(self, request: Request, work: Callable[[Tell], Work]) -> AsyncIterator[Any]:
        """What the work tells while it is done, as it comes, and its result. Raises as `done`."""
        loop, told = asyncio.get_running_loop(), asyncio.Queue[Any]()

        def tell(one: Any) -> None:
            loop.call_soon_threadsafe(told.put_nowait, one)

        done = asyncio.ensure_future(self.done(request, work(tell)))
        done.add_done_callback(told.put_nowait)  # itself, after all that was told
        try:
            while (one := await told.get()) is not done:
                yield one
            yield done.result()
        finally:
            if done.cancel():  # not done yet, and nobody reads on
                self.metrics.left.labels("client").inc()


async def _served(request: Request) -> Service:
    found: Service = request.app.state.service
    return found


Served = Annotated[Service, Depends(_served)]  # as routes take it


async def _has_left(request: Request) -> None:
    """Returns when the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
