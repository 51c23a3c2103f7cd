"""Every text with every picture: scores as one pair at a time gives them, ranks as the whole matrix gives them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from finetuning_helpers import drawn_corpus, tiny_run
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from interbert.batch import make_batch
from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError
from interbert.metrics import ranks
from interbert.model.interbert import InterBert
from interbert.model.matching import margin
from interbert.pretraining.batches import Belonging
from interbert.tasks.ranking import Pairs, Scores, Stripe, blocks_of, default_processes, ranks_of, score_pairs


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return drawn_corpus(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "run", corpus)


@pytest.fixture(scope="module")
def pairs(corpus: Corpus, run: Path) -> Pairs:
    """All 32 captions of the validation pictures, in another order, with 11 pictures; several parts."""
    texts = np.random.default_rng(0).permutation(corpus.split("validation"))
    images = np.unique(corpus.images_of[texts]).astype(np.int64)[::-1][:11].copy()
    return Pairs(run, corpus, texts, images, part_pairs=24, stripe=4)


@pytest.fixture(scope="module")
def scores(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Scores:
    return score_pairs(pairs, tmp_path_factory.mktemp("parts"), processes=1)


def one_at_a_time(pairs: Pairs) -> np.ndarray:
    model, corpus = InterBert.from_pretrained(pairs.run), pairs.corpus
    found = np.empty((len(pairs.texts), len(pairs.images)))
    with torch.no_grad():
        for row, text in enumerate(pairs.texts):
            for column, image in enumerate(pairs.images):
                regions = corpus.regions(int(image)).select(slice(0, pairs.max_regions))
                output = model(make_batch([""], [corpus.words(int(text)).tolist()], [regions]))
                assert output.text_vector is not None
                assert output.image_vector is not None
                found[row, column] = margin(model, output.text_vector, output.image_vector)
    return found


def test_scores_are_those_of_one_pair_at_a_time(scores: Scores) -> None:
    wanted = one_at_a_time(scores.pairs)
    assert wanted.std() > 0.05
    np.testing.assert_allclose(scores.matrix(), wanted, atol=2e-5)


def test_no_more_regions_are_taken_than_wanted(pairs: Pairs, tmp_path: Path) -> None:
    few = replace(pairs, texts=pairs.texts[:2], max_regions=3)
    np.testing.assert_allclose(score_pairs(few, tmp_path, processes=1).matrix(), one_at_a_time(few), atol=2e-5)


def test_two_processes_give_the_bits_of_one(scores: Scores, tmp_path: Path) -> None:
    assert scores.pairs.parts == 18  # three stripes of pictures, 6 texts of 32 in a part
    two = score_pairs(scores.pairs, tmp_path, processes=2)
    np.testing.assert_array_equal(two.matrix(), scores.matrix())
    belonging = Belonging(two.pairs.corpus)
    ours, theirs = ranks_of(two, belonging), ranks_of(scores, belonging)
    np.testing.assert_array_equal(ours.texts, theirs.texts)
    np.testing.assert_array_equal(ours.images, theirs.images)


def test_what_is_on_disk_is_not_scored_again(scores: Scores, tmp_path: Path) -> None:
    first = score_pairs(scores.pairs, tmp_path, processes=1)
    kept, gone = first.folder / "part-000003.npy", first.folder / "part-000004.npy"
    np.save(kept, np.full_like(np.load(kept), 7))
    gone.unlink()
    again = score_pairs(scores.pairs, tmp_path, processes=1)
    assert again.folder == first.folder
    rows, columns = scores.pairs.part(3)
    found = again.matrix()
    assert (found[np.ix_(rows, columns)] == 7).all()
    found[np.ix_(rows, columns)] = scores.matrix()[np.ix_(rows, columns)]
    np.testing.assert_array_equal(found, scores.matrix())


def test_scores_of_another_model_never_mix(pairs: Pairs, corpus: Corpus, tmp_path: Path) -> None:
    few = replace(pairs, texts=pairs.texts[:2])
    other = replace(few, run=tiny_run(tmp_path / "other", corpus, seed=1))
    one, two = (score_pairs(each, tmp_path / "parts", processes=1) for each in (few, other))
    assert one.folder != two.folder
    assert (one.matrix() != two.matrix()).any()


@pytest.mark.parametrize(("texts", "images"), [(1, 11), (32, 1), (1, 1), (5, 3)])
def test_any_number_and_ratio_of_texts_and_pictures(scores: Scores, tmp_path: Path, texts: int, images: int) -> None:
    pairs = replace(scores.pairs, texts=scores.pairs.texts[:texts], images=scores.pairs.images[:images])
    found = score_pairs(pairs, tmp_path, processes=1).matrix()
    np.testing.assert_allclose(found, scores.matrix()[:texts, :images], atol=2e-5)


def test_ranks_part_by_part_are_those_of_the_whole_matrix(scores: Scores) -> None:
    pairs, belonging = scores.pairs, Belonging(scores.pairs.corpus)
    matrix, relevant = scores.matrix(), belonging.matrix(pairs.texts, pairs.images)
    found = ranks_of(scores, belonging, keep=3)
    asked = relevant.any(1)
    assert not asked.all()  # five of the 16 pictures are not ranked
    np.testing.assert_array_equal(found.texts[asked], ranks(matrix[asked], relevant[asked]))
    assert (found.texts[~asked] == 0).all()
    np.testing.assert_array_equal(found.images, ranks(matrix.T, relevant.T))
    np.testing.assert_array_equal(found.best, np.argsort(-matrix, 1)[:, :3])


def test_ties_count_against_a_text_and_a_picture(pairs: Pairs, tmp_path: Path) -> None:
    for number in range(pairs.parts):
        np.save(tmp_path / f"part-{number:06d}.npy", np.zeros([len(side) for side in pairs.part(number)], np.float32))
    belonging = Belonging(pairs.corpus)
    relevant = belonging.matrix(pairs.texts, pairs.images)
    found = ranks_of(Scores(pairs, tmp_path), belonging)
    np.testing.assert_array_equal(found.texts[relevant.any(1)], 1 + (~relevant[relevant.any(1)]).sum(1))
    np.testing.assert_array_equal(found.images, 1 + (~relevant).sum(0))


def test_a_score_that_is_no_number_names_its_pair(pairs: Pairs, corpus: Corpus, tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "broken", corpus)
    weights = load_file(run / "model.safetensors")
    weights["match_head.bias"][0] = torch.nan
    save_file(weights, run / "model.safetensors")
    with pytest.raises(InterbertError, match=r"with picture '\w+ \w+ 3': the score is not a finite number"):
        score_pairs(replace(pairs, run=run), tmp_path / "parts", processes=1)


def test_a_stripe_scores_texts_of_any_length(corpus: Corpus, run: Path) -> None:
    model = InterBert.from_pretrained(run)
    words = [np.array([2, *range(5, 5 + length), 3]) for length in (4, 1, 4, 2)]
    with torch.inference_mode():
        stripe = Stripe(model, [corpus.regions(image) for image in (0, 7, 3)], at_once=2)
        alone = [stripe.margins([one])[0] for one in words]
        np.testing.assert_allclose(stripe.margins(words), alone, atol=2e-5)


@given(st.lists(st.integers(1, 5), max_size=30), st.integers(1, 7))
def test_blocks_hold_every_place_once_and_full_ones_one_count(counts: list[int], size: int) -> None:
    blocks = blocks_of(counts, size)
    assert sorted(place for block in blocks for place in block.tolist()) == list(range(len(counts)))
    assert all(0 < len(block) <= size for block in blocks)
    mixed = [block for block in blocks if len({counts[place] for place in block.tolist()}) > 1]
    assert sum(map(len, mixed)) <= 5 * (size - 1)  # of each count fewer than a block are left over


def test_there_is_a_process_a_core_at_most() -> None:
    assert 1 <= default_processes() <= 8
