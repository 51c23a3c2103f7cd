"""interbert.training.state"""

from __future__ import annotations

import torch
from torch import nn
from toy import ToyModel

from interbert.training.optimizer import make_optimizer
from interbert.training.parallel import Parallel
from interbert.training.settings import Training
from interbert.training.state import differences, machine_facts, restore, tensors_of


def test_equal_facts_have_no_differences() -> None:
    facts = machine_facts(Parallel(), "fp32", fast_matmul=False)
    assert differences({"machine": facts}, {"machine": dict(facts)}) == []


def test_each_difference_is_named_by_its_path_with_both_values() -> None:
    before = {"job": {"seed": 1, "pairs": 8}, "machine": {"threads": 2}}
    now = {"job": {"seed": 2, "pairs": 8}, "machine": {"threads": 2, "gpu": "H100"}}
    assert differences(before, now) == [
        "job.seed: 1 in the checkpoint, now 2",
        "machine.gpu: None in the checkpoint, now H100",
    ]


def test_tied_weights_are_saved_once_and_buffers_too() -> None:
    model = ToyModel()
    saved = tensors_of(model, make_optimizer(model, Training()), None, Parallel())
    assert "scale" in saved["model"]
    assert "embedding.weight" in saved["model"]
    assert "word_head.weight" not in saved["model"]
    assert saved["optimizer"] == {}


def test_the_process_that_does_not_write_keeps_nothing() -> None:
    model = nn.Linear(2, 2)
    assert tensors_of(model, make_optimizer(model, Training()), None, Parallel(rank=1))["model"] == {}


def test_restored_weights_are_copies() -> None:
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    saved = tensors_of(one, make_optimizer(one, Training()), None, Parallel())
    restore(other, make_optimizer(other, Training()), None, saved)
    assert torch.equal(one.weight, other.weight)
    assert one.weight.data_ptr() != other.weight.data_ptr()
