"""How fast is a training step at the paper's shapes against the plain one: padded, float32, all vocabulary logits?

    python benchmarks/training_step.py [--preset paper --batch 16 --threads 1 --rounds 3]     # ratios, interleaved
    python benchmarks/training_step.py --memory --batch 32                                    # peak memory of our step

Prints one JSON object. `train_step()` makes the callable for other people's benchmarks: tensors in, one update.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from interbert.batch import Batch
from interbert.config import MATCH_CLASS, ModelConfig, preset
from interbert.model.interbert import InterBert
from interbert.pretraining import objectives
from interbert.pretraining.stages import Stage
from interbert.training.memory import keep_memory
from interbert.training.optimizer import make_optimizer
from interbert.training.precision import autocast, chosen_precision, fast_matmul
from interbert.training.settings import Training

CPU = torch.device("cpu")
STAGE = Stage("msm", "none")
Step = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


def as_batch(words: Tensor, words_valid: Tensor, features: Tensor, locations: Tensor, regions_valid: Tensor,
             labels: Tensor, itm: Tensor) -> Batch:  # fmt: skip
    """Other people's tensors as ours. labels: int64 [B, T], -100 where nothing is scored.  itm: [B], 1 is a match."""
    batch = Batch(ids=[""] * len(words), words=words, words_valid=words_valid.bool(), features=features)
    batch.locations, batch.regions_valid = locations, regions_valid.bool()
    batch.confidence = batch.regions_valid.float()
    batch.masked_words, batch.word_targets = labels != -100, labels.clamp(min=0)
    batch.is_match = itm.bool()
    return batch


def sizes(name: str) -> ModelConfig:
    """The preset with the features of the batches, 2048 numbers each."""
    return replace(preset(name), region_feature_size=2048, region_standardised=False)


def train_step(name: str = "paper", precision: str = "auto") -> Step:
    """Our step: no padding, logits where masked, the fast arithmetic of the machine, fused AdamW."""
    model = InterBert(sizes(name)).train()
    optimizer = make_optimizer(model, Training())
    arithmetic = chosen_precision(precision, CPU)

    def step(*tensors: Tensor) -> Tensor:
        keep_memory(True)  # as the training loop does; the other contestants have torch's usual memory
        batch = as_batch(*tensors)
        divisors = objectives.counts(batch, STAGE)
        optimizer.zero_grad(set_to_none=True)
        with fast_matmul():
            with autocast(arithmetic, CPU):
                sums = objectives.losses(model, batch, STAGE)
            loss = sum((sums[key] / max(divisors[key], 1.0) for key in sums), torch.zeros(()))
            loss.backward()
        optimizer.step()
        keep_memory(False)
        return loss.detach()

    return step


def with_padding(model: InterBert) -> InterBert:
    """The model with padding in every layer's work."""
    for stream in (model.interaction, model.text_stream, model.image_stream):
        stream.packs = False
    return model


def plain_step(name: str) -> Step:
    """The same model and losses as one would first write it: padded, float32, logits everywhere, unfused AdamW."""
    model = with_padding(InterBert(sizes(name)).train())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, eps=1e-6, weight_decay=0.01)

    def step(*tensors: Tensor) -> Tensor:
        batch = as_batch(*tensors)
        output = model(batch)
        assert output.text_states is not None
        assert output.text_vector is not None
        assert output.image_vector is not None
        assert batch.is_match is not None
        words = cross_entropy(model.word_logits(output.text_states).flatten(0, 1), tensors[5].flatten())
        logits = model.match_logits(output.text_vector, output.image_vector)
        loss = words + cross_entropy(logits, torch.where(batch.is_match, MATCH_CLASS, 1 - MATCH_CLASS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def a_batch(size: int, seed: int) -> tuple[Tensor, ...]:
    """Conceptual Captions' lengths: texts of 8 to 36 (mean 14), 10 to 36 regions, padded to 36 and 37."""
    g = torch.Generator().manual_seed(seed)
    lengths = (8 + torch.empty(size).exponential_(1 / 6.3, generator=g).floor()).clamp(8, 36).long()
    counts = 1 + torch.randint(10, 37, (size,), generator=g)
    words_valid, regions_valid = torch.arange(36)[None] < lengths[:, None], torch.arange(37)[None] < counts[:, None]
    words = torch.randint(1000, 30522, (size, 36), generator=g) * words_valid
    masked = words_valid & (torch.rand(size, 36, generator=g) < 0.2)
    features = torch.rand(size, 37, 2048, generator=g) * regions_valid[..., None]
    locations = torch.rand(size, 37, 5, generator=g)
    itm = torch.arange(size) % 2
    return words, words_valid, features, locations, regions_valid, torch.where(masked, words, -100), itm


@dataclass
class Times:
    """Seconds of each round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def measured(steps: dict[str, Step], size: int, rounds: int) -> dict[str, Times]:
    """Every step on the same batches, one after the other in every round; the first round is not counted."""
    found = {name: Times() for name in steps}
    for number in range(rounds + 1):
        batch = a_batch(size, number)
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step(*batch)
            if number:
                found[name].wall.append(time.perf_counter() - wall)
                found[name].cpu.append(time.process_time() - cpu)
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="only our step, and the peak memory of the process")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    said = {"preset": options.preset, "batch": options.batch, "threads": options.threads, "torch": torch.__version__}
    said["precision"] = chosen_precision(options.precision, CPU)
    ours = train_step(options.preset, options.precision)
    if options.memory:
        measured({"ours": ours}, options.batch, 2)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(said | {"peak_memory_gib": round(peak, 2)}))
        return
    times = measured({"plain": plain_step(options.preset), "ours": ours}, options.batch, options.rounds)
    ratios = {
        kind: [
            round(a / b, 2) for a, b in zip(getattr(times["plain"], kind), getattr(times["ours"], kind), strict=True)
        ]
        for kind in ("wall", "cpu")
    }
    print(json.dumps(said | {
        "ratio": {kind: statistics.median(values) for kind, values in ratios.items()},
        "rounds": ratios,
        "seconds_of_ours": round(statistics.median(times["ours"].wall), 3),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
