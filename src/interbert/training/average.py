"""The exponential moving average of the weights that a finetuned model is (A.2: rate 0.9999)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from interbert.training.parallel import laid_out_as, own_part


def average_rate(rate: float, updates: int, warmup: bool) -> float:
    """How much of the average stays at the update that follows `updates` others: min(rate, (1+t)/(10+t)), or `rate`.

    >>> average_rate(0.9999, 0, warmup=True), average_rate(0.9999, 0, warmup=False)
    (0.1, 0.9999)
    """
    return min(rate, (1 + updates) / (10 + updates)) if warmup else rate


class Average:
    """A second copy of the trained parameters that follows them; buffers are not averaged.

    tensors: by the parameter's name, each of its shape. Starts at the weights that the model has.
    """

    def __init__(self, model: nn.Module, rate: float, warmup: bool) -> None:
        self.rate, self.warmup = rate, warmup
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.tensors: dict[str, Tensor] = {name: p.detach().clone() for name, p in named.items()}

    @torch.no_grad()
    def update(self, model: nn.Module, updates: int) -> None:
        """Moves the average towards the weights; `updates` counts those before this one."""
        weights = dict(model.named_parameters())
        mine = [own_part(tensor) for tensor in self.tensors.values()]
        theirs = [own_part(weights[name].detach()) for name in self.tensors]
        torch._foreach_lerp_(mine, theirs, 1 - average_rate(self.rate, updates, self.warmup))

    @torch.no_grad()
    def restore(self, saved: Mapping[str, Tensor]) -> None:
        """Takes the average from a checkpoint; names and shapes must be the model's."""
        for name, tensor in self.tensors.items():
            tensor.copy_(laid_out_as(saved[name], tensor))

    @torch.no_grad()
    def write_to(self, model: nn.Module) -> None:
        """The model's weights become the average."""
        for name, parameter in model.named_parameters():
            if name in self.tensors:
                parameter.copy_(self.tensors[name])

    @contextmanager
    def in_place_of(self, model: nn.Module) -> Iterator[None]:
        """Inside the block the model has the average's weights."""
        before = {name: p.detach().clone() for name, p in model.named_parameters() if name in self.tensors}
        self.write_to(model)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if name in before:
                        parameter.copy_(before[name])
