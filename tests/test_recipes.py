"""Recipes: valid as they stand, and the paper's numbers where they are the paper's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from interbert.errors import UsageError
from interbert.model.interbert import InterBert
from interbert.pretraining.job import Pretraining
from interbert.pretraining.stages import Masking
from interbert.recipes import NEW_WEIGHTS, PRETRAINING, pretraining_recipe
from interbert.settings import changed, to_toml
from interbert.weights.bert import BERT_TO_OURS


def stages(plan: Pretraining) -> list[tuple[str, int]]:
    return [(stage.name, stage.epochs) for stage in plan.stages]


@pytest.mark.parametrize("name", PRETRAINING)
def test_a_recipe_is_whole(name: str) -> None:
    plan = pretraining_recipe(name)
    assert plan.batch_size % 2 == 0
    assert sum(stage.epochs for stage in plan.stages) >= 1
    assert pretraining_recipe(name) == plan
    assert f"batch_size = {plan.batch_size}" in to_toml(plan).splitlines()


@pytest.mark.parametrize("name", PRETRAINING)
def test_every_recipe_says_what_it_is_for(name: str) -> None:
    assert PRETRAINING[name].__doc__


def test_the_paper_has_the_numbers_of_its_appendix() -> None:
    plan = pretraining_recipe("paper")
    training = plan.training
    assert stages(plan) == [("msm+mrm+itm", 20)]
    assert plan.batch_size == 512
    assert (training.learning_rate, training.warmup_steps) == (1e-4, 10_000)
    assert (training.betas, training.eps, training.weight_decay) == ((0.9, 0.999), 1e-6, 0.01)
    assert (training.faster, training.ema) == ((), None)


def test_the_paper_masks_as_its_section_3_3() -> None:
    masking = pretraining_recipe("paper").masking
    assert (masking.mlm_rate, masking.msm_rate, masking.max_following) == (0.15, 0.10, 2)
    assert (masking.mom_rate, masking.mrm_rate, masking.mrm_overlap) == (0.15, 0.15, 0.4)
    assert (masking.region_targets, masking.sides, masking.whole_words, masking.mrm_inclusive) == (
        "hard",
        "both",
        False,
        False,
    )


def test_the_paper_is_bert_base_with_six_layers_of_each_side_and_2048_features_of_1601_classes() -> None:
    model = pretraining_recipe("paper").model
    assert (model.interaction_layers, model.independence_layers) == (12, 6)
    assert (model.hidden_size, model.feed_forward_size, model.heads) == (768, 3072, 12)
    assert (model.region_feature_size, model.region_classes, model.fusion) == (2048, 1601, "mul")
    assert (model.region_confidence, model.region_standardised) == (False, False)


def test_the_paper_does_nothing_that_is_beyond_the_paper() -> None:
    plan = pretraining_recipe("paper")
    assert not plan.augmentation.mirror
    assert plan.augmentation.region_dropout == 0
    assert [(stage.matching, stage.hard_negatives) for stage in plan.stages] == [("interact", 0.0)]


def test_two_stages_are_table_4() -> None:
    plan = pretraining_recipe("two-stages")
    assert stages(plan) == [("mlm+mom+itm", 5), ("msm+mrm+itm", 10)]
    assert replace(plan, stages=pretraining_recipe("paper").stages) == pretraining_recipe("paper")


def test_the_release_masks_and_aims_otherwise() -> None:
    plan = pretraining_recipe("released")
    assert plan.masking == Masking(mrm_rate=0.10, mrm_inclusive=True, region_targets="soft")
    assert (plan.model.interaction_layers, plan.model.image_heads, plan.model.text_position) == (6, 8, "table")


def test_new_weights_are_all_that_no_bert_fills() -> None:
    sizes = replace(pretraining_recipe("small").model, hidden_size=24, feed_forward_size=8, vocabulary_size=9)
    model = InterBert(sizes)
    filled = tuple(ours.split("{")[0] for _, ours in BERT_TO_OURS if not ours.startswith("word_head"))
    for name, _ in model.named_parameters():
        assert name.startswith(NEW_WEIGHTS) != name.startswith(filled), name


def test_a_recipe_can_be_changed_setting_by_setting() -> None:
    plan = changed(pretraining_recipe("tiny"), {"batch_size": "8", "training.learning_rate": "0.5"})
    assert (plan.batch_size, plan.training.learning_rate) == (8, 0.5)


def test_a_recipe_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"there is no recipe 'two_stages'; did you mean 'two-stages'\? Known: paper,"):
        pretraining_recipe("two_stages")
