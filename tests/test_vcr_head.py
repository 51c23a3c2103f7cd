"""The score of a text whose words are linked to regions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from task_helpers import CONFIG, task_model
from vcr_helpers import batch_of, linked, opened

from interbert.tasks.vcr import VcrOptions
from interbert.tasks.vcr_head import scores_of


def test_a_new_head_reads_as_if_nothing_were_linked(tmp_path: Path) -> None:
    task = opened(tmp_path, VcrOptions(stand_ins=True), pictures=1)
    model, batch = task_model(task.head(CONFIG)), batch_of(task, 2)
    assert batch.links is not None
    assert batch.links.any()
    unlinked = replace(batch, links=torch.zeros_like(batch.links))
    assert torch.equal(scores_of(model, batch), scores_of(model, unlinked))


def test_which_region_a_name_is_linked_to_changes_the_score(tmp_path: Path) -> None:
    task = opened(tmp_path, VcrOptions(stand_ins=True), pictures=1)
    model, batch = linked(task), batch_of(task, 2)
    assert batch.links is not None
    moved = replace(batch, links=torch.where(batch.links == 1, 2, batch.links))
    assert not torch.allclose(scores_of(model, batch), scores_of(model, moved))


def test_a_score_does_not_depend_on_its_neighbours(tmp_path: Path) -> None:
    task = opened(tmp_path, VcrOptions(stand_ins=True), pictures=2)
    model = linked(task)
    together = scores_of(model, batch_of(task, 0, 5))
    assert torch.allclose(together, torch.cat([scores_of(model, batch_of(task, at)) for at in (0, 5)]), atol=1e-5)
