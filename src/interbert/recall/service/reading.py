"""Texts as the model reads them, and products by their ids."""

from __future__ import annotations

from urllib.parse import quote

from interbert.batch import Regions
from interbert.errors import UsageError
from interbert.recall.filters import Filter, parse
from interbert.recall.search import Searcher
from interbert.recall.service.errors import ServiceError
from interbert.recall.service.models import ProductCard
from interbert.recall.store import Product
from interbert.text.encoding import readable
from interbert.text.tokenizer import Tokenizer

SLASH = "\0"  # stands for %2F in an address's path, see `door`; no id has it


def as_read(tokenizer: Tokenizer, text: str, limit: int) -> str:
    """The part of a text that is read by a model which takes `limit` tokens: all of it, mostly."""
    ids, places = tokenizer.encode_places(text, limit)
    whole, _ = tokenizer.encode_places(text, limit + 1)
    return text if len(whole) == len(ids) else readable(text)[: places[-2][1]]


def topic_of(searcher: Searcher, text: str) -> str:
    """A topic as the model reads it. Raises ServiceError 422 where it says nothing."""
    try:
        searcher.read(text)
    except UsageError as error:
        raise ServiceError(422, str(error), param="topic") from error
    return as_read(searcher.scorer.tokenizer, text, searcher.scorer.model.config.max_text_tokens)


def filter_of(searcher: Searcher, where: str | None) -> Filter | None:
    """A parsed filter. Raises ServiceError 422 where it does not parse, with the nearest column."""
    if not where or not where.strip():
        return None
    try:
        return parse(where, searcher.store.columns())
    except UsageError as error:
        raise ServiceError(422, str(error), param="filter") from error


def id_of(name: str) -> str:
    """An id out of an address's path."""
    return name.replace(SLASH, "/")


def product_of(searcher: Searcher, id: str, param: str = "id") -> Product:
    """The product. Raises ServiceError 404 where there is none of that id."""
    found = searcher.store.find(searcher.version, id)
    if found is None:
        raise ServiceError(404, f"the index has no product of that {param}", code="no_such_product", param=param)
    return found


def regions_of(searcher: Searcher, product: Product) -> Regions:
    """The regions of what a product shows."""
    (number,) = searcher.store.known([product.picture]).values()
    (regions,) = searcher.store.regions([number])
    return regions


def image_url(id: str) -> str:
    """Of a product's picture, from the service's root on."""
    return f"/products/{quote(id, safe='')}/image"


def card_of(product: Product) -> ProductCard:
    """What is shown of a product."""
    return ProductCard(id=product.id, title=product.title, image_url=image_url(product.id), cells=dict(product.cells))
