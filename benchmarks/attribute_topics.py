"""Topics made of what a catalogue knows of its products, and how well they are found by pictures, and by titles (BM25).

In: a `Searcher` of an index that has columns of attributes. A topic is a combination of their values ("black casual
shoes"), right products are those that have them. The model sees pictures and never a title; BM25 (SQLite's FTS5) sees
titles and never a picture. Out: precision, recall and average precision with 95 % intervals by resampling topics.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interbert.metrics import bootstrap_interval
from interbert.recall.filters import parse
from interbert.recall.search import Question, Searcher
from interbert.recall.store import Product

COUNTS = ("right", "found", "all")


@dataclass(frozen=True)
class AttributeTopic:
    """right: ids of the products that have the values."""

    text: str
    right: frozenset[str]


def attribute_topics(
    products: Sequence[Product], columns: Sequence[str], least: int, most: int
) -> list[AttributeTopic]:
    """The combinations of values that from `least` products to `most` of them have, in alphabetical order."""
    having: dict[str, set[str]] = {}
    for product in products:
        values = [product.cells.get(column) for column in columns]
        if all(values):
            having.setdefault(" ".join(str(value).lower() for value in values), set()).add(product.id)
    return [AttributeTopic(text, frozenset(ids)) for text, ids in sorted(having.items()) if least <= len(ids) <= most]


class Titles:
    """BM25 over titles, English words cut to their stems."""

    def __init__(self, products: Sequence[Product]) -> None:
        self._ids = [product.id for product in products]
        self._index = sqlite3.connect(":memory:")
        self._index.execute("CREATE VIRTUAL TABLE titles USING fts5(title, tokenize = 'porter unicode61')")
        self._index.executemany("INSERT INTO titles (rowid, title) VALUES (?, ?)", enumerate(p.title for p in products))

    def ranked(self, topic: str, joined: str) -> list[str]:
        """Ids, best first, of the titles that have any (joined by "OR") or every ("AND") word of a topic."""
        words = [f'"{word}"' for word in re.findall(r"\w+", topic)]
        asked = f" {joined} ".join(words)
        rows = self._index.execute(
            "SELECT rowid FROM titles WHERE titles MATCH ? ORDER BY bm25(titles), rowid", (asked,)
        )
        return [self._ids[row] for (row,) in rows]


def found_by_attributes(searcher: Searcher, columns: Sequence[str], cascade: Question, least: int) -> dict[str, Any]:
    """Every topic asked in each way. cascade: its threshold and filter are those of all ways; a filter may leave the
    products that were held out from training.  least: products that a topic has at least.

    "exact" and "cascade": above the threshold.  "titles, every word": what a search box gives.  "titles, as many as
    exact": the best so many by any word.  Average precision is of the whole order.
    """
    where = None if cascade.where is None else parse(cascade.where, searcher.store.columns())
    searched = searcher.store.select(searcher.version, where)
    products = searcher.store.products(searched.rows.tolist())
    topics = attribute_topics(products, columns, least, len(products) // 2)
    if not topics:
        return {"topics": 0, "products": len(products), "columns": list(columns)}
    titles = Titles(products)
    texts = [topic.text for topic in topics]
    exact = [
        [(hit.id, hit.score) for hit in answer.hits]
        for answer in searcher.recall_all(texts, replace(cascade, threshold=0, mode="exact"), progress=True)
    ]
    orders: dict[str, list[list[str]]] = {name: [] for name in ("exact", "cascade", "titles")}
    taken: dict[str, list[list[str]]] = {
        name: [] for name in ("exact", "cascade", "titles, every word", "titles, as many as exact")
    }
    for topic, scored in zip(topics, exact, strict=True):
        answer = searcher.recall(topic.text, replace(cascade, threshold=0))
        orders["exact"].append([id for id, _ in scored])
        orders["cascade"].append([hit.id for hit in answer.hits])
        orders["titles"].append(titles.ranked(topic.text, "OR"))
        taken["exact"].append([id for id, score in scored if score > cascade.threshold])
        taken["cascade"].append([hit.id for hit in answer.hits if hit.score > cascade.threshold])
        taken["titles, every word"].append(titles.ranked(topic.text, "AND"))
        taken["titles, as many as exact"].append(orders["titles"][-1][: len(taken["exact"][-1])])
    right = [topic.right for topic in topics]
    return {
        "topics": len(topics),
        "products": len(products),
        "columns": list(columns),
        "threshold": cascade.threshold,
        "candidates": cascade.candidates,
        "by_chance": round(float(np.mean([len(of) for of in right])) / len(products), 4),
        "taken": {name: at_threshold(of, right) for name, of in taken.items()},
        "average_precision": {name: figure(mean, average_precisions(of, right)) for name, of in orders.items()},
        "of_the_best_10_right": {name: figure(mean, of_the_best(10, lists, right)) for name, lists in orders.items()},
    }


def at_threshold(taken: Sequence[Sequence[str]], right: Sequence[frozenset[str]]) -> dict[str, Any]:
    """Precision and recall over all pairs of a topic and a product, and how many are taken for a topic."""
    rows = np.array([[len(of & set(ids)), len(ids), len(of)] for ids, of in zip(taken, right, strict=True)], np.float64)
    return {
        "precision": figure(lambda drawn: share(drawn, "found"), rows),
        "recall": figure(lambda drawn: share(drawn, "all"), rows),
        "taken_for_a_topic": round(float(rows[:, 1].mean()), 1),
    }


def share(rows: NDArray[np.float64], of: str) -> float:
    """What is right, of what was found or of all that is right."""
    whole = rows[:, COUNTS.index(of)].sum()
    return float(rows[:, 0].sum() / whole) if whole else 0.0


def average_precisions(orders: Sequence[Sequence[str]], right: Sequence[frozenset[str]]) -> NDArray[np.float64]:
    """float64 [topics]; what is not in the order is never found."""
    found = []
    for ids, of in zip(orders, right, strict=True):
        hits = np.array([id in of for id in ids], np.float64)
        precisions = hits.cumsum() / np.arange(1, len(hits) + 1) if len(hits) else hits
        found.append(float((precisions * hits).sum() / len(of)))
    return np.array(found)


def of_the_best(count: int, orders: Sequence[Sequence[str]], right: Sequence[frozenset[str]]) -> NDArray[np.float64]:
    """float64 [topics]: the share of the best so many that is right, of as many as can be."""
    return np.array(
        [len(of & set(ids[:count])) / min(count, len(of)) for ids, of in zip(orders, right, strict=True)], np.float64
    )


def mean(values: NDArray[np.float64]) -> float:
    """Of all."""
    return float(values.mean())


def figure(statistic: Any, rows: NDArray[np.float64]) -> list[float]:
    """The figure, and the ends of its interval."""
    low, high = bootstrap_interval(rows, statistic)
    return [round(one, 4) for one in (statistic(rows), low, high)]
