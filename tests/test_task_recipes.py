"""Recipes of finetuning: valid as they stand, and the paper's numbers where they are the paper's."""

from __future__ import annotations

import pytest

from interbert.errors import UsageError
from interbert.settings import to_toml
from interbert.task_recipes import FINETUNING, finetuning_recipe
from interbert.tasks.table import TASKS


@pytest.mark.parametrize(("task", "name"), FINETUNING)
def test_a_finetuning_recipe_is_whole(task: str, name: str) -> None:
    plan = finetuning_recipe(task, name)
    assert plan.task == task
    assert type(plan.options) is type(TASKS[task].default_options())
    assert plan.training.ema is not None  # A.2: every finetuned model is an average
    assert f"batch_size = {plan.batch_size}" in to_toml(plan).splitlines()


def test_every_task_has_the_recipes_paper_small_and_tiny() -> None:
    named = {(task, name) for task in TASKS for name in ("paper", "small", "tiny")}
    assert named - set(FINETUNING) <= {("prefilter", "paper"), ("matching", "paper")}  # which is beyond the paper


@pytest.mark.parametrize(
    ("task", "rate", "batch_size", "epochs", "regions"),
    [
        ("retrieval", 4e-5, 32, 20, (90, 100)),
        ("vqa", 1e-4, 256, 20, (10, 100)),
        ("vcr", 2e-5, 32, 5, (10, 100)),
        ("cola", 2e-5, 128, 3, (1, 100)),
        ("rte", 2e-5, 128, 3, (1, 100)),
    ],
)
def test_the_papers_finetunings_are_a_2_and_a_3(
    task: str, rate: float, batch_size: int, epochs: int, regions: tuple[int, int]
) -> None:
    plan = finetuning_recipe(task, "paper")
    assert (plan.training.learning_rate, plan.batch_size, plan.epochs) == (rate, batch_size, epochs)
    assert (plan.min_regions, plan.max_regions) == regions
    assert (plan.training.ema, plan.training.ema_warmup) == (0.9999, True)
    assert plan.training.warmup_steps == (None if task in ("cola", "rte") else 10_000)


def test_a_finetuning_recipe_that_does_not_exist_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="there is no recipe of vqa 'papers'; did you mean 'paper'"):
        finetuning_recipe("vqa", "papers")
    with pytest.raises(UsageError, match="there is no task 'vqs'; did you mean 'vqa'"):
        finetuning_recipe("vqs", "paper")
