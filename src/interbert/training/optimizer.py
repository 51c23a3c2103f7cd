"""AdamW with a linear warm-up and a linear decay (A.2), and the state of its moments as named tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from interbert.errors import InterbertError
from interbert.training.parallel import laid_out_as, whole
from interbert.training.settings import Training

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each parameter


def learning_rate(settings: Training, step: int, total_steps: int) -> float:
    """The rate of the update that follows `step` done ones: up to the peak, then down towards 0 at `total_steps`.

    >>> paper = Training(learning_rate=1e-4, warmup_steps=10_000)
    >>> f"{learning_rate(paper, 100_000, 186_600):.3e}"
    '4.904e-05'
    """
    share = int(settings.warmup_share * total_steps)
    warmup = share if settings.warmup_steps is None else settings.warmup_steps
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup  # + 1: the first update is not wasted at rate 0
    return settings.learning_rate * max(0, total_steps - step) / max(1, total_steps - warmup)


def make_optimizer(model: nn.Module, settings: Training) -> torch.optim.AdamW:
    """AdamW over what wants a gradient; matrices decay, biases and norms do not (one dimension)."""
    groups: list[dict[str, Any]] = [
        {"params": [], "weight_decay": decay, "factor": factor}
        for decay in (settings.weight_decay, 0.0)
        for factor in (1.0, settings.faster_by)
    ]
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_fast = any(name.startswith(beginning) for beginning in settings.faster)
            groups[2 * (parameter.ndim < 2) + is_fast]["params"].append(parameter)
    groups = [group for group in groups if group["params"]]
    fused = all(p.device.type in ("cpu", "cuda") for group in groups for p in group["params"])
    return torch.optim.AdamW(groups, settings.learning_rate, settings.betas, settings.eps, fused=fused)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group of parameters that rate, times the group's own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """The norm of all gradients taken as one vector; a scalar, whole on every process."""
    return whole(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))


def moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as `{"exp_avg/layer.weight": tensor, ...}`; a parameter never updated has none."""
    state = optimizer.state
    named = [(name, p) for name, p in model.named_parameters() if p in state]
    return {f"{moment}/{name}": state[parameter][moment] for name, parameter in named for moment in MOMENTS}


def restore_moments(model: nn.Module, optimizer: torch.optim.Optimizer, saved: Mapping[str, Tensor]) -> None:
    """The inverse of `moments`. Raises InterbertError where the names do not fit the model."""
    unused = set(saved)
    optimizer.state.clear()
    for name, parameter in model.named_parameters():
        keys = {moment: f"{moment}/{name}" for moment in MOMENTS if f"{moment}/{name}" in unused}
        if not keys:
            continue
        if len(keys) < len(MOMENTS):
            raise InterbertError(f"the checkpoint's optimizer has only {', '.join(keys)} of '{name}'")
        unused.difference_update(keys.values())
        step = saved[keys.pop("step")].to(parameter.device, copy=True)
        optimizer.state[parameter] = {moment: laid_out_as(saved[key], parameter) for moment, key in keys.items()}
        optimizer.state[parameter]["step"] = step
    if unused:
        raise InterbertError(f"the checkpoint's optimizer has '{min(unused)}', which the model has not")
