"""Mined hard negatives against margins taken one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from finetuning_helpers import drawn_corpus, tiny_run

from interbert.batch import make_batch
from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError
from interbert.model.interbert import InterBert
from interbert.pretraining.batches import Belonging
from interbert.tasks import mining
from interbert.tasks.mining import Mined, mine
from interbert.tasks.negatives import Negatives
from interbert.training.interruption import Stopped
from interbert.training.parallel import Parallel


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return drawn_corpus(tmp_path_factory.mktemp("drawn"))


@pytest.fixture(scope="module")
def model(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> InterBert:
    return InterBert.from_pretrained(tiny_run(tmp_path_factory.mktemp("run"), corpus))


@pytest.fixture(scope="module")
def among(corpus: Corpus) -> Negatives:
    return Negatives(corpus, corpus.split("train"), Belonging(corpus))


@torch.inference_mode()
def test_the_pictures_that_fit_best_and_do_not_belong_are_mined(
    model: InterBert, among: Negatives, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mining, "TEXTS_AT_ONCE", 10)
    monkeypatch.setattr(mining, "IMAGES_AT_ONCE", 7)
    found = mine(model, among, pool=5)
    assert found.shape == (96, 5)
    corpus = among.corpus
    images = torch.cat([model(make_batch([""], None, [corpus.regions(int(i))])).image_vector for i in among.images])
    for row in (0, 41, 95):
        text = int(among.texts[row])
        vector = model(make_batch([""], [corpus.words(text).tolist()], None)).text_vector
        margins = model.margins_alone(vector, images)[0].numpy()
        margins[among.belonging.matrix(np.array([text]), among.images)[0]] = -np.inf
        assert set(found[row]) == set(among.images[np.argsort(-margins)[:5]])


@torch.inference_mode()
def test_nothing_mined_belongs_and_what_is_missing_is_minus_one(model: InterBert, among: Negatives) -> None:
    found = mine(model, among, pool=48)
    for row, text in enumerate(among.texts.tolist()):
        pictures = found[row][found[row] >= 0]
        assert len(pictures) == 45  # of 48, three are of its kind
        assert not among.belonging.matrix(np.array([text]), pictures.astype(np.int64)).any()
        assert (found[row][45:] == -1).all()


@torch.inference_mode()
def test_between_blocks_mining_gives_way(model: InterBert, among: Negatives) -> None:
    asked: list[int] = []

    def stop_at_the_fifth() -> None:
        asked.append(len(asked))
        if len(asked) == 5:
            raise Stopped

    with pytest.raises(Stopped):
        mine(model, among, pool=4, give_way=stop_at_the_fifth)


@torch.inference_mode()
def test_two_processes_mine_what_one_mines(model: InterBert, among: Negatives, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mining, "TEXTS_AT_ONCE", 20)  # five blocks: the second process does the last one twice
    wanted, parts = mine(model, among, pool=4), []
    monkeypatch.setattr(Parallel, "gathered", lambda self, value: parts.append(value) or parts)
    for rank in range(2):
        found = mine(model, among, pool=4, parallel=Parallel(rank, 2))
    assert sorted(parts[0] | parts[1]) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(found, wanted)


def test_a_file_gives_back_what_was_mined(tmp_path: Path) -> None:
    file = tmp_path / "hard-negatives" / "epoch-000.npy"
    Mined(np.array([[3, 1, -1], [2, 0, 1]], np.int32)).save(file)
    found = Mined.load(file, captions=2)
    assert found.of(0).tolist() == [3, 1]
    assert found.of(1).tolist() == [2, 0, 1]
    assert "Hard negatives" in file.with_name("README.md").read_text(encoding="utf-8")


def test_a_file_that_is_not_there_or_of_other_captions_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "epoch-001.npy"
    with pytest.raises(InterbertError, match="can not be read"):
        Mined.load(file, captions=2)
    Mined(np.zeros((3, 1), np.int32)).save(file)
    with pytest.raises(InterbertError, match="of 3 captions, wanted 2"):
        Mined.load(file, captions=2)
