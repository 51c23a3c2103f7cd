"""How fast is a topic recalled: exactly against padded scoring, by cascade against exactly, and how fast does it grow?

    python benchmarks/recall.py [--preset small --products 3000 --scored 256 --rounds 3 --threads 2] [--many 1000000]
    python benchmarks/recall.py --index INDEX --topics FILE
    python benchmarks/recall.py --index INDEX --attributes colour,article_type --where "split = 'test'"

Without --index: random weights and drawn pictures of 10 to 36 regions, 736 numbers each, so that times mean something
and recalls nothing. With it: that index and its model, where recalls mean something too.

`exact`: pairs/s of one topic with --scored products through the whole search (rows, regions from disk, scores), beside
the same model as sentence-transformers' CrossEncoder runs one: pairs sorted by length, 32 at a time, each batch
padded to its longest, all states computed; by torch's float32, which is what that library takes, and by ours, which
leaves the work that is not done. Regions are read inside every clock.
`cascade`: --products pictures, 200 candidates against all of them; time ratio and the share of the exact best 20 that
it finds. `many`: so many drawn vectors, the cascade's time, and its ratio to scoring them all at the pairs/s of
`cascade`'s exact side (reckoned: nobody waits for it). Of those vectors recall says nothing: the scan misses none.
`growth`: products/s of inserting, replacing and opening. `attributes`: topics made of the values of these columns,
found by pictures (exactly, and by cascade) and beside it by BM25 over titles, which the model never sees; see
attribute_topics.py. Rounds are interleaved, ratios are medians of the rounds' ratios; with one thread, by its processor
time. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attribute_topics import found_by_attributes
from drawn_regions import drawn_regions
from numpy.typing import NDArray
from retrieval_ranking import padding_kept

from interbert.batch import make_batch
from interbert.config import preset
from interbert.model.alone import alone_query
from interbert.model.interbert import InterBert
from interbert.recall.measuring import measure
from interbert.recall.search import THRESHOLD, Question, Searcher, open_searcher
from interbert.recall.sqlite_store import SqliteStore
from interbert.recall.store import Facts, Product
from interbert.scoring.calibration import RAW
from interbert.scoring.page import read_topics
from interbert.scoring.scorer import Scorer
from interbert.text.tokenizer import SPECIAL, Tokenizer
from interbert.training.precision import fast_matmul
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore

FEATURES = 736
CANDIDATES, ANSWERS = 200, 20
EXTRACTOR = ExtractorInfo("drawn", FEATURES)
EVERYTHING = Question(threshold=0)
TOPIC = "two red shoes for summer days at the sea"
Timed = Callable[[], Any]
SORTED = "sorted and padded, 32 at a time"
SORTED_FAST = SORTED + ", float32 as ours"


def drawn_scorer(name: str) -> Scorer:
    """A model of random weights."""
    torch.manual_seed(0)
    words = [*SPECIAL, *TOPIC.split(), "a"]
    config = replace(preset(name), vocabulary_size=30522, region_feature_size=FEATURES, region_standardised=False)
    tokenizer = Tokenizer({word: at for at, word in enumerate(words)}, lower_case=True)
    return Scorer(InterBert(config), tokenizer, EXTRACTOR, device="cpu")


def drawn_index(folder: Path, scorer: Scorer, count: int) -> tuple[SqliteStore, dict[str, float]]:
    """`count` products with a picture each, and how fast they came."""
    facts = Facts("0" * 64, EXTRACTOR, "../run", scorer.model.config.fusion_size, "", "")
    store, random = SqliteStore.create(folder, facts), np.random.default_rng(0)
    keys = [f"{number:064x}" for number in range(count)]
    with RegionStore.writer(store.region_folder, EXTRACTOR) as writer:
        for key in keys:
            writer.append(key, drawn_regions(random, 10, 36, FEATURES))
    began = time.perf_counter()
    stored = RegionStore(store.region_folder)
    for start in range(0, count, 512):
        regions = [stored[key] for key in keys[start : start + 512]]
        vectors = scorer.encode_images(regions, show_progress_bar=False)
        store.add_pictures(keys[start : start + 512], [len(one) for one in regions], vectors)
    embedded = time.perf_counter()
    store.change(products(keys, 1), (), {"price": "number", "category": "text"}, "all")
    added = time.perf_counter()
    store.change(products(keys, 2), (), {"price": "number", "category": "text"}, "other prices")
    replaced = time.perf_counter()
    SqliteStore(folder).select(2, None)
    return store, {
        "vectors_per_second": round(count / (embedded - began), 1),
        "products_added_per_second": round(count / (added - embedded)),
        "products_replaced_per_second": round(count / (replaced - added)),
        "seconds_to_open_and_select_all": round(time.perf_counter() - replaced, 4),
    }


def products(keys: list[str], price: int) -> Iterator[Product]:
    """One a picture."""
    for at, key in enumerate(keys):
        cells = {"price": price * at, "category": ("shoes", "hats")[at % 2]}
        yield Product(f"p{at}", f"a product {at}", f"{at}.jpg", key, cells)


def cross_encoder(searcher: Searcher, pictures: NDArray[np.int64], batch_size: int, fast: bool) -> Timed:
    """The baseline: pairs sorted by length in batches padded to their longest, all states. fast: float32 as ours."""
    model, words = padding_kept(searcher.scorer.model), searcher.read(TOPIC).tolist()

    def score() -> NDArray[np.float32]:
        found = np.empty(len(pictures), np.float32)
        regions = searcher.store.regions(pictures.tolist())
        order = sorted(range(len(regions)), key=lambda at: -len(regions[at]))
        with torch.inference_mode(), fast_matmul() if fast else nullcontext():
            for start in range(0, len(order), batch_size):
                which = order[start : start + batch_size]
                batch = make_batch([""] * len(which), [words] * len(which), [regions[at] for at in which])
                output = model(batch)
                assert output.text_vector is not None
                assert output.image_vector is not None
                found[which] = model.match_probability(output.text_vector, output.image_vector)
        return found

    return score


def seconds_of(contestants: dict[str, Timed], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Seconds of every round, and the last results. Of one thread: its own, whatever else the machine does."""
    now = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    results = {}
    for _ in range(rounds):
        for name, act in contestants.items():
            began = now()
            results[name] = act()
            seconds[name].append(now() - began)
    return seconds, results


def ratio(seconds: dict[str, list[float]], slow: str, fast: str) -> list[float]:
    """Median, least and greatest of the rounds' ratios."""
    every = [a / b for a, b in zip(seconds[slow], seconds[fast], strict=True)]
    return [round(one, 2) for one in (statistics.median(every), min(every), max(every))]


def exact_against_padded(searcher: Searcher, count: int, rounds: int) -> dict[str, Any]:
    """Pairs a second of both, their ratios, and that the scores are the same."""
    selection = searcher.store.select(searcher.version, None)
    which = np.sort(np.random.default_rng(1).permutation(len(selection))[:count])
    pictures, first = np.unique(selection.pictures[which], return_index=True)
    regions = selection.regions[which][first]
    seconds, found = seconds_of(
        {
            "interbert": lambda: RAW.probabilities(searcher.exact_margins([TOPIC], pictures, regions)[0]),
            SORTED: cross_encoder(searcher, pictures, 32, fast=False),
            SORTED_FAST: cross_encoder(searcher, pictures, 32, fast=True),
        },
        rounds,
    )
    return {
        "pairs": len(pictures),
        "pairs_per_second": {name: round(len(pictures) / statistics.median(of), 1) for name, of in seconds.items()},
        "ratio_to_sorted_and_padded": ratio(seconds, SORTED, "interbert"),
        "ratio_by_the_same_float32": ratio(seconds, SORTED_FAST, "interbert"),
        "largest_difference": float(max(np.abs(one - found["interbert"]).max() for one in found.values())),
    }


def cascade_against_exact(searcher: Searcher, topics: list[str], rounds: int) -> dict[str, Any]:
    """Time ratio of a topic, and the share of the exact best 20 that is found, over all topics."""
    cascade = replace(EVERYTHING, mode="cascade", candidates=CANDIDATES, top_k=ANSWERS)
    seconds, found = seconds_of(
        {
            "exact": lambda: searcher.recall(topics[0], replace(EVERYTHING, top_k=ANSWERS)),
            "cascade": lambda: searcher.recall(topics[0], cascade),
        },
        rounds,
    )
    measured = measure(searcher, topics, most_pictures=1 << 40, answers=ANSWERS)
    return {
        "pictures": measured.all_pictures,
        "candidates": CANDIDATES,
        "seconds": {name: round(statistics.median(of), 3) for name, of in seconds.items()},
        "ratio": ratio(seconds, "exact", "cascade"),
        "found_of_the_exact_best": {k: round(measured.recall(k), 4) for k in (50, 100, CANDIDATES, 500, 1000)},
        "topics": len(topics),
        "passed": found["exact"].passed,
    }


def among_many(folder: Path, scorer: Scorer, count: int, pictures: int, exact: float) -> dict[str, Any]:
    """The cascade's time among so many drawn vectors; the pictures that get a full score are drawn ones too.

    exact: pictures a second that are scored exactly.
    """
    store, _ = drawn_index(folder, scorer, pictures)
    random = np.random.default_rng(2)
    query = alone_query(scorer.model, torch.from_numpy(scorer.encode_text([TOPIC])[0])).numpy()
    began = time.perf_counter()
    for start in range(pictures, count, 4096):
        keys = [f"{number:064x}" for number in range(start, min(start + 4096, count))]
        vectors = random.normal(size=(len(keys), len(query))).astype(np.float32) - 100 * query / (query @ query) ** 0.5
        store.add_pictures(keys, [20] * len(keys), vectors)  # far off: none has regions to be scored by
    store.change(products([f"{number:064x}" for number in range(count)], 1), (), {"price": "number"}, "many")
    built = time.perf_counter() - began
    searcher = Searcher(store, scorer)
    searcher.recall(TOPIC, replace(EVERYTHING, mode="cascade", candidates=CANDIDATES))  # checksums, page cache
    seconds, _ = seconds_of(
        {
            "scan": lambda: store.nearest(searcher.version, None, searcher.query(TOPIC), CANDIDATES),
            "cascade": lambda: searcher.recall(TOPIC, replace(EVERYTHING, mode="cascade", candidates=CANDIDATES)),
        },
        3,
    )
    return {
        "vectors": count,
        "drawn": True,
        "seconds_to_add": round(built, 1),
        "seconds": {name: round(statistics.median(of), 3) for name, of in seconds.items()},
        "reckoned_ratio_to_exact": round(count / exact / statistics.median(seconds["cascade"]), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--products", type=int, default=3000)
    parser.add_argument("--scored", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--many", type=int, default=0)
    parser.add_argument("--index", type=Path)
    parser.add_argument("--topics", type=Path)
    parser.add_argument("--attributes", help="columns, with commas between them")
    parser.add_argument("--where", help="of --attributes: a filter, as for products held out from training")
    parser.add_argument("--least", type=int, default=5, help="of --attributes: products that a topic has at least")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="of --attributes")
    parser.add_argument("--candidates", type=int, default=CANDIDATES, help="of --attributes, by cascade")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    result: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "threads": given.threads,
        "torch": torch.__version__,
        "model": given.preset if given.index is None else str(given.index),
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if given.index is None:
            scorer = drawn_scorer(given.preset)
            store, result["growth"] = drawn_index(folder / "index", scorer, given.products)
            searcher = Searcher(store, scorer)
        else:
            searcher = open_searcher(given.index)
        if given.attributes:
            columns = given.attributes.split(",")
            question = Question(given.threshold, "cascade", where=given.where, candidates=given.candidates)
            result["attributes"] = found_by_attributes(searcher, columns, question, given.least)
        searcher.memory = None  # what is remembered costs nothing
        topics = read_topics(given.topics) if given.topics else [TOPIC]
        result["exact"] = exact_against_padded(searcher, given.scored, given.rounds)
        result["cascade"] = cascade_against_exact(searcher, topics, given.rounds)
        if given.many:
            cascade = result["cascade"]
            rate = cascade["pictures"] / cascade["seconds"]["exact"]
            result["many"] = among_many(folder / "many", searcher.scorer, given.many, min(given.products, 1000), rate)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
