"""How long does a cold start take, and how much memory does loading cost?

    python benchmarks/startup.py [--preset small --rounds 3]

`interbert --help`; `interbert score` of one picture with a run of random weights of that preset; and what the memory of
a process grows by when it loads such a run and reads every weight once, over the size of the weights, apart from the
libraries. Seconds by the clock and of the processor (of the command alone), medians; the file system's cache is warm.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from interbert.config import preset
from interbert.model.interbert import InterBert
from interbert.text.tokenizer import Tokenizer
from interbert.vision.extractor import Extractor

WANTED = {"help_seconds": 0.3, "score_seconds": 3.0, "memory_over_weights": 1.3}
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "square")
LOADING = """
import json, sys, torch
from interbert.model.interbert import InterBert
def resident():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmRSS")) * 1024
InterBert.from_pretrained(sys.argv[1])  # and gone again: what is imported for it does not count
before = resident()
model = InterBert.from_pretrained(sys.argv[1])
sum(float(p.sum()) for p in model.parameters())
print(json.dumps([resident() - before, sum(t.numel() * t.element_size() for t in model.state_dict().values())]))
"""


def made_run(name: str, folder: Path) -> Path:
    """A run of random weights that reads a few words and the default extractor's regions."""
    run = folder / "run"
    InterBert(preset(name)).save_pretrained(run)
    Tokenizer({word: at for at, word in enumerate(WORDS)}, lower_case=True).save(run / "tokenizer.json")
    Extractor.from_name("embedded").info.save(run / "extractor.json")
    return run


def timed(command: list[str], rounds: int) -> tuple[float, float]:
    """Median seconds of a command by the clock, and of the processor."""
    clock, cpu = [], []
    for _ in range(rounds):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603
        clock.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(clock), statistics.median(cpu)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    interbert = [sys.executable, "-m", "interbert"]
    with tempfile.TemporaryDirectory() as folder:
        run, picture = made_run(options.preset, Path(folder)), Path(folder) / "picture.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)).save(picture)
        helped = timed([*interbert, "--help"], options.rounds)
        scored = timed([*interbert, "score", "a red square", str(picture), "--from", str(run)], options.rounds)
        loading = [sys.executable, "-c", LOADING, str(run)]
        said = subprocess.run(loading, check=True, capture_output=True, text=True).stdout  # noqa: S603
    grown, weights = json.loads(said)
    found = {"help_seconds": helped[0], "score_seconds": scored[0], "memory_over_weights": grown / weights}
    print(json.dumps({
        "preset": options.preset,
        **{name: round(value, 3) for name, value in found.items()},
        "processor_seconds": {"help": round(helped[1], 3), "score": round(scored[1], 3)},
        "wanted": WANTED,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
