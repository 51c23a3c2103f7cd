"""interbert.training.optimizer"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from interbert.errors import InterbertError
from interbert.training.optimizer import (
    gradient_norm,
    learning_rate,
    make_optimizer,
    moments,
    restore_moments,
    set_learning_rate,
)
from interbert.training.settings import Training


def test_the_papers_rate_at_step_100000_is_as_printed() -> None:
    paper = Training(learning_rate=1e-4, warmup_steps=10_000)
    assert learning_rate(paper, 100_000, 186_600) == pytest.approx(4.904e-5, abs=5e-9)


def test_the_rate_rises_to_the_peak_and_falls_towards_zero() -> None:
    settings = Training(learning_rate=1.0, warmup_steps=4)
    rates = [learning_rate(settings, step, 8) for step in range(9)]
    assert rates == [0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]


def test_a_warm_up_may_be_given_as_a_share_of_the_run() -> None:
    assert learning_rate(Training(learning_rate=1.0, warmup_share=0.5), 1, 8) == 0.5


def test_matrices_decay_and_biases_and_norms_do_not() -> None:
    model = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    decayed, kept = make_optimizer(model, Training(weight_decay=0.01)).param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(3, 4), (4, 4)]
    assert [tuple(p.shape) for p in kept["params"]] == [(4,), (4,), (4,)]
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.01, 0.0)


def test_named_parts_learn_faster_and_follow_the_same_schedule() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = make_optimizer(model, Training(faster=("1.",), faster_by=4.0))
    set_learning_rate(optimizer, 0.1)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert [rates[id(p)] for p in model.parameters()] == [0.1, 0.1, 0.4, 0.4]


def test_the_first_update_is_the_rate_in_the_direction_against_the_gradient() -> None:
    model = nn.Linear(2, 1, bias=False)
    before = model.weight.detach().clone()
    optimizer = make_optimizer(model, Training(learning_rate=0.1, weight_decay=0.5, eps=1e-12))
    model.weight.grad = torch.tensor([[3.0, -0.2]])
    optimizer.step()
    wanted = before * (1 - 0.1 * 0.5) - 0.1 * torch.tensor([[1.0, -1.0]])  # AdamW: the decay is apart from the moments
    torch.testing.assert_close(model.weight.detach(), wanted)


def test_the_gradient_norm_is_of_all_gradients_as_one_vector() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(5))]
    parameters[0].grad, parameters[1].grad = torch.tensor([2.0, 3.0]), torch.tensor([6.0])
    assert float(gradient_norm(parameters)) == 7.0


def test_moments_go_out_and_come_back() -> None:
    model = nn.Linear(2, 2)
    optimizer = make_optimizer(model, Training())
    model.weight.grad = torch.ones(2, 2)  # the bias has none: it was never updated
    optimizer.step()
    saved = {name: tensor.clone() for name, tensor in moments(model, optimizer).items()}
    assert saved.keys() == {"step/weight", "exp_avg/weight", "exp_avg_sq/weight"}
    other = make_optimizer(model, Training())
    restore_moments(model, other, saved)
    assert all(torch.equal(tensor, moments(model, other)[name]) for name, tensor in saved.items())


@pytest.mark.parametrize("names", [["exp_avg/weight"], ["exp_avg/other", "exp_avg_sq/other", "step/other"]])
def test_moments_of_another_model_are_refused(names: list[str]) -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(InterbertError, match=names[0].split("/")[1]):
        restore_moments(model, make_optimizer(model, Training()), {name: torch.zeros(2, 2) for name in names})
