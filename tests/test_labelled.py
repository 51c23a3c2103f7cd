"""Labelled pairs out of files, region stores and corpora, and their margins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pretraining_helpers import EXTRACTOR, random_corpus, random_regions
from task_helpers import saved_run

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.scoring.labelled import LabelledPairs, labelled_pairs, scored
from interbert.scoring.scorer import Scorer, load
from interbert.vision.images import ImageError
from interbert.vision.store import RegionStore

ROWS = [("a dog", "a.jpg", 1), ("a cat", "a.jpg", 0), ("two cats", "b", 1), ("a tree", "b", 0)]


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    return load(saved_run(tmp_path / "run"), device="cpu")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    with RegionStore.writer(tmp_path / "regions", EXTRACTOR) as writer:
        for id in ("a", "b"):
            writer.append(id, random_regions(random, 5))
    return tmp_path / "regions"


def pairs_of(scorer: Scorer, place: Path, store: Path | None = None, **changes: Any) -> LabelledPairs:
    return labelled_pairs(
        scorer, place, **({"store": store, "split": "validation", "negatives": 1, "seed": 0} | changes)
    )


def jsonl(path: Path, rows: list[tuple[Any, ...]], **more: Any) -> Path:
    lines = [json.dumps({"text": text, "image": image, "label": label} | more) for text, image, label in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_margins_of_a_file_are_those_of_its_pairs(scorer: Scorer, store: Path, tmp_path: Path) -> None:
    found = scored(scorer, pairs_of(scorer, jsonl(tmp_path / "pairs.jsonl", ROWS), store))
    regions = RegionStore(store)
    wanted = scorer.margins([(text, regions[image[0]]) for text, image, _ in ROWS])
    np.testing.assert_allclose(found.margins, wanted, atol=1e-5)
    assert found.true.tolist() == [True, False, True, False]
    assert found.pictures == ["a.jpg", "a.jpg", "b", "b"]


def test_a_csv_and_a_jsonl_of_the_same_pairs_are_the_same(scorer: Scorer, store: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("label,text,image\n" + "".join(f"{b},{t},{i}\n" for t, i, b in ROWS))
    of_csv = pairs_of(scorer, tmp_path / "pairs.csv", store)
    of_jsonl = pairs_of(scorer, jsonl(tmp_path / "pairs.jsonl", ROWS), store)
    assert list(of_csv.pairs) == list(of_jsonl.pairs)
    assert of_csv.digest == of_jsonl.digest


def test_of_rows_with_splits_only_those_asked_for_are_taken(scorer: Scorer, store: Path, tmp_path: Path) -> None:
    jsonl(tmp_path / "train.jsonl", ROWS[:1])
    jsonl(tmp_path / "test.jsonl", ROWS[1:])
    assert len(pairs_of(scorer, tmp_path, store, split="test").pairs) == 3
    with pytest.raises(InterbertError, match="no validation split in the data, only test, train"):
        pairs_of(scorer, tmp_path, store)


@pytest.mark.parametrize("label", ["yes", 2, None, 0.5])
def test_a_label_that_is_none_is_said(scorer: Scorer, store: Path, tmp_path: Path, label: object) -> None:
    with pytest.raises(InterbertError, match="wanted 1 where text and picture belong together, else 0"):
        pairs_of(scorer, jsonl(tmp_path / "pairs.jsonl", [("a dog", "a", label)]), store)


def test_pictures_that_are_not_there_are_counted(scorer: Scorer, store: Path, tmp_path: Path) -> None:
    given = pairs_of(scorer, jsonl(tmp_path / "pairs.jsonl", [*ROWS, ("a dog", "nowhere", 1)]), store)
    assert len(scored(scorer, given).margins) == 4
    assert given.left_out == {"its picture cannot be read": 1}


def test_pictures_stand_beside_the_file_without_a_store(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def extracted(images: list[Path]) -> list[Regions]:
        asked.extend(images)
        if images[0].name == "b":
            raise ImageError("it is damaged")
        return [random_regions(np.random.default_rng(0), 4)]

    given = pairs_of(scorer, jsonl(tmp_path / "pairs.jsonl", ROWS))
    with monkeypatch.context() as patch:
        patch.setattr(scorer, "regions", lambda images: extracted(images) if isinstance(images[0], Path) else images)
        found = scored(scorer, given)
    assert asked == [tmp_path / "a.jpg", tmp_path / "b"]  # each once
    assert found.pictures == ["a.jpg", "a.jpg"]
    assert given.left_out == {"its picture cannot be read": 2}


def test_a_store_of_another_extractor_is_refused(scorer: Scorer, tmp_path: Path) -> None:
    with RegionStore.writer(tmp_path / "other", replace(EXTRACTOR, settings={"max_regions": 9})) as writer:
        writer.append("a", random_regions(np.random.default_rng(0), 5))
    with pytest.raises(InterbertError, match="extract the pictures with the run's extractor"):
        pairs_of(scorer, jsonl(tmp_path / "pairs.jsonl", ROWS), tmp_path / "other")


def test_a_text_of_a_corpus_gets_its_own_picture_and_others(scorer: Scorer, tmp_path: Path) -> None:
    corpus = random_corpus(tmp_path)
    given = pairs_of(scorer, tmp_path / "corpus", negatives=3)
    texts = [corpus.text(int(text)) for text in corpus.split("validation")]
    assert len(given.pairs) == 4 * len(texts)
    for at, text in enumerate(texts):
        own, *others = given.pairs[4 * at : 4 * at + 4]
        held = corpus.image_id(corpus.image_of(int(corpus.split("validation")[at])))
        assert (own.text, own.picture, own.belongs) == (text, held, True)
        assert len({one.picture for one in others} - {held}) == 3
        assert not any(one.belongs for one in others)
    assert given.pairs == pairs_of(scorer, tmp_path / "corpus", negatives=3).pairs
    assert given.pairs != pairs_of(scorer, tmp_path / "corpus", negatives=3, seed=1).pairs
    assert scored(scorer, given).margins.shape == (len(given.pairs),)
