"""Scores of pairs: POST /rerank, /score, and the same with uploaded pictures."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import numpy as np
from fastapi import APIRouter, Depends, File, Form, Request, UploadFile
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from interbert.batch import Regions
from interbert.recall.service.batching import Work
from interbert.recall.service.errors import ServiceError, of_validation
from interbert.recall.service.models import (
    PairScore,
    RerankAnswer,
    RerankRequest,
    RerankResult,
    ScoreAnswer,
    ScoreRequest,
    Side,
    Usage,
)
from interbert.recall.service.pictures import Pictures
from interbert.scoring.scorer import Scorer

BATCH = 32  # pairs that the model reads together
Body = TypeVar("Body", bound=BaseModel)
Uploads = Annotated[list[UploadFile], File(max_length=64)]
InForm = Annotated[str, Form(alias="request")]
Margins = NDArray[np.float32]


async def _pictures(request: Request) -> Pictures:
    found: Pictures = request.app.state.pictures
    return found


Seen = Annotated[Pictures, Depends(_pictures)]


@dataclass(frozen=True)
class Asked:
    """pairs: (field of the text, field of the picture), of the request.  texts, seen: what stands in those fields.

    uploads: files by their names.
    """

    pairs: Sequence[tuple[str, str]]
    texts: Mapping[str, str]
    seen: Mapping[str, Side]
    uploads: Mapping[str, bytes]


@dataclass(frozen=True)
class Pairs:
    """Token ids and regions of pairs, in order."""

    scorer: Scorer
    words: Sequence[Sequence[int]]
    regions: Sequence[Regions]

    def usage(self) -> Usage:
        """How much is read."""
        words = sum(map(len, self.words))
        return Usage(prompt_tokens=words, total_tokens=words + sum(map(len, self.regions)), pairs=len(self.words))


router = APIRouter()


@router.post("/rerank", response_model_exclude_unset=True)
@router.post("/v1/rerank", response_model_exclude_unset=True, include_in_schema=False)
@router.post("/v2/rerank", response_model_exclude_unset=True, include_in_schema=False)
async def rerank(request: Request, body: RerankRequest, pictures: Seen) -> RerankAnswer:
    """Pictures by how well they fit a text, or texts by how well they fit a picture; best first."""
    return await _reranked(request, body, pictures, {})


@router.post("/rerank/upload", response_model_exclude_unset=True)
async def rerank_upload(request: Request, files: Uploads, body: InForm, pictures: Seen) -> RerankAnswer:
    """The same with files: {"upload": NAME} stands for the file of that name."""
    return await _reranked(request, _of_json(RerankRequest, body), pictures, await _contents(files))


@router.post("/score")
async def score(request: Request, body: ScoreRequest, pictures: Seen) -> ScoreAnswer:
    """How well each text and its picture belong together."""
    return await _scored(request, body, pictures, {})


@router.post("/score/upload")
async def score_upload(request: Request, files: Uploads, body: InForm, pictures: Seen) -> ScoreAnswer:
    """The same with files: "upload": NAME stands for the file of that name."""
    return await _scored(request, _of_json(ScoreRequest, body), pictures, await _contents(files))


async def _reranked(
    request: Request, body: RerankRequest, pictures: Pictures, uploads: Mapping[str, bytes]
) -> RerankAnswer:
    documents = {f"documents.{at}": side for at, side in enumerate(body.documents)}
    _check_sides(body.query, documents)
    sides = {"query": body.query, **documents}
    texts = {param: side.text for param, side in sides.items() if side.text is not None}
    seen = {param: side for param, side in sides.items() if side.is_picture}
    by_text = body.query.text is not None
    pairs = [("query", param) if by_text else (param, "query") for param in documents]
    margins, scores, usage = await _computed(request, pictures, Asked(pairs, texts, seen, uploads))
    best = np.argsort(-margins, kind="stable")  # finer than scores, which tie close to 1
    if body.threshold is not None:
        best = best[scores[best] > np.float32(body.threshold)]
    results = [_result(at, scores, body) for at in best[: body.top_n].tolist()]
    return RerankAnswer(id=uuid.uuid4().hex, model=pictures.service.index.model_name, results=results, usage=usage)


async def _scored(
    request: Request, body: ScoreRequest, pictures: Pictures, uploads: Mapping[str, bytes]
) -> ScoreAnswer:
    params = [f"pairs.{at}" for at in range(len(body.pairs))]
    texts = {param: pair.text for param, pair in zip(params, body.pairs, strict=True)}
    seen = {param: pair.picture for param, pair in zip(params, body.pairs, strict=True)}
    asked = Asked([(param, param) for param in params], texts, seen, uploads)
    _, scores, usage = await _computed(request, pictures, asked)
    data = [PairScore(index=at, score=score) for at, score in enumerate(scores.tolist())]
    return ScoreAnswer(id=uuid.uuid4().hex, model=pictures.service.index.model_name, data=data, usage=usage)


async def _computed(request: Request, pictures: Pictures, asked: Asked) -> tuple[Margins, Margins, Usage]:
    """Margins, scores and what was read."""
    service = pictures.service
    searcher = await asyncio.to_thread(service.index.now)
    regions = await pictures.regions(request, searcher, asked.seen, asked.uploads)
    scorer = searcher.scorer
    limit = scorer.model.config.max_text_tokens
    words = {param: scorer.tokenizer.encode(text, limit) for param, text in asked.texts.items()}
    payload = Pairs(scorer, [words[one] for one, _ in asked.pairs], [regions[other] for _, other in asked.pairs])
    margins: Margins = await service.done(request, Work("pairs", "pairs", _margins, payload, len(asked.pairs)))
    return margins, scorer.probabilities(margins), payload.usage()


def _margins(asked: Sequence[Pairs]) -> Sequence[Margins]:
    """Of the pairs of several callers, read together."""
    words = [one for pairs in asked for one in pairs.words]
    regions = [one for pairs in asked for one in pairs.regions]
    margins = asked[0].scorer.margins_of(words, regions, BATCH, False)
    ends = np.cumsum([len(pairs.words) for pairs in asked])
    return np.split(margins, ends[:-1])


def _check_sides(query: Side, documents: Mapping[str, Side]) -> None:
    wanted = "texts" if query.is_picture else "pictures"
    for param, side in documents.items():
        if side.is_picture == query.is_picture:
            message = f"{param}: the query is a {'picture' if query.is_picture else 'text'}, so wanted {wanted}"
            raise ServiceError(422, message, param=param)


def _result(at: int, scores: Margins, body: RerankRequest) -> RerankResult:
    score = float(scores[at])
    if not body.return_documents:
        return RerankResult(index=at, relevance_score=score)
    document: dict[str, Any] = body.documents[at].model_dump(exclude_none=True)
    return RerankResult(index=at, relevance_score=score, document=document)


def _of_json(model: type[Body], text: str) -> Body:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise of_validation(error.errors()) from None


async def _contents(files: Sequence[UploadFile]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for file in files:
        name = file.filename or ""
        if name in found:
            raise ServiceError(422, "files: two have one name; give each its own", param="files")
        found[name] = await file.read()
    return found
