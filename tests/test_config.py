"""The configuration, its presets, and settings as given on the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interbert.config import PRESETS, ModelConfig, preset, with_settings
from interbert.errors import UsageError


@dataclass(frozen=True)
class Optimizer:
    rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.98)


@dataclass(frozen=True)
class Run:
    steps: int = 10
    name: str = "a"
    shuffle: bool = True
    limit: int | None = None
    optimizer: Optimizer = Optimizer()


def test_the_paper_preset_has_the_papers_sizes() -> None:
    paper = preset("paper")
    assert (paper.hidden_size, paper.heads, paper.feed_forward_size) == (768, 12, 3072)
    assert (paper.interaction_layers, paper.independence_layers) == (12, 6)


def test_the_released_preset_differs_where_the_release_does() -> None:
    released = preset("released")
    assert (released.interaction_layers, released.independence_layers, released.image_heads) == (6, 6, 8)
    assert replace(released, interaction_layers=12, image_heads=None, text_position="mlp", image_dropout=None) == (
        preset("paper")
    )


def test_an_unknown_preset_is_told_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'small'"):
        preset("smal")


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_comes_back_from_json(name: str) -> None:
    assert ModelConfig.from_json(json.loads(json.dumps(PRESETS[name].to_json()))) == PRESETS[name]


def test_a_configuration_of_another_model_is_refused() -> None:
    with pytest.raises(UsageError, match="'bert'"):
        ModelConfig.from_json({"model_type": "bert"})
    with pytest.raises(UsageError, match="did you mean 'hidden_size'"):
        ModelConfig.from_json({"model_type": "interbert", "hiden_size": 4})


@pytest.mark.parametrize("heads", ["heads", "image_heads"])
def test_heads_must_divide_the_hidden_size(heads: str) -> None:
    with pytest.raises(UsageError, match=f"^{heads}: got 7, which does not divide hidden_size 64"):
        with_settings(PRESETS["tiny"], {heads: 7})
    with pytest.raises(UsageError, match="got 0"):
        with_settings(PRESETS["tiny"], {"heads": "0"})


@pytest.mark.parametrize(
    ("key", "text", "wanted"),
    [
        ("steps", "12", 12),
        ("name", "12", "12"),
        ("shuffle", "false", False),
        ("shuffle", "True", True),
        ("limit", "none", None),
        ("limit", "3", 3),
        ("optimizer.rate", "1", 1.0),
        ("optimizer.rate", "2e-5", 2e-5),
        ("optimizer.betas", "[0.5, 1]", (0.5, 1.0)),
    ],
)
def test_text_is_read_as_the_fields_type(key: str, text: str, wanted: Any) -> None:
    changed = with_settings(Run(), {key: text})
    for name in key.split("."):
        changed = getattr(changed, name)
    assert changed == wanted
    assert type(changed) is type(wanted)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("steps", "many", "steps: got 'many', wanted int"),
        ("steps", "1.5", "steps: got '1.5', wanted int"),
        ("steps", "true", "steps: got 'true', wanted int"),
        ("shuffle", "1", "shuffle: got '1', wanted bool"),
        ("optimizer.rte", "1", "did you mean 'optimizer.rate'"),
        ("steps.more", "1", "'steps' has no parts"),
        ("optimizer", "fast", "wanted Optimizer"),
        ("optimizer.rate", "NaN", "rate: got 'NaN', wanted float"),
        ("optimizer.betas", "3", "betas: got '3', wanted a list"),
    ],
)
def test_a_setting_that_does_not_fit_is_a_sentence(key: str, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        with_settings(Run(), {key: text})


def test_a_choice_names_the_choices() -> None:
    with pytest.raises(UsageError, match="fusion: got 'add', wanted one of mul, sum"):
        with_settings(PRESETS["tiny"], {"fusion": "add"})


def test_two_changes_of_one_part_both_hold() -> None:
    changed = with_settings(Run(), {"optimizer.rate": "1", "optimizer.betas": [0, 1], "steps": 2})
    assert changed == Run(steps=2, optimizer=Optimizer(1.0, (0.0, 1.0)))
    assert Run().optimizer.rate == 1e-4


@given(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text())
def test_what_is_printed_can_be_read_again(steps: int, rate: float, shuffle: bool, name: str) -> None:
    run = Run(steps, name, shuffle, None, Optimizer(rate))
    printed = {"steps": str(steps), "name": name, "shuffle": str(shuffle), "optimizer.rate": repr(rate)}
    assert with_settings(Run(), printed) == run
