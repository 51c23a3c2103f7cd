"""What two processes do that train the toy together, each pair forked from one interpreter: a start costs little.

python two_processes.py FOLDER -> one JSON object on stdout: for each scenario, both exit statuses and messages
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch._dynamo  # DDP and FSDP load it late: here, before the forks
import torch.distributed as dist
from torch import Tensor, nn
from toy import ToyJob, ToyModel

from interbert.batch import Batch
from interbert.errors import InterbertError
from interbert.training.loop import train
from interbert.training.parallel import processes, whole_weights
from interbert.training.settings import Training

SETTINGS = Training(
    learning_rate=0.01, precision="fp32", log_every=4, validate_every=6, checkpoint_every=5, ema=0.9, threads=1
)


class Troubled(ToyJob):
    """In step `at`, process `rank` (None: each) does something to itself."""

    def __init__(self, at: int, rank: int | None, act: Callable[[], object]) -> None:
        super().__init__(micro_batch=2)
        self.at, self.rank, self.act = at, rank, act

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        if batch.ids[0] == f"{self.at}-{os.environ['RANK']}" and self.rank in (None, int(os.environ["RANK"])):
            self.act()
        return super().losses(model, batch)


class OneHead(ToyJob):
    """Uses the matching head alone: the others have no gradient."""

    def counts(self, batch: Batch) -> dict[str, float]:
        return {"matching": float(len(batch))}

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"matching": super().losses(model, batch)["matching"]}

    def validate(self, model: nn.Module, step: int) -> dict[str, float]:
        return {}


class Uneven(ToyJob):
    def batches(self, step: int, rank: int, world: int) -> list[Batch]:
        return super().batches(step, rank, world)[: 2 - rank]


def signal_self(number: int) -> None:
    os.kill(os.getpid(), number)


def fail() -> None:
    raise InterbertError("on purpose")


def run(out: Path, kind: Literal["ddp", "fsdp"], job: ToyJob) -> None:
    """Trains to the end; rank 0 writes the weights that the model has then."""
    model = ToyModel(dropout=0.0)
    with processes(kind, timeout_seconds=20) as parallel:
        train(model, job, SETTINGS, out, parallel=parallel, progress=False)
        weights = whole_weights(model)
        if parallel.leads:
            torch.save(weights, out / "weights.pt")


def late(out: Path) -> None:
    """Rank 0 writes its file long after the other is through; each then notes whether it is there, and its threads."""
    for turn in ("first", "again"):
        with processes("ddp", timeout_seconds=20) as parallel:
            train(ToyModel(), ToyJob(micro_batch=2), SETTINGS, out / turn, parallel=parallel, progress=False)
            if parallel.leads:
                while not (out / f"{turn} arrived").exists():
                    time.sleep(0.01)
                train(ToyModel(), ToyJob(40), SETTINGS, out / f"{turn} alone", progress=False)  # takes its time
                (out / f"{turn} written").touch()
            else:
                (out / f"{turn} arrived").touch()
        threads = [file.read_text().strip() for file in Path("/proc/self/task").glob("*/comm")]
        found = {"written": (out / f"{turn} written").exists(), "gloo": sum("gloo" in name for name in threads)}
        (out / f"{turn} {parallel.rank}.json").write_text(json.dumps(found))


def child(rank: int, port: int, hosted: bool, act: Callable[[], object], note: Path) -> None:
    """Becomes process `rank` and ends as the command line would."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": str(hosted)}
    try:
        act()
        os._exit(0)
    except SystemExit as stop:
        os._exit(int(str(stop.code)))
    except BaseException as error:
        note.write_text(f"{type(error).__name__}: {error}")
        os._exit(1)


def two(act: Callable[[], object], folder: Path, hosted: bool = False) -> dict[str, Any]:
    """Runs `act` in two processes. Their exit statuses, the errors they ended with, the seconds it took.

    hosted: the store in which they meet is here, as torchrun has it, not in the first of them.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False) if hosted else None
    folder.mkdir(parents=True, exist_ok=True)
    notes, children, began = [folder / f"error-{rank}" for rank in (0, 1)], [], time.monotonic()
    for rank, note in enumerate(notes):
        children.append(os.fork())
        if children[-1] == 0:
            child(rank, port, hosted, act, note)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    errors = [note.read_text() if note.exists() else "" for note in notes]
    del store  # until here it is needed
    return {"statuses": statuses, "errors": errors, "seconds": time.monotonic() - began}


def main(folder: Path) -> dict[str, Any]:
    job = ToyJob(micro_batch=2)
    results = {}
    for kind in ("ddp", "fsdp"):
        results[kind] = two(partial(run, folder / kind, kind, job), folder / kind)
        broken = folder / f"{kind}-broken"
        two(partial(run, broken, kind, Troubled(7, None, fail)), broken)
        results[f"{kind}-resumed"] = two(partial(run, broken, kind, job), broken / "again")
    results["late"] = two(partial(late, folder / "late"), folder / "late", hosted=True)
    for name, trouble in {
        "killed": Troubled(7, 1, partial(signal_self, signal.SIGKILL)),
        "stopped": Troubled(3, 1, partial(signal_self, signal.SIGTERM)),
        "uneven": Uneven(micro_batch=2),
        "one-head": OneHead(micro_batch=2),
    }.items():
        results[name] = two(partial(run, folder / name, "ddp", trouble), folder / name)
    return results


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    train(ToyModel(), ToyJob(), SETTINGS, place / "first", progress=False)
    print(json.dumps(main(place)))
