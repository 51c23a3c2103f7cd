"""Remembered scores: what was kept comes back, the oldest topics are forgotten, a broken file harms nobody."""

from __future__ import annotations

import logging
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from interbert.recall.memory import NEVER, Measurement, ScoreMemory


def kept(memory: ScoreMemory, topic: str, *pictures: int, model: str = "m") -> None:
    memory.keep(model, topic, np.array(pictures, np.int64), np.array(pictures, np.float32) / 100)


def known(memory: ScoreMemory, topic: str, model: str = "m") -> dict[int, float]:
    pictures, margins = memory.margins(model, topic)
    return dict(zip(pictures.tolist(), margins.round(4).tolist(), strict=True))


def test_scores_come_back_for_their_model_and_topic(tmp_path: Path) -> None:
    memory = ScoreMemory(tmp_path / "scores.sqlite")
    kept(memory, "红色的鞋", 7, 3)
    kept(memory, "红色的鞋", 5, 3)
    again = ScoreMemory(tmp_path / "scores.sqlite")
    assert list(known(again, "红色的鞋")) == [3, 5, 7]
    assert known(again, "红色的鞋")[7] == pytest.approx(0.07)
    assert known(again, "红色的鞋", model="other") == known(again, "hats") == {}


def test_many_threads_may_keep_scores_of_one_topic(tmp_path: Path) -> None:
    memory = ScoreMemory(tmp_path / "scores.sqlite")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: kept(memory, "red shoes", number), range(40)))
    assert list(known(memory, "red shoes")) == list(range(40))


def test_the_topics_that_were_asked_for_longest_ago_are_forgotten(tmp_path: Path) -> None:
    memory = ScoreMemory(tmp_path / "scores.sqlite", most_bytes=8 * 6)
    for topic in ("a", "b", "c"):
        kept(memory, topic, 1, 2)
    assert known(memory, "a")  # is now the one asked for last
    kept(memory, "d", 1, 2)
    assert [bool(known(memory, topic)) for topic in "abcd"] == [True, False, True, True]
    kept(memory, "e", *range(7))  # alone more than there is room for
    assert not known(memory, "e")
    assert known(memory, "d")


def test_damaged_scores_are_computed_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    memory = ScoreMemory(tmp_path / "scores.sqlite")
    kept(memory, "a", 1, 2)
    with sqlite3.connect(tmp_path / "scores.sqlite") as connection:
        connection.execute("UPDATE topics SET margins = zeroblob(8)")
    connection.close()
    assert known(memory, "a") == {}
    assert "are damaged; they are computed again" in caplog.text
    kept(memory, "a", 1)
    assert list(known(memory, "a")) == [1]


def test_a_file_that_cannot_be_used_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "scores.sqlite").mkdir()
    with caplog.at_level(logging.WARNING):
        memory = ScoreMemory(tmp_path / "scores.sqlite")
        kept(memory, "a", 1)
    assert known(memory, "a") == {}
    assert caplog.text.count("scores are not remembered") == 1


def test_a_measurement_is_kept_and_read_for_any_number_of_candidates(tmp_path: Path) -> None:
    memory = ScoreMemory(tmp_path / "scores.sqlite")
    assert memory.measurement("m") is None
    ranks = np.array([[0, 1, NEVER], [20, 40, 60]], np.int32)
    memory.keep_measurement(Measurement("m", "2026", 1, 10, 10, ranks * 0))
    memory.keep_measurement(Measurement("m", "2026", 3, 10, 100, ranks))
    found = memory.measurement("m")
    assert found is not None
    assert (found.version, found.all_pictures, found.ranks.tolist()) == (3, 100, ranks.tolist())
    assert found.recall(20) == pytest.approx(2 / 6)
    assert found.recall(99) == pytest.approx(5 / 6)
    assert found.recall(5, of=10) == pytest.approx(4 / 6)  # 5 of 10 that pass a filter are 50 of all
    assert found.recall(100) == 1
    assert found.to_json(20)["topics"] == 2


def test_a_measurement_stays_where_no_score_was_remembered_yet(tmp_path: Path) -> None:
    memory = ScoreMemory(tmp_path / "scores.sqlite")
    memory.keep_measurement(Measurement("m", "now", 1, 2, 2, np.zeros((1, 2), np.int32)))
    memory.belong_to({1: "a"}.get)
    assert memory.measurement("m") is not None


def test_margins_of_another_state_of_the_index_are_forgotten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    memory, keys = ScoreMemory(tmp_path / "scores.sqlite"), {1: "a", 2: "b", 5: "e"}
    memory.belong_to(keys.get)
    memory.keep("m", "dog", np.array([1, 5]), np.array([0.1, 0.5], np.float32))
    again = ScoreMemory(tmp_path / "scores.sqlite")
    again.belong_to({**keys, 6: "f"}.get)
    assert again.margins("m", "dog")[0].tolist() == [1, 5]
    again.belong_to({1: "a", 2: "b", 5: "another", 6: "e"}.get)  # a backup was put back, and others came
    assert not len(again.margins("m", "dog")[0])
    assert "is of another state of the index; scores are computed again" in caplog.text
