"""What do gradient checkpointing and torch.compile cost and save in a training step of ours?

    python benchmarks/training_options.py [--preset small --precision bf16 --batch 16 --rounds 5]
    python benchmarks/training_options.py --options memory [--preset small --batch 64]

`checkpointed`: each layer's inside is computed again for its gradients. `compiled`: everything of a layer but its
attention goes through `torch.compile`, for any number of rows; attention is a loop over sequences, which it can not
hold. `unkept`: memory goes back to the system as glibc does it by itself. Processor time of one thread, ratios to the
plain step over interleaved rounds; the first of `--warm` rounds holds the compiler's time, `compile_seconds`, and
`pays_after_steps` says how many steps win it back. With `memory`: peak memory of a process that takes three steps, for
each option. Pretraining's lengths. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from unittest import mock

import torch
import training_step
from torch import Tensor
from training_step import Step, a_batch, train_step

from interbert.model.layers import Attended, Layer, _first

PLAIN, CHECKPOINTED, COMPILED, UNKEPT = "plain", "checkpointed", "compiled", "unkept"


def after_attention(layer: Layer, states: Tensor, mixed: Tensor) -> Tensor:
    """The rest of a layer."""
    inner = layer.attention_norm(states + layer.dropout(mixed))
    found: Tensor = layer.norm(inner + layer.dropout(layer.contract(layer.activation(layer.expand(inner)))))
    return found


compiled_rest = torch.compile(after_attention, dynamic=True)


def compiled_forward(layer: Layer, states: Tensor, attended: Attended, wanted: int | None = None) -> Tensor:
    """What stands for `Layer.forward`."""
    mixed = layer.attention(states, attended, wanted)
    found: Tensor = compiled_rest(layer, _first(states, attended, wanted), mixed)
    return found


def step_of(option: str, preset: str, precision: str) -> Step:
    """Our training step with an option."""
    plain_sizes = training_step.sizes(preset)
    wanted = replace(plain_sizes, gradient_checkpointing=option == CHECKPOINTED)
    with mock.patch.object(training_step, "sizes", return_value=wanted):
        step = train_step(preset, precision)

    def compiled(*tensors: Tensor) -> Tensor:
        with mock.patch.object(Layer, "forward", compiled_forward):
            return step(*tensors)

    def unkept(*tensors: Tensor) -> Tensor:
        with mock.patch.object(training_step, "keep_memory"):
            return step(*tensors)

    return {COMPILED: compiled, UNKEPT: unkept}.get(option, step)


def timed(step: Step, batch: tuple[Tensor, ...]) -> float:
    """Processor seconds of a step."""
    began = time.process_time()
    step(*batch)
    return time.process_time() - began


def times(options: argparse.Namespace, names: list[str]) -> dict[str, object]:
    """Ratios to the plain step, and what compiling takes."""
    steps = {name: step_of(name, options.preset, options.precision) for name in [PLAIN, *names]}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(options.warm + options.rounds):
        batch = a_batch(options.batch, number)
        for name, step in steps.items():
            seconds[name].append(timed(step, batch))
        print(number, {name: round(spent[-1], 2) for name, spent in seconds.items()}, file=sys.stderr)
    counted = {name: spent[options.warm :] for name, spent in seconds.items()}
    found: dict[str, object] = {"seconds_of_plain": round(statistics.median(counted[PLAIN]), 3)}
    for name in names:
        every = [plain / other for plain, other in zip(counted[PLAIN], counted[name], strict=True)]
        found[f"plain_over_{name}"] = [round(f(every), 2) for f in (statistics.median, min, max)]
    if COMPILED in names:
        spent = sum(seconds[COMPILED][: options.warm]) - sum(seconds[PLAIN][: options.warm])
        won = statistics.median(counted[PLAIN]) - statistics.median(counted[COMPILED])
        found["compile_seconds"] = round(spent, 1)
        found["pays_after_steps"] = math.ceil(spent / won) if won > 0 else None
    return found


def memory(options: argparse.Namespace, names: list[str]) -> dict[str, object]:
    """Peak memory of a process for each."""
    given = ["--preset", options.preset, "--precision", options.precision, "--batch", str(options.batch)]
    found: dict[str, object] = {}
    for name in names:
        command = [sys.executable, __file__, *given, "--peak", name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[f"peak_gib_{name}"] = json.loads(said)
    return found


def peak(options: argparse.Namespace) -> float:
    """GiB of this process after three steps."""
    step = step_of(options.peak, options.preset, options.precision)
    for number in range(3):
        step(*a_batch(options.batch, number))
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--options", default="checkpointed,compiled,unkept", help="some of them, or memory")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--warm", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peak:
        print(json.dumps(peak(options)))
        return
    if options.options == "memory":
        found = memory(options, [PLAIN, CHECKPOINTED, UNKEPT])
    else:
        found = times(options, options.options.split(","))
    said = {name: getattr(options, name) for name in ("preset", "precision", "batch", "rounds")}
    print(json.dumps(said | found))


if __name__ == "__main__":
    main()
