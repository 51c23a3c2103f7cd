"""Products as they are in the index: GET /products and what stands below it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from interbert.recall.service import cursors
from interbert.recall.service.batching import Work
from interbert.recall.service.cursors import Cursor
from interbert.recall.service.errors import ServiceError
from interbert.recall.service.models import (
    MAX_CURSOR,
    MAX_FILTER,
    MAX_PAGE,
    PAGE,
    ExplainAnswer,
    ProductAnswer,
    ProductsAnswer,
    TopicText,
)
from interbert.recall.service.reading import card_of, filter_of, id_of, product_of, regions_of, topic_of
from interbert.recall.service.service import Served
from interbert.recall.service.thumbnails import SIDES, side_for
from interbert.scoring.explain import Explanation, explanation

KEPT = "private, max-age=3600"  # a picture's address stays, what it shows may change

router = APIRouter(prefix="/products")


@router.get("")
def products(
    service: Served,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
    cursor: Annotated[str | None, Query(max_length=MAX_CURSOR)] = None,
    filter: Annotated[str | None, Query(max_length=MAX_FILTER)] = None,
) -> ProductsAnswer:
    """All products that pass the filter, in the order in which they came."""
    start, searcher = 0, service.index.now()
    if cursor is not None:
        place = cursors.read(cursor, ("products", filter))
        start, searcher = place.start, service.index.now(place.version)
    rows = searcher.store.select(searcher.version, filter_of(searcher, filter)).rows
    found = searcher.store.products(rows[start : start + limit].tolist())
    after = Cursor(searcher.version, start + limit)
    return ProductsAnswer(
        items=[card_of(one) for one in found],
        total=len(rows),
        next_cursor=cursors.written(after, ("products", filter)) if after.start < len(rows) else None,
        index_version=searcher.version,
    )


@router.get("/{id:path}/image", response_class=Response, responses={200: {"content": {"image/*": {}}}})
def image(
    request: Request, id: str, service: Served, size: Annotated[int | None, Query(ge=1, le=SIDES[-1])] = None
) -> Response:
    """The picture that was indexed; with `size`, a smaller one whose longer side has at least so many pixels."""
    found = product_of(service.index.now(), id_of(id))
    side = None if size is None else side_for(size)
    headers = {"ETag": f'"{found.picture}{"" if side is None else f"-{side}"}"', "Cache-Control": KEPT}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    shown = service.images.read(found) if side is None else service.thumbnails.read(found, side)
    if shown is None:
        raise ServiceError(
            404,
            "the product's picture is not where it was, or shows something else by now; the service can be told "
            "where pictures are (--images)",
            code="no_picture",
        )
    return Response(shown.content, media_type=shown.type, headers=headers)


@router.get("/{id:path}/explain")
async def explain(request: Request, id: str, topic: Annotated[TopicText, Query()], service: Served) -> ExplainAnswer:
    """Which words of a topic and which regions of a product's picture carried the score."""
    searcher = await asyncio.to_thread(service.index.now)
    read = topic_of(searcher, topic)
    found = await asyncio.to_thread(product_of, searcher, id_of(id))
    regions = await asyncio.to_thread(regions_of, searcher, found)
    work = Work("explain", object(), _explained, (searcher, read, regions))
    why: Explanation = await service.done(request, work)
    return ExplainAnswer(**why.to_json(), id=found.id, index_version=searcher.version)


@router.get("/{id:path}")
def product(id: str, service: Served) -> ProductAnswer:
    """One product."""
    searcher = service.index.now()
    card = card_of(product_of(searcher, id_of(id)))
    return ProductAnswer(**card.model_dump(), index_version=searcher.version)


def _explained(asked: Sequence[Any]) -> Sequence[Explanation]:
    return [explanation(searcher.scorer, topic, regions) for searcher, topic, regions in asked]
