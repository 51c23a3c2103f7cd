"""Does training in bf16 end where training in float32 ends, as nearly as float32 with another seed does?

    python benchmarks/training_precision.py CORPUS --out RESULT.svg [--preset small --init bert:minilm --steps 500]

Runs of `interbert pretrain` in miniature, `--seeds` of them in float32 and `--low-seeds` in bf16: a fifth of the steps
by contrast of each side read alone, the rest with words and regions hidden and pairs matched, by the numbers of the
recipe `small`. A seed fixes the first new weights, the pairs, what is hidden, and dropout. `final`: the mean of the
last fifth of the training losses; `held_out`: the losses of the weights of the end, in float32, on 512 validation pairs
that are the same for all. `inside`: whether every bf16 run lies between the least and the largest of float32's;
`shift_in_spreads`: how far the mean of the seeds that both have moves by bf16, in standard deviations between float32's
seeds. Draws smoothed curves of the hiding stage, prints one JSON object.
Each run is kept beside the picture and not done again; one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pictures import Curve, curves_drawn

from interbert.batch import Batch
from interbert.config import preset
from interbert.corpus.corpus import Corpus
from interbert.draws import generator_for
from interbert.files import whole_file, write_json
from interbert.model.interbert import InterBert
from interbert.pretraining.evaluation import Pool
from interbert.pretraining.job import Pretraining, PretrainingJob
from interbert.pretraining.run import feature_sample, fitted, started
from interbert.pretraining.stages import Stage
from interbert.recipes import small
from interbert.training.journal import read_journal
from interbert.training.loop import train
from interbert.training.precision import fast_matmul

FIRST, THEN = Stage("none", "none", matching="alone"), Stage("msm", "mrm")
HELD_OUT, AT_ONCE = 512, 64  # pairs; pairs at a time
COLOURS = {"fp32": "#0a6ebd", "bf16": "#d55e00"}


class Short(PretrainingJob):
    """So many steps: a fifth of FIRST, the rest of THEN, whatever an epoch is."""

    steps: int

    @property
    def total_steps(self) -> int:
        """Updates of both stages."""
        return self.steps

    def stage_of(self, step: int) -> Stage:
        """The stage that a step belongs to."""
        return FIRST if step < self.steps // 5 else THEN


@dataclass(frozen=True)
class Run:
    """How one ended. losses: of each step, summed over what the stage teaches."""

    precision: str
    seed: int
    losses: list[float]
    final: float
    held_out: dict[str, float]
    seconds: float  # of the processor


def total(losses: dict[str, float]) -> float:
    """The loss that a step follows."""
    return sum(losses.values())


def smoothed(losses: list[float], width: int) -> list[float]:
    """Means of `width` neighbours, one after the other without overlap; a rest is left out."""
    return [statistics.fmean(losses[at : at + width]) for at in range(0, len(losses) - width + 1, width)]


def compared(high: list[float], low: list[float]) -> dict[str, object]:
    """Float32's values by seed beside bf16's of the first of these seeds."""
    spread = statistics.stdev(high)
    moved = statistics.fmean(low) - statistics.fmean(high[: len(low)])
    return {
        "fp32": [round(value, 4) for value in high],
        "bf16": [round(value, 4) for value in low],
        "inside": all(min(high) <= value <= max(high) for value in low),
        "shift_in_spreads": round(moved / spread, 2),
    }


def held_out_batches(job: Short) -> list[Batch]:
    """Validation pairs with words and regions hidden: the same for every run."""
    pool = Pool.of(job.corpus, job.maker.plain(), 0, HELD_OUT, 2)
    if pool is None:
        raise SystemExit("the corpus has no validation pictures")
    made = []
    for at in range(0, len(pool.pairs.texts), AT_ONCE):
        part = pool.pairs.part(slice(at, at + AT_ONCE))
        made.append(pool.maker.make(part, THEN, [generator_for(0, "held out", at + n) for n in range(len(part.texts))]))
    return made


def held_out_losses(model: InterBert, job: Short) -> dict[str, float]:
    """Mean losses of what THEN teaches."""
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    with torch.no_grad(), fast_matmul():
        for batch in held_out_batches(job):
            staged = replace_stage(job, batch)
            for into, values in ((sums, job.losses(model.eval(), staged)), (counts, job.counts(staged))):
                for name, value in values.items():
                    into[name] = into.get(name, 0.0) + float(value)
    return {name: sums[name] / counts[name] for name in sums}


def replace_stage(job: Short, batch: Batch) -> Batch:
    """The batch as the job wants it: one that knows its stage."""
    kind = type(job.batches(job.steps - 1, 0, 1)[0])
    return kind(**vars(batch), stage=THEN)


def trained(corpus: Corpus, plan: Pretraining, init: str | None, steps: int, out: Path) -> Run:
    """One run."""
    tokenizer, seed = corpus.tokenizer(), plan.training.seed
    plan = replace(plan, model=fitted(plan.model, corpus, tokenizer))
    torch.manual_seed(seed)
    model, plan = started(plan, init, corpus, tokenizer)
    job = Short(corpus, tokenizer, plan, init)
    job.steps, job.pool = steps, None
    if model.config.region_standardised:
        model.image_embedding.standardise(feature_sample(corpus, seed))
    began = time.process_time()
    train(model, job, plan.training, out, progress=False)
    seconds = time.process_time() - began
    losses = [total(line["losses"]) for line in read_journal(out / "training.jsonl") if "losses" in line]
    final = statistics.fmean(losses[-(steps // 5) :])
    return Run(plan.training.precision, seed, losses, final, held_out_losses(model, job), round(seconds, 1))


def kept(file: Path, corpus: Corpus, plan: Pretraining, init: str | None, steps: int) -> Run:
    """A run, read where it was done before."""
    if not file.exists():
        done = trained(corpus, plan, init, steps, file.with_suffix(".run"))
        write_json(file, vars(done))
    return Run(**json.loads(file.read_text(encoding="utf-8")))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--init")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--low-seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus, recipe, runs = Corpus(options.corpus), small(), []
    for seed in range(max(options.seeds, options.low_seeds)):
        for precision, count in (("fp32", options.seeds), ("bf16", options.low_seeds)):
            if seed >= count:
                continue
            training = replace(recipe.training, precision=precision, seed=seed, log_every=1, validate_every=None,
                               checkpoint_minutes=None, checkpoint_every=None)  # fmt: skip
            plan = replace(recipe, model=preset(options.preset), batch_size=options.batch, training=training)
            file = options.out.with_name(f"{options.out.stem}-{precision}-{seed}.json")
            runs.append(kept(file, corpus, plan, options.init, options.steps))
            print(f"{precision}, seed {seed}: {runs[-1].final:.3f}, {runs[-1].held_out}", file=sys.stderr)
    width, first = max(1, options.steps // 20), options.steps // 5
    drawn = [
        Curve(one.precision if one.seed == 0 else "", COLOURS[one.precision],
              [(first + width * (at + 0.5), value) for at, value in enumerate(smoothed(one.losses[first:], width))])
        for one in runs
    ]  # fmt: skip
    with whole_file(options.out) as file:
        file.write(curves_drawn(f"loss, mean of {width} steps, by step", drawn))
    by = {name: [one for one in runs if one.precision == name] for name in COLOURS}
    parts = {"final": {name: [one.final for one in them] for name, them in by.items()}}
    parts |= {
        f"held_out {part}": {name: [one.held_out[part] for one in them] for name, them in by.items()}
        for part in sorted(runs[0].held_out)
    }
    parts["held_out"] = {name: [total(one.held_out) for one in them] for name, them in by.items()}
    print(json.dumps({
        "preset": options.preset, "init": options.init, "steps": options.steps, "batch": options.batch,
        **{name: compared(both["fp32"], both["bf16"]) for name, both in parts.items()},
        "processor_seconds": {name: round(statistics.median(one.seconds for one in them)) for name, them in by.items()},
    }))  # fmt: skip


if __name__ == "__main__":
    main()
