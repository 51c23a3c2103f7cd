"""The task of products: negatives of one category, pools, figures of one or several relevant pictures."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finetuning_helpers import DRAWN, QUALITIES, THINGS, drawn_regions, given_for, tiny_run
from pretraining_helpers import random_tokenizer

from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.corpus import Corpus
from interbert.corpus.readers import Caption
from interbert.draws import generator_for
from interbert.errors import InterbertError, UsageError
from interbert.files import write_json
from interbert.metrics import average_precision, precision_at
from interbert.model.interbert import InterBert
from interbert.pretraining.batches import Belonging
from interbert.tasks.evaluation import evaluate_task
from interbert.tasks.products import PooledPairs, Products, ProductsOptions, of_each, pools_of
from interbert.tasks.ranking import Pairs, score_pairs
from interbert.tasks.task import Asked, ChoiceBatch, TaskModel
from interbert.vision.store import RegionStore


def shop(folder: Path, categories: bool = True) -> Corpus:
    """12 pictures of each thing, its category: 2 of each quality in training, one in test; titles "red dog"."""
    random, captions = np.random.default_rng(0), []
    with RegionStore.writer(folder / "regions", DRAWN) as writer:
        for quality, thing, number in itertools.product(range(4), range(4), range(3)):
            id = f"{QUALITIES[quality]} {THINGS[thing]} {number}"
            writer.append(id, drawn_regions(random, quality, thing, int(random.integers(3, 6))))
            title = (
                f"{QUALITIES[quality]} {THINGS[thing]}" if number != 1 else f"the {THINGS[thing]} {QUALITIES[quality]}"
            )
            split, category = "train" if number < 2 else "test", THINGS[thing] if categories else ""
            captions.append(Caption(id, title, split, id, category))
    store = RegionStore(folder / "regions")
    build_corpus(captions, store, random_tokenizer(), folder / "corpus", BuildOptions(min_regions=1))
    return Corpus(folder / "corpus")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "run", corpus)


def task_of(corpus: Corpus, **options: Any) -> Products:
    task = Products.open(corpus.folder, ProductsOptions(**options), given_for(corpus))
    assert isinstance(task, Products)
    return task


def things_of(task: Products, examples: list[int]) -> list[list[str]]:
    """The thing on each picture of every choice."""
    batch = task.make(np.array(examples), [generator_for(0, at) for at in examples], 0)
    assert isinstance(batch, ChoiceBatch)
    things = [id.split(":")[1].split()[1] for id in batch.ids]
    return [things[at : at + batch.choices] for at in range(0, len(things), batch.choices)]


def test_negatives_may_be_of_the_category_of_the_title(corpus: Corpus) -> None:
    assert len({len(set(one)) for one in things_of(task_of(corpus, negatives_from="category"), list(range(32)))}) == 1
    assert max(len(set(one)) for one in things_of(task_of(corpus), list(range(32)))) > 1


def test_a_category_that_is_too_small_gives_what_it_has_and_the_rest_is_of_all(corpus: Corpus) -> None:
    (choice,) = things_of(task_of(corpus, negatives_from="category", negatives=10), [5])
    assert choice.count(choice[0]) == 8  # its own and the seven others of its category, in training
    assert len(choice) == 11


def test_a_corpus_without_categories_says_how_to_get_them(tmp_path: Path) -> None:
    corpus = shop(tmp_path, categories=False)
    with pytest.raises(InterbertError, match="has no categories, which negatives_from or pool_from ask for; build it"):
        task_of(corpus, negatives_from="category")


def test_fewer_examples_are_among_more(corpus: Corpus) -> None:
    few, more = (set(task_of(corpus, share=share).texts.tolist()) for share in (0.25, 0.5))
    assert (len(few), len(more)) == (8, 16)
    assert few < more
    assert set(task_of(corpus, share=0.25).negatives.images.tolist()) == {corpus.image_of(text) for text in few}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pool": 1}, "pool: got 1, wanted at least 2"),
        ({"share": 0.0}, "share: got 0.0, wanted more than 0"),
        ({"negatives_from": "shop"}, "negatives_from: got 'shop', wanted all or category"),
        ({"pool_from": "category"}, "give pool too, as in pool=30"),
    ],
)
def test_options_that_make_no_sense_are_refused(corpus: Corpus, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        task_of(corpus, **options)


def test_pools_hold_every_picture_once_and_are_of_about_the_size() -> None:
    pools = pools_of(23, 5, generator_for(0))
    assert sorted(np.concatenate(pools).tolist()) == list(range(23))
    assert {len(pool) for pool in pools} == {5, 6}
    assert [pool.tolist() for pool in pools_of(4, None, generator_for(0))] == [[0, 1, 2, 3]]


def test_a_pool_of_a_category_has_nothing_else_and_small_categories_share_pools() -> None:
    categories = np.array([0] * 10 + [1] * 9 + [2] * 2 + [3] * 2)
    pools = [set(categories[pool].tolist()) for pool in pools_of(23, 4, generator_for(0), categories)]
    assert pools == [{0}, {0}, {1}, {1}, {2, 3}]


def test_pooled_scores_are_those_of_all_pairs(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    texts = corpus.split("test")
    images = np.unique(corpus.images_of[texts]).astype(np.int64)
    whole = score_pairs(Pairs(run, corpus, texts, images), tmp_path / "whole", processes=1).matrix()
    pools = tuple(pools_of(len(images), 5, generator_for(1)))
    pairs = PooledPairs(run, corpus, texts, images, part_pairs=10, pools=pools)
    seen = np.zeros(len(texts), int)
    for rows, columns, found in score_pairs(pairs, tmp_path / "pooled", processes=1):
        np.testing.assert_allclose(found, whole[np.ix_(rows, columns)], atol=1e-5)
        assert all(np.isin(np.searchsorted(images, corpus.images_of[texts[rows]]), columns))
        seen[rows] += 1
    assert seen.tolist() == [1] * len(texts)


def test_an_evaluation_is_that_of_the_scores_of_every_text(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    task, asked = task_of(corpus), Asked(run, parts=tmp_path / "a", processes=1)
    found = task.evaluate(TaskModel(InterBert.from_pretrained(run)), asked)
    texts = corpus.split("test")
    images = np.unique(corpus.images_of[texts]).astype(np.int64)
    matrix = score_pairs(Pairs(run, corpus, texts, images), tmp_path / "b", processes=1).matrix()
    relevant = Belonging(corpus).matrix(texts, images)
    metrics = found["metrics"]
    assert metrics["precision_at_5"]["value"] == pytest.approx(precision_at(matrix, relevant, 5).mean())
    mean = np.mean([average_precision(row, right) for row, right in zip(matrix, relevant, strict=True)])
    assert metrics["average_precision"]["value"] == pytest.approx(mean)
    assert metrics["precision_at_5"]["chance"] == pytest.approx(1 / 16)
    low, high = metrics["recall_at_5"]["interval"]
    assert low <= metrics["recall_at_5"]["value"] <= high
    assert (found["captions"], found["pictures"], found["pools"], found["relevant_a_text"]) == (16, 16, 1, 1.0)


def test_pools_of_a_category_are_harder_counted_and_gone_on_with(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    task, asked = task_of(corpus, pool=4, pool_from="category"), Asked(run, parts=tmp_path, processes=1)
    model = TaskModel(InterBert.from_pretrained(run))
    found = task.evaluate(model, asked)
    assert found["pools"] == 4
    assert found["metrics"]["recall_at_1"]["chance"] == pytest.approx(0.25)
    assert found["metrics"]["recall_at_5"]["value"] == 1.0
    assert task.evaluate(model, asked) == found


def test_another_run_ranks_the_pools_of_ours(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "fine")
    options = {"pool": 4, "pool_from": "category"}
    write_json(tmp_path / "fine" / "task.json", {"task": "products", "options": options, "min_regions": 1})
    found = evaluate_task("products", corpus.folder, Asked(tmp_path / "fine", processes=1), against=run)
    assert {figure["gain"]["value"] for figure in found["metrics"].values()} == {0.0}  # the same weights


def test_several_pictures_of_one_title_are_all_relevant() -> None:
    scores, relevant = np.array([[5.0, 4, 3, 2, 1, 0]]), np.array([[True, False, True, False, False, True]])
    found = {name: float(values[0]) for name, values in of_each(scores, relevant).items()}
    assert found["precision_at_5"] == 2 / 5
    assert found["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)
    assert (found["recall_at_1"], found["recall_at_10"]) == (1.0, 1.0)


def test_validation_gives_the_metric_that_chooses(corpus: Corpus, tmp_path: Path) -> None:
    captions = [
        Caption(corpus.image_id(at), "red dog" if at % 2 else "old road", "validation", str(at)) for at in range(6)
    ]
    options = BuildOptions(min_regions=1)
    build_corpus(captions, corpus.store, random_tokenizer(), tmp_path / "corpus", options)
    task = task_of(Corpus(tmp_path / "corpus"))
    model = TaskModel(InterBert.from_pretrained(tiny_run(tmp_path / "run", task.corpus)))
    assert 0 < task.validate(model)[task.metric] <= 1
