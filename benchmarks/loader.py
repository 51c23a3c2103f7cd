"""How fast and how large is the loader: batches of pretraining out of a corpus, without a model?

    python benchmarks/loader.py CORPUS [--preset small --batch 64 --steps 200]
    python benchmarks/loader.py --regions 100 --features 2048 --preset paper --batch 8 [--pictures 500]

The second: a corpus of random pictures of many regions, stored as the bottom-up detector's are (1,600 probabilities),
each with one text of 12 words. Prints one JSON object: pairs a second; the processor time of a training step (forward,
backward, optimizer; the middle of three, on one thread), and of reading and making its batch; and the memory that the
loader added, pages of mapped files apart (the system takes those back when it likes).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from interbert.batch import Batch, Regions
from interbert.config import preset
from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.corpus import Corpus
from interbert.corpus.readers import Caption
from interbert.model.interbert import InterBert
from interbert.pretraining.job import Pretraining, PretrainingJob
from interbert.pretraining.run import fitted
from interbert.pretraining.stages import Stage
from interbert.text.tokenizer import SPECIAL, Tokenizer
from interbert.training.optimizer import make_optimizer
from interbert.training.precision import autocast, chosen_precision
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore

CPU = torch.device("cpu")
CLASSES, VOCABULARY, WORDS = 1600, 30522, 12


def anonymous_mib() -> float:
    """Memory of this process that is its own, in MiB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def random_corpus(folder: Path, pictures: int, regions: int, features: int) -> Path:
    """Pictures of `regions` boxes and random features, each with one text of random words."""
    drawn = np.random.default_rng(0)
    info = ExtractorInfo("random", features, tuple(f"object {at}" for at in range(CLASSES)))
    with RegionStore.writer(folder / "store", info) as writer:
        for at in range(pictures):
            corners = np.sort(drawn.uniform(0, 600, (regions, 2, 2)), 1).reshape(regions, 4)  # x y x y
            shares = drawn.dirichlet(np.full(CLASSES, 0.02), regions).astype(np.float32)
            numbers, boxes = drawn.standard_normal((regions, features), np.float32), corners.astype(np.float32)
            writer.append(str(at), Regions(numbers, boxes, (600, 600), shares.argmax(1), shares.max(1), shares))
    words = [f"w{at}" for at in range(VOCABULARY - len(SPECIAL))]
    texts = (Caption(str(at), " ".join(drawn.choice(words, WORDS)), "train", str(at)) for at in range(pictures))
    tokenizer = Tokenizer({piece: at for at, piece in enumerate([*SPECIAL, *words])}, lower_case=True)
    limits = BuildOptions(min_regions=1, max_regions=regions)
    build_corpus(texts, RegionStore(folder / "store"), tokenizer, folder / "corpus", limits)
    return folder / "corpus"


def step_seconds(job: PretrainingJob, batch: Batch) -> float:
    """Processor time of one update, the middle of three; one before them is not counted."""
    model, spent = InterBert(job.plan.model).train(), []
    optimizer = make_optimizer(model, job.plan.training)
    for _ in range(4):
        start = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        with autocast(chosen_precision("auto", CPU), CPU):
            sums = job.losses(model, batch)
        sum(sums.values(), torch.zeros(())).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        spent.append(time.process_time() - start)
        print(f"a training step: {spent[-1]:.2f} s of processor time", file=sys.stderr)
    return sorted(spent[1:])[1]


def measured(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """What the module's docstring says."""
    before = anonymous_mib()
    corpus = Corpus(folder)
    config = fitted(preset(options.preset), corpus, corpus.tokenizer())
    job = PretrainingJob(corpus, corpus.tokenizer(), Pretraining(config, (Stage(epochs=10**6),), options.batch))
    began, cpu = time.perf_counter(), time.process_time()
    for step in range(options.steps):
        batches = job.batches(step, 0, 1)
    seconds, cpu = time.perf_counter() - began, (time.process_time() - cpu) / options.steps
    grown = anonymous_mib() - before
    step_cpu = step_seconds(job, batches[0])
    return {
        "pairs_per_second": round(options.steps * options.batch / seconds),
        "cpu_seconds_of_a_batch": round(cpu, 4),
        "cpu_seconds_of_a_training_step": round(step_cpu, 4),
        "cpu_of_a_training_step_over_cpu_of_its_batch": round(step_cpu / cpu, 1),
        "batch_in_percent_of_a_step": round(100 * cpu / (cpu + step_cpu), 2),
        "added_memory_mib": round(grown),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, nargs="?", help="none: random pictures")
    for name, default in {"batch": 64, "steps": 200, "regions": 100, "features": 2048, "pictures": 500}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--preset", default="small")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = options.corpus or random_corpus(Path(made), options.pictures, options.regions, options.features)
        print(json.dumps(vars(options) | measured(folder, options), default=str))


if __name__ == "__main__":
    main()
