"""How fast and how large is the loader: batches of pretraining out of a corpus, without a model?

    python benchmarks/loader.py CORPUS [--batch 64 --steps 200]

Prints one JSON object: pairs a second, the ratio to the rate of a training step of the preset `small` measured in the
same run, and the memory that the loader added, pages of mapped files apart (the system takes those back when it likes).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch

from interbert.config import preset
from interbert.corpus.corpus import Corpus
from interbert.pretraining.job import Pretraining, PretrainingJob
from interbert.pretraining.run import fitted
from interbert.pretraining.stages import Stage
from interbert.training.precision import autocast, chosen_precision


def anonymous_mib() -> float:
    """Memory of this process that is its own, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    before = anonymous_mib()
    corpus = Corpus(options.corpus)
    tokenizer = corpus.tokenizer()
    config = fitted(preset("small"), corpus, tokenizer)
    job = PretrainingJob(corpus, tokenizer, Pretraining(config, (Stage(epochs=10**6),), options.batch))
    began, cpu = time.perf_counter(), time.process_time()
    for step in range(options.steps):
        batches = job.batches(step, 0, 1)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    grown = anonymous_mib() - before

    from interbert.model.interbert import InterBert

    model = InterBert(replace(config)).train()
    spent = []
    for _ in range(3):
        start = time.process_time()
        with autocast(chosen_precision("auto", torch.device("cpu")), torch.device("cpu")):
            sums = job.losses(model, batches[0])
        sum(sums.values(), torch.zeros(())).backward()
        spent.append(time.process_time() - start)
    print(json.dumps({
        "texts": len(corpus),
        "pairs_per_second": round(options.steps * options.batch / seconds),
        "cpu_of_a_training_step_over_cpu_of_its_batch": round(sorted(spent)[1] / (cpu / options.steps), 1),
        "added_memory_mib": round(grown),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
