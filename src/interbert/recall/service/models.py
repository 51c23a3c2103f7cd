"""What the service is asked and what it answers, as JSON. Nothing is converted: a number is no text, true no number.

POST /recall    {"topic": str, "threshold": 0.6, "mode": "exact" | "cascade", "limit": 20, "cursor"?: str,
                 "filter"?: str, "candidates": 200}
             -> {"topic", "threshold", "mode", "total_passed": products that pass the filter, "total_scored": of those
                 with a full score, "total_recalled": strictly above the threshold, "items": [{"id", "title", "score",
                 "image_url", "cells": {column: str | number | null}}] best first, "measured_recall": null or {"recall",
                 "candidates", "of", "answers", "topics", "pictures", "index_version", "measured_at"}, "next_cursor":
                 str or null, "index_version": int, "seconds": float, "truncated": whether the topic was cut}
                With `Accept: application/x-ndjson`, lines of JSON: {"scored", "total", "items"} while products are
                scored, with those that came among the best `limit` so far (and the pages before), in any order; at last
                {"answer": as above}, or {"error", "status", "retry_after": seconds or null}
POST /rerank    (also /v1/rerank, /v2/rerank) {"model"?, "query": str | {"text"} | {"image"} | {"id"}, "documents":
                 [str | {"text"} | {"image"} | {"id"}], "top_n"?, "return_documents": false, "threshold"?}
             -> {"id", "model", "results": [{"index", "relevance_score", "document"?}] best first, "usage":
                 {"prompt_tokens", "total_tokens", "pairs"}}
POST /score     {"model"?, "pairs": [{"text": str, "image": str} or {"text": str, "id": str}]}
             -> {"id", "model", "data": [{"index", "score"}], "usage"}
POST /rerank/upload, /score/upload: multipart/form-data; the field `request` has that JSON, where {"upload": NAME}
                 stands for the file of that name among the fields `files`.
GET /products?limit=&cursor=&filter= -> {"items": [{"id", "title", "image_url", "cells"}], "total", "next_cursor",
                 "index_version"}
GET /products/{id} -> {"id", "title", "image_url", "cells", "index_version"};  /products/{id}/image -> the picture;
                 with ?size= (1 to 1280), a smaller one whose longer side has at least so many pixels
GET /products/{id}/explain?topic= -> {"id", "text", "score", "image_size": [w, h], "words": [{"word", "span": [begin,
                 end], "weight"}], "regions": [{"label", "box": [x1, y1, x2, y2], "weight"}], "weights": [[...] a word],
                 "index_version"}
GET /topics?limit=&cursor= -> {"items": [card], "total", "next_cursor"}
                 card: {"name", "title", "sub_title", "threshold", "filter", "limit", "total_recalled", "index_version",
                 "at", "products": count, "kept": count, "dropped": count, "cover": product or null}
GET /topics/{name} -> card, where "products" and "dropped" are lists of products: {"id", "title", "image_url",
                 "score": float or null, "kept": true | false | null}
PUT /topics/{name} {"title", "sub_title"?, "threshold"?, "filter"?, "limit"?} -> as GET;  DELETE /topics/{name} -> 204
POST /topics/{name}/review {"product": id, "verdict": "keep" | "drop" | null} -> as GET /topics/{name}
GET /health, /ready, /info, /metrics, /openapi.json
error           {"error": {"type", "message", "param", "code", "request_id"}}

An image is a data URI `data:image/…;base64,…`; where the service was told of hosts, also an https address of one.
A slash in an id or a name stands in an address as %2F.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from interbert.recall.search import CANDIDATES, MAX_TOPIC, THRESHOLD

MAX_DOCUMENTS, MAX_PAGE, MAX_CANDIDATES = 1_000, 1_000, 10_000
MAX_TEXT, MAX_ID, MAX_FILTER, MAX_CURSOR = 10_000, 4_096, 10_000, 1_000  # characters
PAGE = 20  # items where nobody says how many


def _is_text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("got half of a character (a lone surrogate); wanted whole ones") from None
    return value


def _some_words(value: str) -> str:
    if not value.strip():
        raise ValueError("it is empty; wanted some words")
    return value


def _as_text(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


Whole = AfterValidator(_is_text)
Words = AfterValidator(_some_words)
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), Whole, Words]
TopicText = Annotated[str, Field(min_length=1, max_length=MAX_TOPIC), Whole, Words]
Name = Annotated[str, Field(min_length=1, max_length=MAX_ID), Whole]
FilterText = Annotated[str, Field(max_length=MAX_FILTER), Whole]
CursorText = Annotated[str, Field(max_length=MAX_CURSOR)]
Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
PageSize = Annotated[int, Field(ge=1, le=MAX_PAGE)]
Cell = str | int | float | None
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """Nothing converted, no unknown fields, no field that hides a method."""

    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())


class RecallRequest(Strict):
    """A topic, and which of its products."""

    topic: TopicText
    threshold: Threshold = THRESHOLD
    mode: Literal["exact", "cascade"] = "exact"
    limit: PageSize = PAGE
    cursor: CursorText | None = None
    filter: FilterText | None = None
    candidates: Annotated[int, Field(ge=1, le=MAX_CANDIDATES)] = CANDIDATES


class Side(Strict):
    """One side of a pair: a text, or a picture by one of three ways."""

    text: Text | None = None
    image: Annotated[str, Field(min_length=1), Whole] | None = None
    id: Name | None = None
    upload: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Side:
        if len(self.model_fields_set) != 1 or self.kind is None:
            raise ValueError("wanted exactly one of text, image, id, upload")
        return self

    @property
    def kind(self) -> str | None:
        """Which of the four it is."""
        return next((name for name in ("text", "image", "id", "upload") if getattr(self, name) is not None), None)

    @property
    def is_picture(self) -> bool:
        """Whether it is not a text."""
        return self.text is None


AnySide = Annotated[Side, BeforeValidator(_as_text, json_schema_input_type=str | Side)]


class RerankRequest(Strict):
    """A text with pictures, or a picture with texts."""

    model: Name | None = None
    query: AnySide
    documents: Annotated[list[AnySide], Field(min_length=1, max_length=MAX_DOCUMENTS)]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False
    threshold: Threshold | None = None


class TextAndPicture(Strict):
    """A pair."""

    text: Text
    image: Annotated[str, Field(min_length=1), Whole] | None = None
    id: Name | None = None
    upload: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> TextAndPicture:
        if sum(one is not None for one in (self.image, self.id, self.upload)) != 1:
            raise ValueError("wanted text, and exactly one of image, id, upload")
        return self

    @property
    def picture(self) -> Side:
        """Its picture."""
        (name,) = (name for name in ("image", "id", "upload") if getattr(self, name) is not None)
        return Side(**{name: getattr(self, name)})


class ScoreRequest(Strict):
    """Pairs."""

    model: Name | None = None
    pairs: Annotated[list[TextAndPicture], Field(min_length=1, max_length=MAX_DOCUMENTS)]


class ReviewRequest(Strict):
    """verdict: null takes back what was said."""

    product: Name
    verdict: Literal["keep", "drop"] | None


class TopicRequest(Strict):
    """What a topic asks; what it leaves out is as POST /recall has it."""

    title: TopicText
    sub_title: Annotated[str, Field(max_length=MAX_TOPIC), Whole] = ""
    threshold: Threshold | None = None
    filter: FilterText | None = None
    limit: PageSize | None = None


class Item(Strict):
    """A product that was found."""

    id: str
    title: str
    score: Finite
    image_url: str
    cells: dict[str, Cell]


class RecallAnswer(Strict):
    """See the top of this file."""

    topic: str
    threshold: Finite
    mode: Literal["exact", "cascade"]
    total_passed: int
    total_scored: int
    total_recalled: int
    items: list[Item]
    measured_recall: dict[str, Any] | None
    next_cursor: str | None
    index_version: int
    seconds: Finite
    truncated: bool


class EarlyLine(Strict):
    """Of an answer as it comes: what is new since the line before."""

    scored: int
    total: int
    items: list[Item]


class AnswerLine(Strict):
    """The last line."""

    answer: RecallAnswer


class ProductCard(Strict):
    """A product of the index."""

    id: str
    title: str
    image_url: str
    cells: dict[str, Cell]


class ProductAnswer(ProductCard):
    """And of which version."""

    index_version: int


class ProductsAnswer(Strict):
    """A page of products in the order in which they came."""

    items: list[ProductCard]
    total: int
    next_cursor: str | None
    index_version: int


class Usage(Strict):
    """What was read: word pieces, with the regions of pictures, and pairs that were scored."""

    prompt_tokens: int
    total_tokens: int
    pairs: int


class RerankResult(BaseModel):
    """index: the document's place in the request."""

    index: int
    relevance_score: Finite
    document: dict[str, Any] | None = None


class RerankAnswer(Strict):
    """See the top of this file."""

    id: str
    model: str
    results: list[RerankResult]
    usage: Usage


class PairScore(Strict):
    """index: the pair's place in the request."""

    index: int
    score: Finite


class ScoreAnswer(Strict):
    """See the top of this file."""

    id: str
    model: str
    data: list[PairScore]
    usage: Usage


class ExplainedWord(Strict):
    """weight: what the score's log odds lose without it."""

    word: str
    span: list[int]
    weight: Finite


class ExplainedRegion(Strict):
    """box: in pixels of a picture of image_size."""

    label: str
    box: list[Finite]
    weight: Finite


class ExplainAnswer(Strict):
    """weights: attention of words to regions."""

    id: str
    text: str
    score: Finite
    image_size: list[int]
    words: list[ExplainedWord]
    regions: list[ExplainedRegion]
    weights: list[list[Finite]]
    index_version: int


class Bundled(Strict):
    """A product of a topic."""

    id: str
    title: str
    image_url: str
    score: Finite | None
    kept: bool | None


class TopicFacts(Strict):
    """What is said of a topic everywhere."""

    name: str
    title: str
    sub_title: str
    threshold: Finite | None
    filter: str | None
    limit: int | None
    total_recalled: int
    index_version: int
    at: str
    kept: int
    cover: Bundled | None


class TopicCard(TopicFacts):
    """products, dropped: how many."""

    products: int
    dropped: int


class TopicAnswer(TopicFacts):
    """products: best first.  dropped: what nobody is to see but who reviews."""

    products: list[Bundled]
    dropped: list[Bundled]


class TopicsAnswer(Strict):
    """A page of cards."""

    items: list[TopicCard]
    total: int
    next_cursor: str | None


class ErrorFacts(Strict):
    """param: the field that is wrong, as "documents.3.image"."""

    type: str
    message: str
    param: str | None
    code: str
    request_id: str


class ErrorLine(Strict):
    """The last line, where it ends badly: what the status and `Retry-After` would have been."""

    error: ErrorFacts
    status: int
    retry_after: int | None


class ErrorAnswer(Strict):
    """What everything that goes wrong looks like."""

    error: ErrorFacts
