"""The task of retrieval: what a batch holds, its losses by hand, its rankings."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finetuning_helpers import drawn_corpus, given_for, tiny_config, tiny_run

from interbert.corpus.corpus import Corpus
from interbert.draws import generator_for
from interbert.errors import InterbertError, UsageError
from interbert.metrics import bootstrap_interval, ranks
from interbert.model.interbert import InterBert
from interbert.pretraining.batches import Belonging
from interbert.tasks.ranking import Pairs, of_ranks, score_pairs
from interbert.tasks.retrieval import Retrieval, RetrievalOptions, queries_of
from interbert.tasks.task import Asked, ChoiceBatch, Given, TaskModel
from interbert.training.parallel import Parallel
from interbert.vision.provenance import ExtractorInfo


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return drawn_corpus(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "run", corpus)


def task_of(corpus: Corpus, given: dict[str, Any] | None = None, **options: Any) -> Retrieval:
    return Retrieval.open(corpus.folder, RetrievalOptions(**options), given_for(corpus, **(given or {})))


def made(task: Retrieval, examples: list[int], epoch: int = 0) -> ChoiceBatch:
    batch = task.make(np.array(examples), [generator_for(0, at) for at in examples], epoch)
    assert isinstance(batch, ChoiceBatch)
    return batch


def pairs_of(batch: ChoiceBatch) -> list[tuple[int, str]]:
    """(text, picture's id) of every pair."""
    return [(int(id.split(":")[0]), id.split(":")[1]) for id in batch.ids]


def kinds(corpus: Corpus, batch: ChoiceBatch) -> list[tuple[str, str]]:
    """(quality and thing of the text, those of the picture) of every pair."""
    return [
        (" ".join(corpus.image_id(corpus.image_of(text)).split()[:2]), " ".join(id.split()[:2]))
        for text, id in pairs_of(batch)
    ]


def never() -> None:
    """Nobody wants to stop."""


def test_a_caption_chooses_among_its_picture_and_three_that_do_not_belong(corpus: Corpus) -> None:
    task = task_of(corpus)
    batch = made(task, [0, 50])
    assert (len(batch), batch.choices) == (8, 4)
    for group in (pairs_of(batch)[:4], pairs_of(batch)[4:]):
        assert len({text for text, _ in group}) == 1
        assert len({image for _, image in group}) == 4
        assert group[0][1] == corpus.image_id(corpus.image_of(group[0][0]))
    assert [one == other for one, other in kinds(corpus, batch)] == [True, False, False, False] * 2
    assert batch.is_match is not None
    assert batch.is_match.tolist() == [True, False, False, False] * 2


def test_more_or_fewer_negatives_may_be_wanted(corpus: Corpus) -> None:
    assert len(made(task_of(corpus, negatives=7), [3])) == 8


def test_the_releases_pairs_are_two_captions_and_one_picture_that_do_not_belong(
    corpus: Corpus, run: Path, tmp_path: Path
) -> None:
    task = task_of(corpus, {"out": tmp_path}, form="pairs")
    with torch.inference_mode():
        task.begin_epoch(TaskModel(InterBert.from_pretrained(run)), 0, Parallel(), never)
    batch = made(task, [10])
    (own, image), (other, same), (hard, same_too), (own_too, another) = pairs_of(batch)
    assert own == own_too
    assert image == same == same_too != another
    assert len({own, other, hard}) == 3
    assert [one == two for one, two in kinds(corpus, batch)] == [True, False, False, False]
    mined = task._hard(10, 0)
    assert corpus.image_of(hard) in mined


def test_hard_negatives_are_among_the_mined(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    task = task_of(corpus, {"out": tmp_path}, hard_negatives=2, hard_pool=3)
    with torch.inference_mode():
        task.begin_epoch(TaskModel(InterBert.from_pretrained(run)), 4, Parallel(), never)
    assert (tmp_path / "hard-negatives" / "epoch-004.npy").is_file()
    for example in (0, 33, 95):
        mined = {corpus.image_id(int(image)) for image in task._hard(example, 4)}
        _, first, second, _ = pairs_of(made(task, [example], epoch=4))
        assert {first[1], second[1]} < mined


def test_random_negatives_mine_nothing(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    task_of(corpus, {"out": tmp_path}).begin_epoch(TaskModel(InterBert.from_pretrained(run)), 0, Parallel(), never)
    assert not list(tmp_path.iterdir())


def test_pictures_with_too_few_regions_are_left_out_and_no_negatives(corpus: Corpus) -> None:
    task = task_of(corpus, {"min_regions": 5})
    left = [text for text in corpus.split("train") if corpus.region_count(corpus.image_of(int(text))) < 5]
    assert task.left_out == len(left) > 0
    assert len(task.lengths) == 96 - len(left)
    assert all(corpus.region_count(int(image)) >= 5 for image in task.negatives.images)


def test_the_best_regions_are_taken(corpus: Corpus) -> None:
    batch = made(task_of(corpus, {"max_regions": 3}), [5])
    assert batch.features is not None
    assert batch.features.shape[1] == 4
    wanted = corpus.regions(corpus.image_of(int(pairs_of(batch)[0][0]))).features[:3]
    np.testing.assert_array_equal(batch.features[0, 1:].numpy(), wanted)


def test_the_loss_is_that_of_a_softmax_over_the_margins(corpus: Corpus, run: Path) -> None:
    task, model = task_of(corpus), TaskModel(InterBert.from_pretrained(run))
    batch = made(task, [0, 7, 9])
    with torch.no_grad():
        output = model.backbone(batch)
        logits = model.backbone.match_logits(output.text_vector, output.image_vector)
        margins = (logits[:, 0] - logits[:, 1]).view(3, 4)
        wanted = sum(math.log(sum(math.exp(one) for one in row)) - float(row[0]) for row in margins)
        assert float(task.losses(model, batch)["choice"]) == pytest.approx(wanted, rel=1e-5)
    assert task.counts(batch) == {"choice": 3.0}


def test_the_loss_of_a_new_model_is_that_of_a_guess(corpus: Corpus) -> None:
    torch.manual_seed(0)
    model = TaskModel(InterBert(tiny_config(corpus)).eval())
    task = task_of(corpus)
    with torch.no_grad():
        loss = float(task.losses(model, made(task, list(range(8))))["choice"]) / 8
    assert loss == pytest.approx(math.log(4), abs=0.01)


def test_the_releases_loss_counts_every_pair(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    task, model = task_of(corpus, {"out": tmp_path}, form="pairs"), TaskModel(InterBert.from_pretrained(run))
    with torch.no_grad():
        task.begin_epoch(model, 0, Parallel(), never)
        batch = made(task, [1, 2])
        output = model.backbone(batch)
        logits = model.backbone.match_logits(output.text_vector, output.image_vector)
        wanted = -logits.log_softmax(-1)[torch.arange(8), torch.tensor([0, 1, 1, 1] * 2)].sum()
        assert float(task.losses(model, batch)["matching"]) == pytest.approx(float(wanted), rel=1e-5)
    assert task.counts(batch) == {"matching": 8.0}


def test_validation_ranks_pictures_of_the_validation_split(corpus: Corpus, run: Path) -> None:
    task, model = task_of(corpus, validation_queries=9, validation_pool=7), TaskModel(InterBert.from_pretrained(run))
    texts, images = task._validation()
    assert (len(texts), len(images)) == (9, 7)
    assert set(corpus.images_of[texts]) <= set(images.tolist())
    assert set(texts.tolist()) <= set(corpus.split("validation").tolist())
    found = task.validate(model)
    assert found["recall_at_10"] == 1.0
    assert found["recall_mean"] == pytest.approx(np.mean([found[f"recall_at_{k}"] for k in (1, 5, 10)]))
    assert task.validate(model) == found


def test_an_evaluation_has_the_ranks_of_all_scores(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    task = task_of(corpus)
    found = task.evaluate(TaskModel(InterBert.from_pretrained(run)), Asked(run, parts=tmp_path / "a", processes=1))
    texts = corpus.split("test")
    images = np.unique(corpus.images_of[texts]).astype(np.int64)
    matrix = score_pairs(Pairs(run, corpus, texts, images), tmp_path / "b", processes=1).matrix()
    relevant = Belonging(corpus).matrix(texts, images)
    metrics = found["metrics"]
    assert metrics["recall_at_5"]["value"] == (ranks(matrix, relevant) <= 5).mean()
    assert metrics["median_rank_of_captions"]["value"] == np.median(ranks(matrix.T, relevant.T))
    assert metrics["recall_at_1"]["chance"] == pytest.approx(1 / 16)
    assert (found["captions"], found["pictures"], found["left_out"]) == (32, 16, 0)


def test_fewer_captions_may_rank_the_same_pictures(corpus: Corpus, run: Path, tmp_path: Path) -> None:
    asked = Asked(run, parts=tmp_path, processes=1, queries=5)
    found = task_of(corpus).evaluate(TaskModel(InterBert.from_pretrained(run)), asked)
    assert (found["captions"], found["pictures"]) == (5, 16)


def test_a_split_of_nothing_can_not_be_evaluated(run: Path, tmp_path: Path) -> None:
    corpus = drawn_corpus(tmp_path, tested=0)
    with pytest.raises(InterbertError, match="0 pictures of .* in its test split, wanted at least 2 to rank"):
        task_of(corpus).evaluate(TaskModel(InterBert.from_pretrained(run)), Asked(run, processes=1))


@pytest.mark.parametrize(("count", "most"), [(2, 1), (3, 1), (5, 2), (99, 4)])
def test_queries_are_of_as_many_pictures_as_there_are(count: int, most: int) -> None:
    texts, owner = np.arange(10, 19), np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    found = queries_of(texts, owner, count, generator_for(0))
    assert len(set(found.tolist())) == min(count, 9)
    assert found.tolist() == sorted(found)
    assert np.bincount(owner[found - 10], minlength=3).max() == most
    assert len({tuple(queries_of(texts, owner, 3, generator_for(seed))) for seed in range(9)}) > 3


def test_captions_of_a_picture_are_resampled_together() -> None:
    found = of_ranks(np.array([1, 1, 1, 7]), np.array([0, 0, 0, 1]))
    assert found["recall_at_1"]["value"] == 0.75
    assert found["recall_at_1"]["interval"] == (0.0, 1.0)  # the second picture twice, or the first
    assert found["median_rank"]["value"] == 1.0
    assert found["recall_mean"]["value"] == pytest.approx((0.75 + 0.75 + 1) / 3)
    alone = of_ranks(np.array([1, 1, 1, 7]), np.arange(4))
    wanted = bootstrap_interval(np.array([1.0, 1.0, 1.0, 0.0]), lambda rows: float(rows.mean()))
    assert alone["recall_at_1"]["interval"] == wanted


def test_examples_show_what_was_ranked_first_and_where_its_own_is(corpus: Corpus, run: Path) -> None:
    shown = task_of(corpus).examples(TaskModel(InterBert.from_pretrained(run)), 3)
    wrong = [one for one in shown if not one.right]
    assert len(wrong) == 3
    first, own = wrong[0].pictures
    assert (first.score or 0) > (own.score or 0)
    assert own.note.startswith("its own, at place ")
    assert all(0 <= side <= 1 for box in first.boxes for side in box)
    assert all(len(one.pictures) == 1 for one in shown if one.right)


def test_a_corpus_of_another_extractor_is_refused(corpus: Corpus) -> None:
    given = replace(given_for(corpus), extractor=ExtractorInfo("another", 8))
    with pytest.raises(InterbertError, match="regions of extractor 'drawn'"):
        Retrieval.open(corpus.folder, RetrievalOptions(), given)


def test_a_corpus_with_longer_texts_than_the_model_reads_is_refused(corpus: Corpus) -> None:
    given: Given = given_for(corpus, config=tiny_config(corpus, max_text_tokens=4))
    with pytest.raises(InterbertError, match="a text of 6 tokens, the model reads 4"):
        Retrieval.open(corpus.folder, RetrievalOptions(), given)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"negatives": 0}, "negatives: got 0"),
        ({"hard_negatives": 4}, "hard_negatives: got 4, wanted 0 to 3"),
        ({"hard_negatives": 2, "hard_pool": 1}, "hard_negatives: got 2, wanted 0 to 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        RetrievalOptions(**options)
