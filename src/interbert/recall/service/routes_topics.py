"""Topics that are kept beside the index, with the products they bundle: shown, changed, reviewed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from interbert.errors import UsageError
from interbert.recall.bundles import recall_topics
from interbert.recall.search import Answer, Question, Searcher
from interbert.recall.service import cursors, models
from interbert.recall.service.batching import Work
from interbert.recall.service.cursors import Cursor
from interbert.recall.service.errors import ServiceError
from interbert.recall.service.live import mark_of
from interbert.recall.service.models import ReviewRequest, TopicAnswer, TopicCard, TopicRequest, TopicsAnswer
from interbert.recall.service.reading import filter_of, id_of, image_url, topic_of
from interbert.recall.service.service import Served
from interbert.recall.topics import Bundle, Bundled, Card, Topic, Topics, find_topics, open_topics

VERDICTS = {"keep": True, "drop": False, None: None}
BASE = Question()


class Kept:
    """The topics of an index; their place is made when the first is kept. address: as of `open_index`."""

    def __init__(self, folder: Path, address: str | None = None) -> None:
        self._folder, self._address = folder, address
        self._topics: Topics | None = None
        self._mark = mark_of(folder)

    @property
    def topics(self) -> Topics | None:
        """None where none was ever kept."""
        self._look_again()
        if self._topics is None:
            self._topics = find_topics(self._folder, self._address)
        return self._topics

    def made(self) -> Topics:
        """The topics, made where there are none."""
        self._look_again()
        if self._topics is None:
            self._topics = open_topics(self._folder, self._address)
        return self._topics

    def _look_again(self) -> None:
        """Lets go of the topics of an index in whose place another one lies."""
        if (mark := mark_of(self._folder)) != self._mark:
            self._topics, self._mark = None, mark

    def bundle(self, name: str) -> Bundle:
        """Raises ServiceError 404 where there is no such topic."""
        if self.topics is not None:
            try:
                return self.topics.get(name)
            except UsageError:
                pass
        raise ServiceError(404, "there is no topic of that name", code="no_such_topic", param="name")


async def _kept(request: Request) -> Kept:
    found: Kept = request.app.state.topics
    return found


InKept = Annotated[Kept, Depends(_kept)]

router = APIRouter(prefix="/topics")


@router.get("")
def topics(
    kept: InKept,
    limit: Annotated[int, Query(ge=1, le=models.MAX_PAGE)] = models.MAX_PAGE,
    cursor: Annotated[str | None, Query(max_length=models.MAX_CURSOR)] = None,
) -> TopicsAnswer:
    """Cards, in the order in which topics came."""
    start = 0 if cursor is None else cursors.read(cursor, ("topics",)).start
    found = kept.topics
    if found is None:
        return TopicsAnswer(items=[], total=0, next_cursor=None)
    total, after = len(found), Cursor(0, start + limit)
    cards = [_card(one) for one in found.cards(start, limit)]
    more = cursors.written(after, ("topics",)) if after.start < total else None
    return TopicsAnswer(items=cards, total=total, next_cursor=more)


@router.get("/{name:path}")
def topic(name: str, kept: InKept) -> TopicAnswer:
    """A topic with its products."""
    return _answer(kept.bundle(id_of(name)))


@router.put("/{name:path}")
async def put(request: Request, name: str, body: TopicRequest, service: Served, kept: InKept) -> TopicAnswer:
    """Keeps a topic with what is recalled for it now; reviews stay."""
    searcher = await asyncio.to_thread(service.index.now)
    topic_of(searcher, body.title)
    await asyncio.to_thread(filter_of, searcher, body.filter)
    try:
        asked = Topic(id_of(name), body.title, body.sub_title, body.threshold, body.filter, body.limit)
    except UsageError as error:
        raise ServiceError(422, str(error)) from error
    work = Work("topic", object(), _recalled, (searcher, asked, kept.made()))
    answer: Answer = await service.done(request, work)
    await asyncio.to_thread(kept.made().put, asked.filled(BASE), answer)
    return _answer(await asyncio.to_thread(kept.bundle, asked.name))


@router.delete("/{name:path}", status_code=204)
def delete(name: str, kept: InKept) -> Response:
    """Forgets a topic; what was said of its products stays among the labelled pairs."""
    kept.bundle(id_of(name))
    kept.made().delete(id_of(name))
    return Response(status_code=204)


@router.post("/{name:path}/review")
def review(name: str, body: ReviewRequest, kept: InKept) -> TopicAnswer:
    """Says that a product belongs to a topic, or that it does not, or takes back what was said."""
    bundle = kept.bundle(id_of(name))
    if body.product not in {one.id for one in (*bundle.products, *bundle.dropped)}:
        raise ServiceError(422, "product: the topic has no product of that id", param="product")
    kept.made().review(bundle.topic.name, body.product, VERDICTS[body.verdict])
    return _answer(kept.bundle(bundle.topic.name))


def _recalled(asked: Sequence[tuple[Searcher, Topic, Topics]]) -> Sequence[Answer]:
    return [answer for searcher, topic, kept in asked for _, answer in recall_topics(searcher, [topic], BASE, kept)]


def _facts(one: Card | Bundle) -> dict[str, Any]:
    topic = one.topic
    return {
        **{name: getattr(topic, name) for name in ("name", "title", "sub_title", "threshold", "filter", "limit")},
        "total_recalled": one.recalled,
        "index_version": one.index_version,
        "at": one.at,
        "cover": None if one.cover is None else _bundled(one.cover),
    }


def _card(card: Card) -> TopicCard:
    return TopicCard(**_facts(card), products=card.products, kept=card.kept, dropped=card.dropped)


def _answer(bundle: Bundle) -> TopicAnswer:
    products, dropped = (list(map(_bundled, some)) for some in (bundle.products, bundle.dropped))
    return TopicAnswer(
        **_facts(bundle), products=products, dropped=dropped, kept=sum(one.kept is True for one in products)
    )


def _bundled(one: Bundled) -> models.Bundled:
    return models.Bundled(id=one.id, title=one.title, image_url=image_url(one.id), score=one.score, kept=one.kept)
