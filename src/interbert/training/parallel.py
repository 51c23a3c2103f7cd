"""Several processes that train one model: DDP or FSDP2 around a model that knows nothing of either.

The processes are those that `torchrun` starts. Each gives its part of a step's batch; rank 0 alone writes. The run's
folder must be seen by all of them, for each reads a checkpoint itself.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.rendezvous import rendezvous
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from interbert.errors import InterbertError, UsageError

OVER, POLL_SECONDS = "over", 0.05
Result = TypeVar("Result")
Kind = Literal["plain", "ddp", "fsdp"]


@dataclass(frozen=True)
class Parallel:
    """This process among the `world` that train together; `Parallel()` is one process on the CPU."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    kind: Kind = "plain"

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def sum(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """The sums over all processes, which must give the same names."""
        names = sorted(numbers)
        if self.world == 1 or not names:
            return {name: float(numbers[name]) for name in names}
        values = torch.tensor([numbers[name] for name in names], dtype=torch.float64, device=self.device)
        dist.all_reduce(values)
        return dict(zip(names, values.tolist(), strict=True))

    def from_leader(self, value: Result) -> Result:
        """Rank 0's value, on every process."""
        if self.world == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, device=self.device)
        return values[0]

    def gathered(self, value: Result) -> list[Result]:
        """Every process's value, by rank."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values


def is_first_process() -> bool:
    """Whether this is the process that speaks and writes, joined or not: of torchrun's the first, else the only one."""
    return os.environ.get("RANK", "0") == "0"


class Inside(nn.Module):
    """Runs a function of the model as a forward of its own.

    So the hooks of DDP and FSDP stand around all that a loss does, also around heads used outside the model's forward.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[nn.Module], Result]) -> Result:
        return function(self.model)


class Shared:
    """The model as the processes share it. With FSDP, each holds a part of every weight from here on."""

    def __init__(self, model: nn.Module, parallel: Parallel) -> None:
        self.model = model
        self._module: Any = Inside(model)  # Any: FSDP's class is none of nn.Module for a type checker
        if parallel.kind == "ddp":
            devices = [parallel.device.index] if parallel.device.type == "cuda" else None
            self._module.register_parameter("never_used", nn.Parameter(torch.zeros((), device=parallel.device)))
            # A stage need not use every head. Where it does, DDP warns that it looked for nothing: let it find one.
            self._module = DistributedDataParallel(self._module, device_ids=devices, find_unused_parameters=True)
        if parallel.kind == "fsdp":
            _same_start(model)
            for layer in _layers(model):
                fully_shard(layer)
            self._module = fully_shard(Inside(model))

    def run(self, function: Callable[[nn.Module], Result]) -> Result:
        """`function(model)`, differentiable."""
        return cast(Result, self._module(function))

    def look(self, function: Callable[[nn.Module], Result]) -> Result:
        """`function(model)` without gradients, in evaluation mode, on every process alike."""
        self.model.eval()
        try:
            with torch.no_grad():
                return self.run(function) if isinstance(self._module, FSDPModule) else function(self.model)
        finally:
            if isinstance(self._module, FSDPModule):
                self._module.reshard()  # a backward would have: else the next step computes with what was gathered here
            self.model.train()

    def gradients(self, last: bool) -> AbstractContextManager[None]:
        """Around forward and backward of a micro-batch: the processes add their gradients up in the `last` one only."""
        if isinstance(self._module, DistributedDataParallel) and not last:
            return cast(AbstractContextManager[None], self._module.no_sync())
        if isinstance(self._module, FSDPModule):
            self._module.set_requires_gradient_sync(last)
        return nullcontext()


def _layers(model: nn.Module) -> list[nn.Module]:
    """What is gathered and freed as one: the members of every list of layers."""
    return [layer for module in model.modules() if isinstance(module, nn.ModuleList) for layer in module]


def _same_start(model: nn.Module) -> None:
    """Every process takes rank 0's weights, as DDP does by itself."""
    for tensor in model.state_dict().values():
        dist.broadcast(tensor, src=0)


def own_part(tensor: Tensor) -> Tensor:
    """The part of a weight that this process holds; the whole of one that is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """The whole of a weight, on every process; must be called by all of them."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """The model's state_dict with whole tensors on the CPU, also after FSDP; must be called by all processes."""
    return {name: whole(tensor.detach()).cpu() for name, tensor in model.state_dict().items()}


def laid_out_as(tensor: Tensor, like: Tensor) -> Tensor:
    """A copy of a whole tensor, on the device of `like` and sharded as it is."""
    if isinstance(like, DTensor):
        return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return tensor.detach().to(like.device, copy=True)


@contextmanager
def processes(kind: Literal["auto", "ddp", "fsdp"] = "auto", timeout_seconds: float = 600) -> Iterator[Parallel]:
    """The processes that torchrun started, joined for the block; outside of torchrun, this one alone.

    kind: "auto" is DDP. A GPU each where there are any (NCCL), else the CPU (gloo). A process that waits longer than
    `timeout_seconds` for another stops with an error; at the end all wait for rank 0, which writes files, for as long
    as it takes. With FSDP, every process must use the same weights in a step: a loss of nothing still goes through its
    head. Raises UsageError where FSDP is wanted of a single process.
    """
    world, on_gpu = int(os.environ.get("WORLD_SIZE", "1")), torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if world == 1:
        if kind == "fsdp":
            raise UsageError("parallel: fsdp shards over several processes, here is one; start it with torchrun")
        yield Parallel(device=device)
        return
    store = _join("nccl" if on_gpu else "gloo", timedelta(seconds=timeout_seconds))
    parallel = Parallel(dist.get_rank(), dist.get_world_size(), device, "ddp" if kind == "auto" else kind)
    yield parallel
    with loss_of_a_process_explained(parallel):  # not after an error: the others may be gone
        _part(parallel, store)


def _join(backend: str, timeout: timedelta) -> Store:
    """Joins the processes. Returns a store that all of them see, empty each time: a program may join several times."""
    store, rank, world = next(rendezvous("env://", timeout=timeout))
    store = PrefixStore(f"joined {store.add(f'joined by {rank}', 1)} times", store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
    return store


def _part(parallel: Parallel, store: Store) -> None:
    """Parts from the others when rank 0, which writes files alone, is through, however long that takes.

    A process that ends while one of gloo's threads still holds a tensor is aborted, so none hurries to its end: after
    the last collective, which holds none, the group goes, and with it its threads.
    """
    if parallel.leads:
        store.set(OVER, "")
    while not store.check([OVER]):  # no collective: that one has a time limit, and is deaf to Ctrl-C
        time.sleep(POLL_SECONDS)
    dist.barrier(device_ids=[parallel.device.index] if parallel.device.type == "cuda" else None)
    dist.destroy_process_group()  # rank 0, which may hold the store, is here when all have looked into it
    gc.collect()


@contextmanager
def loss_of_a_process_explained(parallel: Parallel) -> Iterator[None]:
    """Turns the error of a broken or silent connection into one that says what happened."""
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or "gloo" in str(error).lower() or "Connection" in str(error)
        if parallel.world == 1 or not lost:
            raise
        raise InterbertError(
            f"process {parallel.rank} of {parallel.world} lost another one ({str(error).splitlines()[0][:200]}). "
            "Its own message says why it ended; the same command again goes on from the last checkpoint."
        ) from error
