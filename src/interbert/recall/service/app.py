"""The whole application: routes, errors and the door, around one index."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import interbert
from interbert.recall.service import page, routes_about, routes_products, routes_recall, routes_scores, routes_topics
from interbert.recall.service.door import Door
from interbert.recall.service.errors import DOCUMENTED, add_handlers
from interbert.recall.service.live import LiveIndex
from interbert.recall.service.pictures import Pictures
from interbert.recall.service.routes_topics import Kept
from interbert.recall.service.service import Service
from interbert.recall.service.settings import Settings


def make_app(index: LiveIndex, settings: Settings | None = None, *, log_requests: bool = False) -> Door:
    """The ASGI application that serves an index; its `service` is what the routes share.

    log_requests: a line of JSON each, to the logger `interbert.service`, without what was asked.
    """
    service = Service(index, settings or Settings())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        yield
        service.stopping = True
        await asyncio.to_thread(service.batcher.close, service.settings.time_limit_seconds)

    app = FastAPI(
        title="interbert",
        version=interbert.__version__,
        description="Products of a topic, by their pictures.",
        lifespan=lifespan,
        docs_url=None,  # their page takes its scripts from elsewhere
        redoc_url=None,
        responses=DOCUMENTED,  # type: ignore[arg-type]
        max_body_size=service.settings.max_body_bytes,
    )
    app.state.service, app.state.pictures = service, Pictures(service)
    app.state.topics = Kept(index.folder, index.address)
    add_handlers(app)
    for routes in (routes_about, routes_recall, routes_products, routes_scores, routes_topics, page):
        app.include_router(routes.router)
    return Door(app, service, log_requests)
