"""Topics and products: POST /recall, GET /products and what stands below it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from interbert.recall.search import Answer, Hit, Question, Searcher
from interbert.recall.service import cursors
from interbert.recall.service.batching import Work
from interbert.recall.service.cursors import Cursor
from interbert.recall.service.errors import ServiceError
from interbert.recall.service.images import ProductImages
from interbert.recall.service.models import (
    MAX_CURSOR,
    MAX_FILTER,
    MAX_PAGE,
    PAGE,
    ExplainAnswer,
    Item,
    ProductAnswer,
    ProductsAnswer,
    RecallAnswer,
    RecallRequest,
    TopicText,
)
from interbert.recall.service.reading import card_of, filter_of, id_of, image_url, product_of, regions_of, topic_of
from interbert.recall.service.service import Service
from interbert.scoring.explain import Explanation, explanation

Asked = tuple[Searcher, str, Question]
FILTERED = 1_000  # products that a filter is taken to leave, at most
KEPT = "private, max-age=3600"  # a picture's address stays, what it shows may change


def recall_routes(service: Service) -> APIRouter:
    """The routes of one service."""
    router = APIRouter()
    images = ProductImages(service.index.now().store.region_folder, service.settings.images)

    @router.post("/recall")
    async def recall(request: Request, body: RecallRequest) -> RecallAnswer:
        """The products of a topic, strictly above the threshold, best first."""
        asked = (body.topic, body.threshold, body.mode, body.filter, body.candidates)
        cursor = None if body.cursor is None else cursors.read(body.cursor, asked)
        start = 0 if cursor is None else cursor.start
        work = await asyncio.to_thread(_work, service, body, cursor)  # an index on a server may take its time
        answer: Answer = await service.done(request, work)
        more = start + len(answer.hits[start:]) < answer.recalled and len(answer.hits) > start
        after = Cursor(answer.index_version, start + body.limit)
        return RecallAnswer(
            topic=body.topic,
            threshold=body.threshold,
            mode=body.mode,
            total_passed=answer.passed,
            total_scored=answer.scored,
            total_recalled=answer.recalled,
            items=[_item(hit) for hit in answer.hits[start:]],
            measured_recall=answer.measured,
            next_cursor=cursors.written(after, asked) if more else None,
            index_version=answer.index_version,
            seconds=round(answer.seconds, 4),
            truncated=answer.topic != body.topic,
        )

    @router.get("/products")
    def products(
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

    @router.get("/products/{id:path}/image", response_class=Response, responses={200: {"content": {"image/*": {}}}})
    def image(request: Request, id: str) -> Response:
        """The picture that was indexed."""
        found = product_of(service.index.now(), id_of(id))
        headers = {"ETag": f'"{found.picture}"', "Cache-Control": KEPT}
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        shown = images.read(found)
        if shown is None:
            raise ServiceError(
                404,
                "the product's picture is not where it was, or shows something else by now; the service can be told "
                "where pictures are (--images)",
                code="no_picture",
            )
        return Response(shown.content, media_type=shown.type, headers=headers)

    @router.get("/products/{id:path}/explain")
    async def explain(request: Request, id: str, topic: Annotated[TopicText, Query()]) -> ExplainAnswer:
        """Which words of a topic and which regions of a product's picture carried the score."""
        searcher = await asyncio.to_thread(service.index.now)
        read = topic_of(searcher, topic)
        found = await asyncio.to_thread(product_of, searcher, id_of(id))
        regions = await asyncio.to_thread(regions_of, searcher, found)
        work = Work("explain", object(), _explained, (searcher, read, regions))
        why: Explanation = await service.done(request, work)
        return ExplainAnswer(**why.to_json(), id=found.id, index_version=searcher.version)

    @router.get("/products/{id:path}")
    def product(id: str) -> ProductAnswer:
        """One product."""
        searcher = service.index.now()
        card = card_of(product_of(searcher, id_of(id)))
        return ProductAnswer(**card.model_dump(), index_version=searcher.version)

    return router


def _work(service: Service, body: RecallRequest, cursor: Cursor | None) -> Work:
    """What is to be computed. Raises ServiceError where it cannot be asked."""
    searcher = service.index.now(None if cursor is None else cursor.version)
    topic = topic_of(searcher, body.topic)
    filter_of(searcher, body.filter)
    where = body.filter if body.filter and body.filter.strip() else None
    top_k = body.limit + (0 if cursor is None else cursor.start)
    question = Question(body.threshold, body.mode, top_k, where, body.candidates)
    group = (searcher.store, searcher.version, body.mode, where, body.candidates)
    return Work(f"recall {body.mode}", group, _recalled, (searcher, topic, question), _size(searcher, question))


def _recalled(asked: Sequence[Asked]) -> Iterator[Answer]:
    """Of questions with one filter and one mode."""
    searcher = asked[0][0]
    return searcher.recall_all([topic for _, topic, _ in asked], [question for _, _, question in asked])


def _size(searcher: Searcher, question: Question) -> int:
    """About how many pairs a question is."""
    if question.mode == "cascade":
        return question.candidates
    products = next(one.products for one in searcher.store.versions() if one.number == searcher.version)
    return products if question.where is None else min(products, FILTERED)


def _explained(asked: Sequence[Any]) -> Sequence[Explanation]:
    return [explanation(searcher.scorer, topic, regions) for searcher, topic, regions in asked]


def _item(hit: Hit) -> Item:
    return Item(id=hit.id, title=hit.title, score=hit.score, image_url=image_url(hit.id), cells=dict(hit.cells))
