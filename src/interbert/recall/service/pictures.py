"""The pictures of a request: by product, by data URI, by upload, by address. Sides of pairs in, their regions out.

What is sent is looked at before it is decoded: its format is one of five, its size within the limit. Nothing is taken
for a path. Regions of products are there already; those of other pictures are made by the model's extractor.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

from fastapi import Request
from PIL import Image

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.recall.search import Searcher
from interbert.recall.service.batching import Work
from interbert.recall.service.errors import ServiceError
from interbert.recall.service.fetching import Fetcher
from interbert.recall.service.models import Side
from interbert.recall.service.service import Service
from interbert.scoring.scorer import Scorer
from interbert.vision.images import ImageError

log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
DATA = re.compile(r"data:image/[a-z0-9.+-]{1,30}((?:;[a-z0-9=._-]{1,60}){0,4});base64,", re.IGNORECASE)
READERS, FETCHERS = 2, 8  # at once


@dataclass(frozen=True)
class Sent:
    """A picture that came with a request. param: the field it came in."""

    param: str
    content: bytes


class Pictures:
    """Of one service."""

    def __init__(self, service: Service, fetcher: Fetcher | None = None) -> None:
        self.service, settings = service, service.settings
        made = Fetcher(settings.image_hosts, settings.max_body_bytes) if settings.image_hosts else None
        self._fetcher = fetcher or made
        self._readers = ThreadPoolExecutor(READERS, "interbert-pictures")
        self._fetchers = ThreadPoolExecutor(FETCHERS, "interbert-fetch")

    async def regions(
        self, request: Request, searcher: Searcher, sides: Mapping[str, Side], uploads: Mapping[str, bytes]
    ) -> dict[str, Regions]:
        """The regions of each side that is a picture, by the field it came in.

        uploads: files by their names. Raises ServiceError for a picture that is not there, or is none.
        """
        self._check_count(sides)
        named = {param: side.id for param, side in sides.items() if side.id is not None}
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._readers, _of_products, searcher, named)
        sent = [await self._read(param, side, uploads) for param, side in sides.items() if side.id is None]
        if sent:
            work = Work("extract", object(), _extracted, (searcher.scorer, sent, self.service.batcher.check))
            found |= await self.service.done(request, work)
        return found

    async def _read(self, param: str, side: Side, uploads: Mapping[str, bytes]) -> Sent:
        loop, most = asyncio.get_running_loop(), self.service.settings.max_pixels
        if side.upload is not None:
            content = uploads.get(side.upload)
            if content is None:
                raise ServiceError(422, f"{param}: no file of that name was uploaded with the request", param=param)
        elif side.image is not None and side.image[:5].lower() == "data:":
            content = await loop.run_in_executor(self._readers, decoded, side.image, param)
        elif side.image is not None and self._fetcher is not None and "://" in side.image[:10]:
            content = await loop.run_in_executor(self._fetchers, self._fetcher.fetch, side.image, param)
        else:
            more = "" if self._fetcher else "; this service fetches no pictures by address"
            message = f"{param}: wanted a picture as data:image/…;base64,… or the id of a product{more}"
            raise ServiceError(422, message, param=param)
        await loop.run_in_executor(self._readers, check_picture, content, param, most)
        return Sent(param, content)

    def _check_count(self, sides: Mapping[str, Side]) -> None:
        most, count = self.service.settings.max_pictures, sum(side.id is None for side in sides.values())
        if count > most:
            raise ServiceError(422, f"got {count} pictures with the request; wanted at most {most}, or ids of products")


def decoded(uri: str, param: str) -> bytes:
    """The bytes of a data URI. Raises ServiceError 422 where it is none."""
    head = DATA.match(uri)
    if head is None:
        raise ServiceError(422, f"{param}: wanted data:image/…;base64,… with the picture's bytes", param=param)
    try:
        return base64.b64decode(uri[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise ServiceError(422, f"{param}: what stands after base64, is no base64", param=param) from None


def check_picture(content: bytes, param: str, most_pixels: int) -> None:
    """Raises ServiceError where a picture's head says that it is none, of another format, or too large."""
    too_large = (
        f"{param}: the picture has more pixels than {most_pixels:,}, the most that is read here; make it smaller"
    )
    try:
        with Image.open(BytesIO(content), formats=FORMATS) as image:
            pixels = image.width * image.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ServiceError(413, too_large, code="picture_too_large", param=param) from None
    except Exception:  # parsers of damaged heads raise nearly everything
        message = f"{param}: it is no picture that can be read; wanted {', '.join(FORMATS)}"
        raise ServiceError(422, message, code="no_picture", param=param) from None
    if pixels > most_pixels:
        raise ServiceError(413, too_large, code="picture_too_large", param=param)


def _of_products(searcher: Searcher, ids: Mapping[str, str]) -> dict[str, Regions]:
    """The regions of products, by the fields they were named in."""
    keys = {}
    for param, id in ids.items():
        product = searcher.store.find(searcher.version, id)
        if product is None:
            message = f"{param}: the index has no product of that id"
            raise ServiceError(422, message, code="no_such_product", param=param)
        keys[param] = product.picture
    numbers = searcher.store.known(set(keys.values()))
    distinct = sorted(set(numbers.values()))
    regions = dict(zip(distinct, searcher.store.regions(distinct), strict=True))
    return {param: regions[numbers[key]] for param, key in keys.items()}


def _extracted(asked: Sequence[tuple[Scorer, Sequence[Sent], Callable[[], None]]]) -> Sequence[dict[str, Regions]]:
    """One picture after the other, so that one at a time is decoded."""
    return [{one.param: _regions(scorer, one, check) for one in sent} for scorer, sent, check in asked]


def _regions(scorer: Scorer, sent: Sent, check: Callable[[], None]) -> Regions:
    check()
    try:
        (found,) = scorer.regions([sent.content])
    except ImageError as error:
        raise ServiceError(422, f"{sent.param}: {error}", code="no_picture", param=sent.param) from error
    except InterbertError as error:
        log.warning("pictures that are sent cannot be read: %s", error)
        message = f"{sent.param}: this service has no extractor for pictures that are sent; give ids of products"
        raise ServiceError(422, message, code="no_extractor", param=sent.param) from error
    return found
