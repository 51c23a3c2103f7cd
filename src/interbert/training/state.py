"""Everything that a run needs to go on: taken from the model and its optimizer for a checkpoint, and put back.

The facts beside the tensors say what the next bit depends on; `differences` finds what is not as it was.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from interbert.errors import InterbertError
from interbert.training.average import Average
from interbert.training.optimizer import moments, restore_moments
from interbert.training.parallel import Parallel, laid_out_as, whole

Groups = dict[str, dict[str, Tensor]]


def tensors_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None, parallel: Parallel
) -> Groups:
    """Whole tensors on the CPU of every group that a checkpoint holds; empty groups but on the process that writes.

    Called by all processes, for with FSDP each gives its part.
    """
    groups: dict[str, Mapping[str, Tensor]] = {"model": _weights(model), "optimizer": moments(model, optimizer)}
    if average is not None:
        groups["average"] = average.tensors
    kept: Groups = {group: {} for group in groups}
    for group, named in groups.items():
        for name, tensor in named.items():
            full = whole(tensor)
            if parallel.leads:
                kept[group][name] = full.detach().cpu()
    return kept


def restore(model: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None, saved: Groups) -> None:
    """The inverse of `tensors_of`. Raises InterbertError where the checkpoint is of another model."""
    weights, theirs = _weights(model), saved["model"]
    for name in sorted(weights.keys() | theirs.keys()):
        got = list(theirs[name].shape) if name in theirs else "nothing"
        wanted = list(weights[name].shape) if name in weights else "nothing"
        if got != wanted:
            raise InterbertError(
                f"the checkpoint is of another model: '{name}' is {got}, here {wanted}. "
                "Start a new run in another folder."
            )
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(laid_out_as(theirs[name], tensor))
    restore_moments(model, optimizer, saved["optimizer"])
    if average is not None:
        average.restore(saved.get("average", theirs))


def machine_facts(parallel: Parallel, precision: str, fast_matmul: bool) -> dict[str, Any]:
    """What of the machine and the libraries the bits of a result depend on."""
    facts: dict[str, Any] = {
        "torch": torch.__version__,
        "processes": parallel.world,
        "parallel": parallel.kind,
        "precision": precision,
        "device": parallel.device.type,
        "threads": torch.get_num_threads(),
    }
    if parallel.device.type == "cuda":
        return facts | {"gpu": torch.cuda.get_device_name(parallel.device)}
    able = {"cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}", "fast_matmul": fast_matmul}
    return facts | able | {"cpu_name": str(torch.cpu.get_capabilities().get("cpu_name", "unknown"))}


def differences(before: Mapping[str, Any], now: Mapping[str, Any], inside: str = "") -> list[str]:
    """One phrase for each fact that is not equal: "threads: 2 in the checkpoint, now 1"; nested facts by their path."""
    found = []
    for name in sorted(before.keys() | now.keys()):
        was, is_now = before.get(name), now.get(name)
        if isinstance(was, dict) and isinstance(is_now, dict):
            found += differences(was, is_now, f"{inside}{name}.")
        elif was != is_now:
            found.append(f"{inside}{name}: {was} in the checkpoint, now {is_now}")
    return found


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and saved buffers, each tied one once."""
    kept = model.state_dict().keys()
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach() for name, tensor in named if name in kept}
