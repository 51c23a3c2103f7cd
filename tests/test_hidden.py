"""Hidden words of texts alone: what a model finds, beside who knows nothing, by numbers that are counted by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pretraining_helpers import few_steps, text_corpus

from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError
from interbert.model.interbert import InterBert
from interbert.pretraining.evaluation import Pool, evaluate_run, quick_validation
from interbert.pretraining.hidden import WORDS_ALONE, evaluate_words, guessed, most_frequent
from interbert.pretraining.job import PretrainingJob
from interbert.pretraining.objectives import counts, losses, scored_words
from interbert.pretraining.run import fitted, pretrain
from interbert.pretraining.stages import Masking, Stage

MSM = Stage("msm", "none", matching="none")
PLAN = replace(
    few_steps(learning_rate=3e-3), stages=(replace(MSM, epochs=20),), masking=Masking(msm_rate=0.2, whole_words=True)
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return text_corpus(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def job(corpus: Corpus) -> PretrainingJob:
    return PretrainingJob(corpus, corpus.tokenizer(), PLAN)


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    pretrain([corpus.folder], out, PLAN, progress=False)
    return out


def pool_of(job: PretrainingJob) -> Pool:
    assert job.pool is not None
    return job.pool


def test_a_batch_of_texts_has_no_regions_and_every_pair_is_its_own(job: PretrainingJob) -> None:
    (batch,) = job.batches(0, 0, 1)
    assert batch.features is None
    assert batch.masked_regions is None
    assert batch.is_match is not None
    assert batch.is_match.all()
    assert batch.ids[0].split(":")[0] == batch.ids[0].split(":")[1]  # the text's number is its item's id here


def test_its_only_loss_is_that_of_words(job: PretrainingJob, corpus: Corpus) -> None:
    model = InterBert(fitted(PLAN.model, corpus, corpus.tokenizer()))
    (batch,) = job.batches(0, 0, 1)
    assert set(losses(model, batch, MSM)) == set(counts(batch, MSM)) == {"words"}


def test_only_the_interaction_and_the_text_s_own_parts_learn(job: PretrainingJob, corpus: Corpus) -> None:
    model = InterBert(fitted(PLAN.model, corpus, corpus.tokenizer()))
    losses(model, job.batches(0, 0, 1)[0], MSM)["words"].backward()  # type: ignore[no-untyped-call]
    learn = {name.partition(".")[0] for name, one in model.named_parameters() if one.grad is not None}
    assert learn == {"text_embedding", "interaction", "text_stream", "word_head"}


def test_validation_while_training_is_of_words_alone(job: PretrainingJob, corpus: Corpus) -> None:
    model = InterBert(fitted(PLAN.model, corpus, corpus.tokenizer())).eval()
    assert set(quick_validation(model, pool_of(job), MSM)) == {"word_accuracy"}


def test_the_most_frequent_piece_is_counted_by_hand(job: PretrainingJob, corpus: Corpus) -> None:
    said = Counter(piece for at in corpus.split("train") for piece in corpus.words(int(at))[1:-1].tolist())
    ((piece, _),) = said.most_common(1)
    assert most_frequent(pool_of(job)) == piece


def test_always_the_same_is_right_as_often_as_it_is_hidden(job: PretrainingJob) -> None:
    pool, piece = pool_of(job), most_frequent(pool_of(job))
    hidden = torch.cat([batch.word_targets[scored_words(batch)] for batch in pool.batches(MSM)])  # type: ignore[index]
    found = guessed(pool, MSM, piece)["words_msm"]
    assert found["hidden"] == len(hidden)
    assert found["value"] == pytest.approx(float((hidden == piece).float().mean()))


def test_a_trained_model_finds_more_than_an_untrained_one_and_the_most_frequent_word(run: Path, corpus: Corpus) -> None:
    found = evaluate_run(run, corpus.folder, split="validation")
    assert found["texts"] == len(corpus.split("validation")) > 10
    for name in ("words_mlm", "words_msm"):
        trained, untrained, same = (found[at][name] for at in ("words", "untrained", "always_the_most_frequent"))
        assert trained["value"] > max(untrained["value"], same["value"])
        assert trained["hidden"] == untrained["hidden"] == same["hidden"] > 10


def test_the_untrained_model_is_drawn_by_the_seed(job: PretrainingJob, corpus: Corpus) -> None:
    model = InterBert(fitted(PLAN.model, corpus, corpus.tokenizer())).eval()
    first, second = (evaluate_words(model, pool_of(job), seed=3) for _ in range(2))
    assert first == second
    assert set(first["words"]) == {f"words_{stage.words}" for stage in WORDS_ALONE}


def test_a_split_without_texts_is_an_error(run: Path, corpus: Corpus) -> None:
    with pytest.raises(InterbertError, match="fewer than two texts in its test split"):
        evaluate_run(run, corpus.folder)
