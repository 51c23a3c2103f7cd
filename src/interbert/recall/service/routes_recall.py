"""Products of a topic: POST /recall, all at once or as they are found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from starlette.responses import StreamingResponse

from interbert.recall.search import Answer, Early, Hit, Question, Searcher
from interbert.recall.service import cursors
from interbert.recall.service.batching import Work
from interbert.recall.service.cursors import Cursor
from interbert.recall.service.errors import ClientLeft, ServiceError, facts_of, request_id
from interbert.recall.service.models import AnswerLine, EarlyLine, ErrorLine, Item, RecallAnswer, RecallRequest
from interbert.recall.service.reading import filter_of, image_url, topic_of
from interbert.recall.service.service import Served, Service, Tell

FILTERED = 1_000  # products that a filter is taken to leave, at most
LINES = "application/x-ndjson"
AT_ONCE = {"X-Accel-Buffering": "no"}  # has nginx pass each line on as it comes

router = APIRouter()


@router.post("/recall", response_model=RecallAnswer, responses={200: {"content": {LINES: {}}}})
async def recall(request: Request, body: RecallRequest, service: Served) -> RecallAnswer | Response:
    """The products of a topic, strictly above the threshold, best first.

    With `Accept: application/x-ndjson`, lines: products as they are found, and that answer at last.
    """
    asked = await asyncio.to_thread(_asked, service, body)  # an index on a server may take its time
    if LINES not in request.headers.get("accept", ""):
        return _answer(asked, await service.done(request, _work(asked)))
    parts = service.streamed(request, lambda tell: _work_telling(asked, tell))
    first = await anext(parts)  # what goes wrong before it is an answer of its own
    return StreamingResponse(_lines(asked, first, parts, request_id(request.scope)), media_type=LINES, headers=AT_ONCE)


@dataclass(frozen=True)
class Asked:
    """A request that can be computed. start: how many products came on the pages before."""

    body: RecallRequest
    searcher: Searcher
    topic: str
    question: Question
    start: int


def _asked(service: Service, body: RecallRequest) -> Asked:
    """Raises ServiceError where it cannot be asked."""
    cursor = None if body.cursor is None else cursors.read(body.cursor, _same(body))
    start = 0 if cursor is None else cursor.start
    searcher = service.index.now(None if cursor is None else cursor.version)
    topic = topic_of(searcher, body.topic)
    filter_of(searcher, body.filter)
    where = body.filter if body.filter and body.filter.strip() else None
    question = Question(body.threshold, body.mode, body.limit + start, where, body.candidates)
    return Asked(body, searcher, topic, question, start)


def _same(body: RecallRequest) -> tuple[object, ...]:
    """What must be asked again with a cursor."""
    return body.topic, body.threshold, body.mode, body.filter, body.candidates


def _work(asked: Asked) -> Work:
    """Computed together with others of the same filter and mode."""
    question, searcher = asked.question, asked.searcher
    group = (searcher.store, searcher.version, question.mode, question.where, question.candidates)
    return Work(f"recall {question.mode}", group, _recalled, asked, _size(asked))


def _work_telling(asked: Asked, tell: Tell) -> Work:
    """Computed by itself, so that its products come at once."""
    return Work(f"recall {asked.question.mode} early", object(), _told, (asked, tell), _size(asked))


def _recalled(asked: Sequence[Asked]) -> Iterator[Answer]:
    return asked[0].searcher.recall_all([one.topic for one in asked], [one.question for one in asked])


def _told(asked: Sequence[tuple[Asked, Tell]]) -> Sequence[Answer]:
    ((one, tell),) = asked
    search = one.searcher.stream(one.topic, one.question)
    while True:
        try:
            tell(next(search))
        except StopIteration as end:
            return [end.value]


def _size(asked: Asked) -> int:
    """About how many pairs a question is."""
    searcher, question = asked.searcher, asked.question
    if question.mode == "cascade":
        return question.candidates
    products = next(one.products for one in searcher.store.versions() if one.number == searcher.version)
    return products if question.where is None else min(products, FILTERED)


def _answer(asked: Asked, answer: Answer) -> RecallAnswer:
    body, start = asked.body, asked.start
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
        next_cursor=cursors.written(after, _same(body)) if more else None,
        index_version=answer.index_version,
        seconds=round(answer.seconds, 4),
        truncated=answer.topic != body.topic,
    )


async def _lines(
    asked: Asked, first: Early | Answer, rest: AsyncIterator[Early | Answer], id: str
) -> AsyncIterator[str]:
    """Each part as a line; the last is the answer, or says what went wrong."""
    yield _line(asked, first)
    try:
        async with aclosing(rest):  # type: ignore[type-var]
            async for part in rest:
                yield _line(asked, part)
    except ClientLeft:
        return
    except ServiceError as error:
        last = ErrorLine(error=facts_of(error, id), status=error.status, retry_after=error.retry_after)
        yield last.model_dump_json() + "\n"


def _line(asked: Asked, part: Early | Answer) -> str:
    line = (
        EarlyLine(scored=part.scored, total=part.total, items=[_item(hit) for hit in part.hits])
        if isinstance(part, Early)
        else AnswerLine(answer=_answer(asked, part))
    )
    return line.model_dump_json() + "\n"


def _item(hit: Hit) -> Item:
    return Item(id=hit.id, title=hit.title, score=hit.score, image_url=image_url(hit.id), cells=dict(hit.cells))
