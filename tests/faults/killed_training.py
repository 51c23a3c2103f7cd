"""Trains the toy again and again, killed somewhere each time, from one interpreter that forks: a start costs nothing.

    python killed_training.py FOLDER KILLS SEED -> one JSON object on stdout

Half of the kills come before a random file operation of the run (open, rename, remove, make, cut), so that every gap
of a save is met; half at a random time. A third of the runs are killed twice. Then the same run is let end.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from toy import ToyJob, ToyModel, lines_without_timing

from interbert.batch import Batch
from interbert.errors import InterbertError
from interbert.training.loop import train
from interbert.training.settings import Training

SETTINGS = Training(precision="fp32", log_every=2, validate_every=5, checkpoint_every=3, ema=0.9, threads=1)
OPERATIONS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")


def train_toy(out: Path) -> None:
    train(ToyModel(), ToyJob(14), SETTINGS, out, progress=False)


def in_a_child(act: Callable[[], object], kill_after: float | None = None) -> tuple[int, float]:
    """Runs `act` in a fork. Returns its exit status, or minus the signal that ended it, and the seconds it took."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        except InterbertError as error:
            os.write(2, f"{error}\n".encode())
            os._exit(1)
        finally:
            os._exit(70)
    clock = threading.Timer(kill_after, os.kill, (child, signal.SIGKILL)) if kill_after is not None else None
    if clock is not None:
        clock.start()
    _, status = os.waitpid(child, 0)
    if clock is not None:
        clock.cancel()
    return os.waitstatus_to_exitcode(status), time.monotonic() - began


def killed_before(operation: int, act: Callable[[], object], count_to: Path | None = None) -> None:
    """`act`, with kill -9 before its n-th file operation; with `count_to`, how many there were is written there."""
    seen = 0

    def note(event: str, _: tuple[object, ...]) -> None:
        nonlocal seen
        if event in OPERATIONS:
            seen += 1
            if seen == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(note)
    act()
    if count_to is not None:
        count_to.write_text(str(seen))


def digest(out: Path) -> str:
    """Of all that must be equal at the end: weights, moments, average, and the log but for its timing."""
    last = sorted((out / "checkpoints").glob("step-*"))[-1]
    parts = [path.read_bytes() for path in sorted(last.glob("*.safetensors"))]
    parts.append(json.dumps([last.name, lines_without_timing(out)]).encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def sweep(folder: Path, kills: int, seed: int) -> list[dict[str, Any]]:
    """Each killed run: where it was killed, how it ended when let go on, whether it is the unbroken one."""
    draws, unbroken, results = random.Random(seed), folder / "unbroken", []
    in_a_child(lambda: killed_before(-1, lambda: train_toy(unbroken), folder / "operations"))
    operations, wanted = int((folder / "operations").read_text()), digest(unbroken)
    _, seconds = in_a_child(lambda: train_toy(folder / "timed"))
    for number in range(kills):
        out, done = folder / f"killed-{number}", []
        for _ in range(1 + (number % 3 == 0)):
            at, after = draws.randint(1, operations), draws.uniform(0, seconds)
            if number % 2:
                done.append(
                    (f"before operation {at}", in_a_child(partial(killed_before, at, partial(train_toy, out)))[0])
                )
            else:
                done.append((f"after {after:.3f} s", in_a_child(partial(train_toy, out), kill_after=after)[0]))
        status, _ = in_a_child(partial(train_toy, out))
        leftovers = [path.name for path in (out / "checkpoints").glob(".step-*")]
        results.append({"killed": done, "status": status, "equal": digest(out) == wanted, "leftovers": leftovers})
    return results


def full_disk(folder: Path) -> dict[str, Any]:
    """A run that can write no more than 4 kB a file from its step 4 on; then the same with room again."""

    class Filling(ToyJob):
        def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
            if batch.ids[0] == "4-0":
                resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
            return super().losses(model, batch)

    status, _ = in_a_child(lambda: train(ToyModel(), Filling(14), SETTINGS, folder, progress=False))
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    return {"status": status, "names": names, "afterwards": in_a_child(lambda: train_toy(folder))[0]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    train_toy(place / "first")  # what is loaded late is loaded before the forks
    print(
        json.dumps({"runs": sweep(place, int(sys.argv[2]), int(sys.argv[3])), "full_disk": full_disk(place / "full")})
    )
