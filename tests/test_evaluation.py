"""What pretraining has learned: word gain, retrieval, matching; by hand-made cases and by scoring one by one."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from pretraining_helpers import HELD_OUT, few_steps, random_corpus
from torch import Tensor
from torch.nn.functional import one_hot

from interbert.batch import Batch, Output, make_batch
from interbert.config import MATCH_CLASS
from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError
from interbert.metrics import ranks
from interbert.model.interbert import InterBert
from interbert.pretraining.batches import Augmentation, BatchMaker
from interbert.pretraining.evaluation import (
    Pool,
    alone_recall,
    evaluate_pretraining,
    evaluate_run,
    quick_validation,
    recentre,
)
from interbert.pretraining.hidden import hidden_found, word_gain
from interbert.pretraining.job import PretrainingJob
from interbert.pretraining.objectives import scored_words
from interbert.pretraining.run import fitted
from interbert.pretraining.stages import Masking, Stage
from interbert.tasks.ranking import margins_of

OFTEN = Masking(mlm_rate=0.4, msm_rate=0.4, mom_rate=0.4, mrm_rate=0.4)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return random_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def model(corpus: Corpus) -> InterBert:
    torch.manual_seed(0)
    config = replace(fitted(few_steps().model, corpus, corpus.tokenizer()), initializer_range=0.3)
    return InterBert(config).eval()


def pool_of(corpus: Corpus, masking: Masking = OFTEN) -> Pool:
    job = PretrainingJob(corpus, corpus.tokenizer(), replace(few_steps(), masking=masking))
    assert job.pool is not None
    return job.pool


def margin(model: InterBert, output_of_text: Output, output_of_image: Output) -> float:
    assert output_of_text.text_vector is not None
    assert output_of_image.image_vector is not None
    logits = model.match_logits(output_of_text.text_vector, output_of_image.image_vector)[0]
    return (logits[MATCH_CLASS] - logits[1 - MATCH_CLASS]).item()


class _Knowing:
    """With a picture it says every hidden word, without one those with an even number."""

    def __init__(self, targets: Tensor) -> None:
        self.targets = targets

    def parameters(self) -> Iterator[Tensor]:
        return iter([torch.zeros(1)])

    def __call__(self, batch: Batch) -> Output:
        said = self.targets if batch.features is not None else torch.where(self.targets % 2 == 0, self.targets, 0)
        return Output(text_states=one_hot(said, 20).float())

    def word_logits(self, states: Tensor) -> Tensor:
        return states


class _OneBatch:
    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def own(self) -> _OneBatch:
        return self

    def batches(self, stage: Stage) -> Iterator[Batch]:
        return iter([self.batch])


def test_word_gain_of_four_words_by_hand() -> None:
    targets = torch.tensor([[2, 6, 7, 8, 3], [2, 9, 10, 11, 3]])
    masked = torch.tensor([[0, 1, 1, 1, 0], [0, 1, 0, 0, 0]]).bool()  # 6, 7, 8 of the first text, 9 of the second
    batch = Batch(["a", "b"], targets.clone(), torch.ones(2, 5).bool(), features=torch.zeros(2, 3, 8))
    batch.masked_words, batch.word_targets, batch.is_match = masked, targets, torch.ones(2).bool()
    found = word_gain(cast(InterBert, _Knowing(targets)), cast(Pool, _OneBatch(batch)), Stage())
    assert (found["with_image"], found["without_image"], found["gain"]) == (1.0, 0.5, 0.5)  # without: 6 and 8
    assert found["words"] == 4
    # drawn again, the two texts are the first twice (2 of 6 gained), both, or the second twice (2 of 2)
    assert found["gain_interval"] == pytest.approx((1 / 3, 1.0))


def test_words_and_regions_found_are_counted_by_hand(model: InterBert, corpus: Corpus) -> None:
    pool, stage = pool_of(corpus), Stage("msm", "mrm")
    hidden, right = 0, 0
    for batch in pool.own().batches(stage):
        assert batch.word_targets is not None
        states = model(batch).text_states
        hidden += int(scored_words(batch).sum())
        right += int((model.word_logits(states).argmax(-1) == batch.word_targets)[scored_words(batch)].sum())
    found = hidden_found(model, pool, stage)
    assert found["words_msm"]["hidden"] == hidden > 20
    assert found["words_msm"]["value"] == pytest.approx(right / hidden)
    assert_whole(found["regions_mrm"])


def test_word_gain_without_a_hidden_word_says_so(model: InterBert, corpus: Corpus) -> None:
    with pytest.raises(InterbertError, match="no masked word to score"):
        word_gain(model, pool_of(corpus, Masking(msm_rate=0.0)), Stage())


def test_word_gain_counts_every_hidden_word_of_every_text(model: InterBert, corpus: Corpus) -> None:
    pool = pool_of(corpus)
    hidden = 0
    for batch in pool.own().batches(Stage("msm", "none")):
        assert batch.masked_words is not None
        hidden += int(batch.masked_words.sum())
    assert word_gain(model, pool, Stage("msm", "none"))["words"] == hidden > 20


def ranks_one_by_one(model: InterBert, pool: Pool) -> Any:
    """The place of each text's own picture among the pool's, where one pair after another is read."""
    corpus, found = pool.corpus, np.zeros((len(pool.texts), len(pool.images)))
    for row, text in enumerate(pool.texts.tolist()):
        for column, image in enumerate(pool.images.tolist()):
            output = model(make_batch(["x"], [corpus.words(text).tolist()], [corpus.regions(image)]))
            found[row, column] = margin(model, output, output)
    return ranks(found, pool.relevant(pool.texts))


def test_quick_recall_is_that_of_one_pair_at_a_time(model: InterBert, corpus: Corpus) -> None:
    pool = pool_of(corpus)
    found = quick_validation(model, pool, Stage("none", "none"))
    assert found["recall_at_1"] == np.mean(ranks_one_by_one(model, pool) == 1)


def test_recall_of_sides_read_alone_is_that_of_one_at_a_time(model: InterBert, corpus: Corpus) -> None:
    pool, right = pool_of(corpus), 0
    assert len(pool.texts) == HELD_OUT
    for text, own in zip(pool.texts.tolist(), pool.images.tolist(), strict=True):
        assert corpus.image_of(text) == own
        words = model(make_batch(["x"], [corpus.words(text).tolist()], None))
        regions = {image: make_batch(["x"], None, [corpus.regions(image)]) for image in pool.images.tolist()}
        margins = {image: margin(model, words, model(batch)) for image, batch in regions.items()}
        right += max(margins, key=margins.__getitem__) == own
    assert alone_recall(model, pool) == {"recall_at_1": right / HELD_OUT, "recall_at_10": 1.0}


def scores_of(model: InterBert, pool: Pool) -> Any:
    """Of each text with each picture."""
    words = [pool.corpus.words(int(text)) for text in pool.texts]
    with torch.no_grad():
        return margins_of(model, words, [pool.corpus.regions(int(image)) for image in pool.images])


@pytest.mark.parametrize("bias", [-6.0, 3.0])
def test_recentring_makes_the_mean_score_the_share_of_matches(model: InterBert, corpus: Corpus, bias: float) -> None:
    model, pool = copy.deepcopy(model), pool_of(corpus)
    before = scores_of(model, pool)
    with torch.no_grad():
        model.match_head.bias[MATCH_CLASS] += bias
        shift = recentre(model, pool)
        scores = []
        for batch in pool.batches(Stage("none", "none")):
            output = model(batch)
            scores += model.match_probability(output.text_vector, output.image_vector).tolist()
    assert abs(np.mean(scores) - pool.pairs.is_match.mean()) < 1e-4
    np.testing.assert_allclose(scores_of(model, pool), before + bias + shift, atol=1e-4)


def test_a_pool_is_the_same_for_a_seed_and_another_for_another(corpus: Corpus) -> None:
    maker = BatchMaker(corpus, corpus.tokenizer(), Masking(), Augmentation())
    one, again, other = (Pool.of(corpus, maker, seed, 8, 4) for seed in (0, 0, 1))
    assert one is not None
    assert again is not None
    assert other is not None
    assert (one.pairs.texts == again.pairs.texts).all()
    assert (one.pairs.images == again.pairs.images).all()
    assert (one.pairs.texts != other.pairs.texts).any()
    assert len(one.pairs.texts) == 8
    assert len(set(one.images.tolist())) == len(one.images) == 4
    assert set(one.pairs.texts) <= set(corpus.split("validation"))


def test_half_of_a_pool_are_negatives_and_its_own_form_has_none(corpus: Corpus) -> None:
    pool = pool_of(corpus)
    images = np.array([corpus.image_of(int(text)) for text in pool.pairs.texts])
    assert pool.pairs.is_match.sum() == len(images) / 2
    assert ((pool.pairs.images == images) == pool.pairs.is_match).all()
    assert (pool.own().pairs.images == images).all()
    assert pool.own().pairs.is_match.all()


def test_quick_validation_without_a_validation_split_is_nothing(model: InterBert, tmp_path: Path) -> None:
    corpus = random_corpus(tmp_path, held_out=0)
    assert PretrainingJob(corpus, corpus.tokenizer(), few_steps()).validate(model, 0) == {}


def test_quick_validation_gives_what_the_stage_trains(model: InterBert, corpus: Corpus) -> None:
    pool = pool_of(corpus)
    alone = {"alone_recall_at_1", "alone_recall_at_10"}
    together = alone | {"matching_accuracy", "recall_at_1", "recall_at_10"}
    assert quick_validation(model, pool, Stage("none", "none", 1, "alone")).keys() == alone
    assert quick_validation(model, pool, Stage("none", "none")).keys() == together
    found = quick_validation(model, pool, Stage())
    assert found.keys() == together | {"word_accuracy", "region_accuracy"}
    assert all(0 <= value <= 1 for value in found.values())
    assert quick_validation(model, pool, Stage()) == found


def test_quick_validation_leaves_out_what_nothing_was_hidden_for(model: InterBert, corpus: Corpus) -> None:
    pool = pool_of(corpus, Masking(msm_rate=0.0, mrm_rate=0.0))
    found = quick_validation(model, pool, Stage())
    assert not {"word_accuracy", "region_accuracy"} & found.keys()
    assert all(math.isfinite(value) for value in found.values())


def test_quick_matching_accuracy_is_that_of_one_pair_at_a_time(model: InterBert, corpus: Corpus) -> None:
    pool, right = pool_of(corpus), 0
    for text, image, match in zip(pool.pairs.texts, pool.pairs.images, pool.pairs.is_match, strict=True):
        output = model(make_batch(["x"], [corpus.words(int(text)).tolist()], [corpus.regions(int(image))]))
        right += (margin(model, output, output) > 0) == match
    found = quick_validation(model, pool, Stage("none", "none"))["matching_accuracy"]
    assert found == pytest.approx(right / len(pool.pairs.texts))


def assert_whole(figure: dict[str, Any]) -> None:
    low, high = figure["interval"]
    assert 0 <= low <= figure["value"] <= high <= 1


@pytest.fixture(scope="module")
def run(model: InterBert, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    model.save_pretrained(folder)
    corpus.tokenizer().save(folder / "tokenizer.json")
    corpus.extractor.save(folder / "extractor.json")
    return folder


def evaluated(run: str | Path, corpus: Corpus, **asked: Any) -> dict[str, Any]:
    return evaluate_run(run, corpus.folder, **({"split": "validation", "precision": "fp32", "processes": 1} | asked))


def whole_pool(corpus: Corpus) -> Pool:
    """All pairs of the validation split, as `evaluate_run` takes them."""
    maker = BatchMaker(corpus, corpus.tokenizer(), Masking(), Augmentation())
    pool = Pool.of(corpus, maker, 0, len(corpus), len(corpus))
    assert pool is not None
    return pool


def test_an_evaluation_has_finite_numbers_inside_their_intervals(run: Path, corpus: Corpus) -> None:
    found = evaluated(run, corpus)
    assert not torch.is_inference_mode_enabled()
    words = found["words"]
    assert words["gain_interval"][0] <= words["gain"] <= words["gain_interval"][1]
    assert words["gain"] == pytest.approx(words["with_image"] - words["without_image"])
    assert_whole(found["matching_accuracy"])
    assert found["matching_accuracy"]["pairs"] == 12
    assert set(found["hidden"]) == {"words_mlm", "regions_mom", "words_msm", "regions_mrm"}
    for one in found["hidden"].values():
        assert_whole(one)
    for k in (1, 5, 10):
        assert_whole(found["retrieval"][f"recall_at_{k}"])
    assert found["retrieval"]["recall_at_10"]["value"] == 1.0  # of 6 pictures


def test_retrieval_is_that_of_one_pair_at_a_time(model: InterBert, run: Path, corpus: Corpus) -> None:
    place = ranks_one_by_one(model, whole_pool(corpus))
    found = evaluated(run, corpus)["retrieval"]
    assert {k: found[f"recall_at_{k}"]["value"] for k in (1, 5)} == {k: np.mean(place <= k) for k in (1, 5)}
    assert found["median_rank"]["value"] == np.median(place)
    assert (found["queries"], found["pictures"]) == (6, 6)


def test_fewer_queries_rank_the_same_pictures(run: Path, corpus: Corpus, tmp_path: Path) -> None:
    found = evaluated(run, corpus, queries=2, parts=tmp_path)["retrieval"]
    assert (found["queries"], found["pictures"]) == (2, 6)
    assert list(tmp_path.glob("*/part-000000.npy"))


def test_a_split_of_no_pictures_cannot_be_evaluated(run: Path, corpus: Corpus) -> None:
    with pytest.raises(InterbertError, match="fewer than two pictures in its test split"):
        evaluated(run, corpus, split="test")


def test_a_saved_run_gives_what_its_model_gives(model: InterBert, run: Path, corpus: Corpus) -> None:
    wanted = evaluate_pretraining(model, whole_pool(corpus))
    found = evaluated(run, corpus)
    assert {name: found[name] for name in wanted} == wanted
    assert found.keys() - wanted.keys() == {"split", "precision", "retrieval"}


def test_of_a_model_on_the_hub_nothing_is_kept(
    model: InterBert, run: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = InterBert.from_pretrained
    monkeypatch.setattr(
        InterBert, "from_pretrained", lambda name, **given: model if name == "some/one" else load(name, **given)
    )
    assert evaluated("some/one", corpus) == evaluated(run, corpus)
    assert not Path("some").exists()


def test_a_run_of_another_extractor_is_refused(run: Path, corpus: Corpus, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "other")
    replace(corpus.extractor, name="another").save(tmp_path / "other" / "extractor.json")
    with pytest.raises(InterbertError, match="name 'random' and 'another'"):
        evaluated(tmp_path / "other", corpus)
