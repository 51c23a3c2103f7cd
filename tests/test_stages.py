"""Stages and masking rules: their names, their defaults, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from interbert.errors import UsageError
from interbert.pretraining.stages import Masking, Stage


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        (Stage(), "msm+mrm+itm"),
        (Stage("mlm", "mom"), "mlm+mom+itm"),
        (Stage("none", "none"), "itm"),
        (Stage("none", "mrm", matching="both"), "mrm+itm+alone"),
        (Stage("none", "none", matching="alone"), "alone"),
        (Stage("msm", "none", matching="none"), "msm"),
    ],
)
def test_a_stage_is_named_by_its_objectives(stage: Stage, name: str) -> None:
    assert stage.name == name


def test_a_stage_is_the_paper_s_hard_pair_unless_told_otherwise() -> None:
    stage = Stage()
    assert (stage.words, stage.regions, stage.matching, stage.hard_negatives) == ("msm", "mrm", "interact", 0.0)
    assert not stage.draws_late


def test_negatives_are_drawn_late_where_the_vectors_read_alone_choose_them() -> None:
    assert Stage(matching="both").draws_late
    assert Stage(hard_negatives=0.1).draws_late


@pytest.mark.parametrize("hidden", [("msm", "none"), ("none", "mrm"), ("msm", "mrm")])
def test_sides_read_alone_hide_nothing(hidden: tuple[Any, Any]) -> None:
    with pytest.raises(UsageError, match="'alone' reads no words and regions together"):
        Stage(*hidden, matching="alone")


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_hard_negatives_are_a_share(share: float) -> None:
    with pytest.raises(UsageError, match=f"hard_negatives: got {share}, wanted a share"):
        Stage(hard_negatives=share)


@pytest.mark.parametrize("name", ["mlm_rate", "msm_rate", "mom_rate", "mrm_rate", "mrm_overlap"])
@pytest.mark.parametrize("rate", [-0.1, 15.0])
def test_rates_of_masking_are_shares(name: str, rate: float) -> None:
    with pytest.raises(UsageError, match=f"{name}: got {rate}, wanted a share in 0..1"):
        Masking(**{name: rate})  # type: ignore[arg-type]


def test_a_segment_is_not_shorter_than_its_anchor() -> None:
    with pytest.raises(UsageError, match="max_following: got -1"):
        Masking(max_following=-1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"words": "none", "regions": "none"}, "nothing to learn"),
        ({"hard_negatives": 0.5}, "matching 'none' has no negatives"),
    ],
)
def test_a_stage_without_matching_hides_something_and_has_no_negatives(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Stage(**{"matching": "none", **settings})


@pytest.mark.parametrize(
    ("stage", "needs"),
    [(Stage("msm", "none", matching="none"), False), (Stage(matching="none"), True), (Stage(), True)],
)
def test_only_hidden_words_need_no_pictures(stage: Stage, needs: bool) -> None:
    assert stage.needs_pictures == needs
