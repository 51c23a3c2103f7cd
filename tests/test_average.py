"""interbert.training.average"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from interbert.training.average import Average, average_rate


def one_weight(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def test_the_rate_starts_low_and_ends_at_the_papers() -> None:
    assert average_rate(0.9999, 0, warmup=True) == 0.1
    assert average_rate(0.9999, 90, warmup=True) == 0.91
    assert average_rate(0.9999, 10**6, warmup=True) == 0.9999


def test_the_pure_rate_never_leaves_the_start_of_a_short_run() -> None:
    model = one_weight(0.0)
    average = Average(model, 0.9999, warmup=False)
    nn.init.constant_(model.weight, 1.0)
    for step in range(100):
        average.update(model, step)
    assert float(average.tensors["weight"]) == pytest.approx(1 - 0.9999**100, abs=1e-6)  # 0.00995


def test_the_average_follows_the_weights() -> None:
    model = one_weight(0.0)
    average = Average(model, 0.5, warmup=False)
    for step, value in enumerate((8.0, 4.0)):
        nn.init.constant_(model.weight, value)
        average.update(model, step)
    assert float(average.tensors["weight"]) == 4.0  # 0 -> 4 -> 4


def test_the_average_stands_in_for_the_weights_and_leaves_them() -> None:
    model = one_weight(0.0)
    average = Average(model, 0.5, warmup=False)
    nn.init.constant_(model.weight, 2.0)
    average.update(model, 0)
    with pytest.raises(KeyError), average.in_place_of(model):  # noqa: PT012  what the block leaves behind is the test
        assert model.weight.item() == 1.0
        raise KeyError
    assert model.weight.item() == 2.0
    average.write_to(model)
    assert model.weight.item() == 1.0


def test_the_average_comes_back_from_a_checkpoint() -> None:
    model = one_weight(0.0)
    average = Average(model, 0.5, warmup=True)
    average.restore({"weight": torch.tensor([[7.0]])})
    assert float(average.tensors["weight"]) == 7.0
    assert model.weight.item() == 0.0
