"""Pretraining as a job: steps, stages and batches, over any number of processes."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretraining_helpers import WORDS, few_steps, random_corpus, random_tokenizer
from torch import Tensor

from interbert.batch import Batch
from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.corpus import Corpus
from interbert.corpus.readers import Caption
from interbert.errors import InterbertError, UsageError
from interbert.model.interbert import InterBert
from interbert.pretraining.batches import Augmentation
from interbert.pretraining.job import Pretraining, PretrainingJob
from interbert.pretraining.run import fitted
from interbert.pretraining.stages import Masking, Stage
from interbert.recipes import paper
from interbert.text.segmenting import Segmenter, SegmenterInfo

HARD_PAIR = (Stage("msm", "mrm", epochs=4),)
OFTEN = Masking(mlm_rate=0.4, msm_rate=0.4, mom_rate=0.4, mrm_rate=0.4)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return random_corpus(tmp_path_factory.mktemp("corpus"), mirrored=True)


def job_of(corpus: Corpus, **changes: Any) -> PretrainingJob:
    plan = replace(few_steps(), **{"stages": HARD_PAIR, "masking": OFTEN, **changes})
    return PretrainingJob(corpus, corpus.tokenizer(), plan)


def tensors(batch: Batch) -> dict[str, Tensor]:
    named = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def given(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def all_batches(job: PretrainingJob) -> list[Batch]:
    return [batch for step in range(job.total_steps) for batch in job.batches(step, 0, 1)]


def assert_equal(one: Batch, other: Batch) -> None:
    assert one.ids == other.ids
    assert tensors(one).keys() == tensors(other).keys()
    for name, value in tensors(one).items():
        assert torch.equal(value, tensors(other)[name]), name


def test_the_steps_and_stages_of_table_4_add_up(corpus: Corpus) -> None:
    job = job_of(corpus, stages=(Stage("mlm", "mom", epochs=5), Stage("msm", "mrm", epochs=10)))
    assert job.steps_per_epoch == 4  # 36 texts, 8 a step
    assert job.total_steps == 4 * 15
    names = [job.stage(step) for step in range(60)]
    assert names == ["mlm+mom+itm"] * 20 + ["msm+mrm+itm"] * 40


class _PaperCorpus:
    """As many training texts as the paper has, and nothing else."""

    def split(self, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.arange(4_777_000 if name == "train" else 0)

    def __len__(self) -> int:
        return 4_777_000

    images = 4_777_000
    text_hashes = np.arange(4_777_000, dtype=np.uint64)
    images_of = np.arange(4_777_000, dtype=np.int32)

    images = 1
    lengths = np.full(4_777_000, 20, np.int32)
    text_hashes, images_of = np.zeros(4_777_000, np.int64), np.zeros(4_777_000, np.int32)


def test_the_papers_pairs_and_batch_give_its_186_600_steps() -> None:
    job = PretrainingJob(_PaperCorpus(), random_tokenizer(), paper())  # type: ignore[arg-type]
    assert job.steps_per_epoch == 9_330
    assert job.total_steps == 186_600


def test_an_epoch_shows_every_text_once_but_the_last_few(corpus: Corpus) -> None:
    job = job_of(corpus)
    texts = np.concatenate([job.pairs(step).texts for step in range(4)])
    assert len(np.unique(texts)) == 32
    assert set(texts) <= set(corpus.split("train"))


def test_batches_depend_on_the_step_alone(corpus: Corpus) -> None:
    job, again = job_of(corpus), job_of(corpus)
    [last], [first] = again.batches(9, 0, 1), again.batches(2, 0, 1)  # in another order, over epochs
    assert_equal(job.batches(2, 0, 1)[0], first)
    assert_equal(job.batches(9, 0, 1)[0], last)
    assert first.ids != last.ids


def test_another_seed_gives_other_batches(corpus: Corpus) -> None:
    other = job_of(corpus, training=replace(few_steps().training, seed=1))
    assert job_of(corpus).batches(0, 0, 1)[0].ids != other.batches(0, 0, 1)[0].ids


@pytest.mark.parametrize("micro", [None, 2])
def test_two_processes_have_the_pairs_of_one_with_the_same_masks(corpus: Corpus, micro: int | None) -> None:
    augmentation = Augmentation(mirror=True, region_dropout=0.3)
    whole = job_of(corpus, augmentation=augmentation)
    parts = job_of(corpus, augmentation=augmentation, micro_batch_size=micro)
    for step in range(3):
        [one] = whole.batches(step, 0, 1)
        theirs = [batch for rank in (0, 1) for batch in parts.batches(step, rank, 2)]
        size = len(theirs[0])
        assert size == (micro or 4)
        for at, batch in enumerate(theirs):
            assert_equal(batch, one.select(torch.arange(at * size, (at + 1) * size)))


def test_a_batch_that_the_processes_cannot_share_is_refused(corpus: Corpus) -> None:
    with pytest.raises(UsageError, match="got 8 for 3 processes"):
        job_of(corpus).batches(0, 0, 3)


def test_neither_special_pieces_nor_slot_0_nor_padding_are_hidden(corpus: Corpus) -> None:
    special = torch.tensor(sorted(corpus.tokenizer().special_ids - {corpus.tokenizer().unknown_id}))
    hidden = 0
    for batch in all_batches(job_of(corpus)):
        words, regions = given(batch.masked_words), given(batch.masked_regions)
        assert not torch.isin(given(batch.word_targets)[words], special).any()
        assert not (words & ~given(batch.words_valid)).any()
        assert not regions[:, 0].any()
        assert not (regions & ~given(batch.regions_valid)).any()
        hidden += int(words.sum()) + int(regions.sum())
    assert hidden > 500


def test_targets_are_the_words_as_they_were(corpus: Corpus) -> None:
    for batch in all_batches(job_of(corpus)):
        for row, id in enumerate(batch.ids):
            words = torch.from_numpy(corpus.words(int(id.split(":")[0])))
            assert torch.equal(given(batch.word_targets)[row, : len(words)], words)
        shown = ~given(batch.masked_words)
        assert torch.equal(given(batch.words)[shown], given(batch.word_targets)[shown])


def test_hidden_regions_are_zero_and_slot_0_is_the_mean_of_all_before_hiding(corpus: Corpus) -> None:
    for batch in all_batches(job_of(corpus)):
        features, masked = given(batch.features), given(batch.masked_regions)
        assert not features[masked].any()
        for row, image in enumerate(given(batch.images).tolist()):
            whole = torch.from_numpy(corpus.regions(image).features.astype(np.float32))
            assert torch.allclose(features[row, 0], whole.mean(0), atol=1e-6)
            shown = ~masked[row, 1 : 1 + len(whole)]
            assert torch.equal(features[row, 1 : 1 + len(whole)][shown], whole[shown])


def test_hard_targets_are_the_detectors_labels(corpus: Corpus) -> None:
    for batch in all_batches(job_of(corpus)):
        for row, image in enumerate(given(batch.images).tolist()):
            labels = torch.from_numpy(np.array(corpus.regions(image).labels))
            assert torch.equal(given(batch.region_targets)[row, 1 : 1 + len(labels)], labels)


def test_soft_targets_are_distributions(corpus: Corpus) -> None:
    job = job_of(corpus, masking=replace(OFTEN, region_targets="soft"))
    for batch in all_batches(job):
        targets, valid = given(batch.region_targets), given(batch.regions_valid).clone()
        assert targets.shape[-1] == 5
        valid[:, 0] = False
        assert torch.allclose(targets[valid].sum(-1), torch.ones(int(valid.sum())), atol=1e-5)


def test_soft_targets_of_regions_without_probabilities_say_what_to_do(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = replace(corpus.regions(0), probabilities=None)
    monkeypatch.setattr(Corpus, "regions", lambda self, image, view=0: regions)
    with pytest.raises(InterbertError, match="set masking.region_targets=hard or extract again"):
        job_of(corpus, masking=Masking(region_targets="soft")).batches(0, 0, 1)


def test_with_one_side_a_pair_hides_words_or_regions_never_both(corpus: Corpus) -> None:
    seen = {"words": 0, "regions": 0}
    for batch in all_batches(job_of(corpus, masking=replace(OFTEN, sides="one"))):
        words, regions = given(batch.masked_words).any(1), given(batch.masked_regions).any(1)
        assert not (words & regions).any()
        seen = {"words": seen["words"] + int(words.sum()), "regions": seen["regions"] + int(regions.sum())}
    assert min(seen.values()) > 30  # of 128 pairs


def test_whole_words_are_hidden_with_all_their_pieces(corpus: Corpus) -> None:
    continues = torch.from_numpy(np.array(corpus.tokenizer().is_continuation))
    found = set()
    for batch in all_batches(job_of(corpus, masking=replace(OFTEN, whole_words=True))):
        later = continues[given(batch.word_targets)][:, 1:]
        masked = given(batch.masked_words)
        assert torch.equal(masked[:, 1:][later], masked[:, :-1][later])
        found |= set(masked[:, 1:][later].tolist())
    assert found == {True, False}


def test_a_text_without_any_word_hides_nothing_where_words_are_hidden_whole(corpus: Corpus) -> None:
    job = job_of(corpus, masking=replace(OFTEN, whole_words=True))
    pieces = torch.tensor([2, 1, 3])  # [CLS], [UNK], [SEP]
    numbers = torch.full((3,), -1)
    assert not job.maker._masked_words(pieces, numbers, Stage("msm", "none"), torch.Generator()).any()


def test_half_of_a_step_matches_and_ids_say_which(corpus: Corpus) -> None:
    for batch in all_batches(job_of(corpus)):
        assert int(given(batch.is_match).sum()) == 4
        for id, image, match in zip(batch.ids, given(batch.images).tolist(), given(batch.is_match), strict=True):
            text, _, picture = id.partition(":")
            assert picture == corpus.image_id(image)
            assert bool(match) == (corpus.image_of(int(text)) == image)


def test_where_negatives_are_drawn_late_every_text_comes_with_its_own_picture(corpus: Corpus) -> None:
    pairs = job_of(corpus, stages=(Stage(hard_negatives=0.5),)).pairs(0)
    early = job_of(corpus, stages=(Stage(),)).pairs(0)
    assert pairs.images.tolist() == [corpus.image_of(int(text)) for text in pairs.texts]
    assert (pairs.is_match == early.is_match).all()
    assert (pairs.texts == early.texts).all()


def test_mirroring_changes_the_regions_to_those_of_the_other_view_half_the_time(corpus: Corpus) -> None:
    views = []
    mirrored, plain = job_of(corpus, augmentation=Augmentation(mirror=True)), job_of(corpus)
    for batch, other in zip(all_batches(mirrored), all_batches(plain), strict=True):
        assert batch.ids == other.ids
        assert torch.equal(given(batch.word_targets), given(other.word_targets))
        assert torch.equal(given(batch.is_match), given(other.is_match))
        for row, image in enumerate(given(batch.images).tolist()):
            shown = given(batch.locations)[row, 1 : int(given(batch.regions_valid)[row].sum())].numpy()
            count = corpus.views(image)
            [view] = [v for v in range(count) if np.array_equal(corpus.regions(image, v).locations(), shown)]
            views += [view] if count == 2 else []
    assert 0.3 < np.mean(views) < 0.7


def test_region_dropout_leaves_out_regions_and_nothing_else(corpus: Corpus) -> None:
    kept = total = 0
    dropping, plain = job_of(corpus, augmentation=Augmentation(region_dropout=0.5)), job_of(corpus)
    for batch, other in zip(all_batches(dropping), all_batches(plain), strict=True):
        assert batch.ids == other.ids
        assert torch.equal(given(batch.word_targets), given(other.word_targets))
        for row, image in enumerate(given(batch.images).tolist()):
            count = int(given(batch.regions_valid)[row].sum()) - 1
            everything = corpus.regions(image)
            places = everything.locations().tolist()
            at = [places.index(place) for place in given(batch.locations)[row, 1 : 1 + count].tolist()]
            assert at == sorted(set(at))
            mean = everything.features[at].astype(np.float32).mean(0)
            np.testing.assert_allclose(given(batch.features)[row, 0], mean, atol=1e-6)
            kept, total = kept + count, total + len(everything)
    assert 0.5 < kept / total < 0.7  # half, and one of each picture that stays for sure


def test_validation_uses_no_augmentation(corpus: Corpus) -> None:
    job = job_of(corpus, augmentation=Augmentation(mirror=True, region_dropout=0.5))
    assert job.pool is not None
    [batch] = job.pool.batches(HARD_PAIR[0])
    for row, image in enumerate(given(batch.images).tolist()):
        assert int(given(batch.regions_valid)[row].sum()) == 1 + len(corpus.regions(image))


@pytest.mark.parametrize(
    "stage",
    [Stage(), Stage("mlm", "none"), Stage("none", "mom"), Stage(matching="both"), Stage("none", "none", 1, "alone")],
)
def test_losses_and_counts_have_the_same_names_whatever_is_in_the_batch(corpus: Corpus, stage: Stage) -> None:
    job = job_of(corpus, stages=(stage,))
    model = InterBert(fitted(job.plan.model, corpus, corpus.tokenizer()))
    [batch] = job.batches(0, 0, 1)
    empty = replace(batch, is_match=torch.zeros(8, dtype=torch.bool))
    assert job.counts(batch).keys() == job.counts(empty).keys() == job.losses(model, empty).keys()


def test_the_fingerprint_changes_with_what_a_step_is_made_of_and_only_then(corpus: Corpus) -> None:
    plans = [
        few_steps(),
        few_steps(batch_size=16),
        few_steps(epochs=2),
        replace(few_steps(), masking=OFTEN),
        replace(few_steps(), augmentation=Augmentation(mirror=True)),
    ]
    prints = [json.dumps(PretrainingJob(corpus, corpus.tokenizer(), plan).fingerprint()) for plan in plans]
    assert len(set(prints)) == len(plans)
    logged = PretrainingJob(corpus, corpus.tokenizer(), few_steps(log_every=7)).fingerprint()
    assert json.dumps(logged) == prints[0]


def test_fewer_texts_than_a_batch_are_an_error_at_once(corpus: Corpus) -> None:
    with pytest.raises(InterbertError, match="got 36 training texts, wanted at least one batch of 64"):
        job_of(corpus, batch_size=64)


def test_texts_that_are_longer_than_the_model_reads_are_an_error_at_once(corpus: Corpus) -> None:
    short = replace(few_steps().model, max_text_tokens=5)
    with pytest.raises(UsageError, match="max_text_tokens: got 5, wanted at least"):
        job_of(corpus, model=short)


@pytest.mark.parametrize(
    "changes", [{"stages": ()}, {"stages": (Stage(epochs=0),)}, {"batch_size": 0}, {"batch_size": 1}]
)
def test_plans_without_a_stage_or_a_pair_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="wanted at least"):
        replace(Pretraining(), **changes)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_regions_are_never_all_left_out(share: float) -> None:
    with pytest.raises(UsageError, match="region_dropout: got"):
        Augmentation(region_dropout=share)


@pytest.mark.parametrize("name", ["micro_batch_size", "validation_pool"])
def test_sizes_of_nothing_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: got 0, wanted at least 1"):
        replace(Pretraining(), **{name: 0})


def test_words_of_a_segmenter_are_hidden_whole(tmp_path: Path, corpus: Corpus) -> None:
    pairs = Segmenter(SegmenterInfo("pairs", "1"), re.compile(r"\S+(?: \S+)?|\s+").findall)  # two words are one
    source = [Caption(f"picture {at}", f"a dog red cat {word} road", "train", str(at)) for at, word in enumerate(WORDS)]
    build_corpus(
        source, corpus.store, corpus.tokenizer(), tmp_path / "pairs", BuildOptions(min_regions=1), segmenter=pairs
    )
    found = set()
    for batch in all_batches(job_of(Corpus(tmp_path / "pairs"), masking=replace(OFTEN, whole_words=True))):
        masked = given(batch.masked_words)
        assert torch.equal(masked[:, 1], masked[:, 2])  # [CLS] a dog, red cat, …
        assert torch.equal(masked[:, 3], masked[:, 4])
        found |= set(map(tuple, masked[:, [1, 3]].tolist()))
    assert len(found) == 4
