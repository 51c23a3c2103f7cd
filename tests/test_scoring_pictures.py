"""A text against a folder or a region store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.scoring.pictures import Ranked, rank_pictures
from interbert.vision.images import ImageError
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore

INFO = ExtractorInfo("counting", 1)


class ByFirstFeature:
    """Stands for a Scorer: the score is the first number, for a file a tenth of its name."""

    extractor = INFO

    def regions(self, images: list[Path]) -> list[Regions]:
        if not images[0].stem.isdigit():
            raise ImageError("it is damaged")
        return [regions(int(images[0].stem) / 10)]

    def rank(self, text: str, documents: list[Regions], top_k: int | None, show_progress_bar: Any) -> list[Any]:
        scores = [(at, float(one.features[0, 0])) for at, one in enumerate(documents)]
        best = sorted(scores, key=lambda pair: -pair[1])[:top_k]
        return [{"corpus_id": at, "score": score} for at, score in best]


def regions(number: float) -> Regions:
    box = np.array([[0, 0, 4, 4]], np.float32)
    return Regions(np.full((1, 1), number, np.float32), box, (4, 4), np.zeros(1, np.int64), np.ones(1, np.float32))


@pytest.fixture
def scorer() -> Any:
    return ByFirstFeature()


def test_pictures_of_a_folder_are_ranked_and_broken_ones_counted(scorer: Any, tmp_path: Path) -> None:
    for name in ("2", "9", "5", "broken"):
        (tmp_path / f"{name}.png").touch()
    ranking = rank_pictures(scorer, "a text", tmp_path, top_k=2, progress=False)
    assert ranking.results == [Ranked("9", pytest.approx(0.9)), Ranked("5", pytest.approx(0.5))]
    assert ranking.scored == 3
    assert ranking.failed == {"broken": "it is damaged"}


def test_a_folder_of_broken_pictures_is_an_error(scorer: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.png").touch()
    with pytest.raises(InterbertError, match="none of its 1 pictures can be read; the first: it is damaged"):
        rank_pictures(scorer, "a text", tmp_path, progress=False)


def store_of(folder: Path, info: ExtractorInfo) -> Path:
    with RegionStore.writer(folder, info) as writer:
        writer.append("low", regions(0.25))
        writer.append("high", regions(0.75))
    return folder


def test_a_region_store_is_ranked_without_reading_pictures(scorer: Any, tmp_path: Path) -> None:
    ranking = rank_pictures(scorer, "a text", store_of(tmp_path / "store", INFO), progress=False)
    assert [one.id for one in ranking.results] == ["high", "low"]
    assert ranking.failed == {}


def test_a_store_of_another_extractor_is_refused(scorer: Any, tmp_path: Path) -> None:
    other = store_of(tmp_path / "store", replace(INFO, settings={"max_regions": 9}))
    with pytest.raises(InterbertError, match="extract the pictures with the run's extractor"):
        rank_pictures(scorer, "a text", other, progress=False)
