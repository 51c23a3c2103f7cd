"""Trains the toy again and again, killed somewhere each time, from one interpreter that forks: a start costs nothing.

    python killed_training.py FOLDER KILLS SEED -> one JSON object on stdout

Half of the kills come before a random file operation of the run (open, rename, remove, make, cut), so that every gap
of a save is met; half at a random time. A third of the runs are killed twice. Then the same run is let end.
"""

from __future__ import annotations

import hashlib
import json
import random
import resource
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from toy import ToyJob, ToyModel, lines_without_timing

from faults.children import in_a_child, killed_before
from interbert.batch import Batch
from interbert.training.loop import train
from interbert.training.settings import Training

SETTINGS = Training(precision="fp32", log_every=2, validate_every=5, checkpoint_every=3, ema=0.9, threads=1)
OPERATIONS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")


def train_toy(out: Path) -> None:
    train(ToyModel(), ToyJob(14), SETTINGS, out, progress=False)


def digest(out: Path) -> str:
    """Of all that must be equal at the end: weights, moments, average, and the log but for its timing."""
    last = sorted((out / "checkpoints").glob("step-*"))[-1]
    parts = [path.read_bytes() for path in sorted(last.glob("*.safetensors"))]
    parts.append(json.dumps([last.name, lines_without_timing(out)]).encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def sweep(folder: Path, kills: int, seed: int) -> list[dict[str, Any]]:
    """Each killed run: where it was killed, how it ended when let go on, whether it is the unbroken one."""
    draws, unbroken, results = random.Random(seed), folder / "unbroken", []
    in_a_child(lambda: killed_before(-1, OPERATIONS, lambda: train_toy(unbroken), folder / "operations"))
    operations, wanted = int((folder / "operations").read_text()), digest(unbroken)
    _, seconds = in_a_child(lambda: train_toy(folder / "timed"))
    for number in range(kills):
        out, done = folder / f"killed-{number}", []
        again = partial(train_toy, out)
        for _ in range(1 + (number % 3 == 0)):
            at, after = draws.randint(1, operations), draws.uniform(0, seconds)
            if number % 2:
                ended, _ = in_a_child(partial(killed_before, at, OPERATIONS, again))
                done.append((f"before operation {at}", ended))
            else:
                done.append((f"after {after:.3f} s", in_a_child(again, kill_after=after)[0]))
        status, _ = in_a_child(again)
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
