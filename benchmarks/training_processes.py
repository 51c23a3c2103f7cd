"""Do two processes of one thread each train as fast as one process of two threads?

    python benchmarks/training_processes.py [--preset small --batch 32 --steps 3 --rounds 5 --precision auto]

One process of one thread, one of two, and two of one thread each that share the step by DDP (gloo), as torchrun would
start them: the same pairs a step, pretraining's lengths, contestants in turn, the first round not counted. By the clock
pairs a second and ratios round by round: where other processes hold the cores, two threads wait for each other at every
product. `processor_seconds` of a step, of both processes together. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch
from training_step import CPU, STAGE, a_batch, as_batch, sizes

from interbert.model.interbert import InterBert
from interbert.pretraining import objectives
from interbert.training.memory import memory_kept
from interbert.training.optimizer import make_optimizer
from interbert.training.parallel import Parallel, Shared, processes
from interbert.training.precision import autocast, chosen_precision, fast_matmul
from interbert.training.settings import Training

ONE, TWO_THREADS, TWO_PROCESSES = "one thread", "two threads", "two processes"
CONTESTANTS = {ONE: (1, 1), TWO_THREADS: (1, 2), TWO_PROCESSES: (2, 1)}  # processes, threads of each
Step = Callable[[int], None]


def updating(options: argparse.Namespace, parallel: Parallel) -> Step:
    """A step, by its number: this process's share of its pairs."""
    model = InterBert(sizes(options.preset)).train()
    shared, optimizer = Shared(model, parallel), make_optimizer(model, Training())
    arithmetic = chosen_precision(options.precision, CPU)

    def step(number: int) -> None:
        batch = as_batch(*a_batch(options.batch, number)).select(
            torch.arange(parallel.rank, options.batch, parallel.world)
        )
        optimizer.zero_grad(set_to_none=True)
        with fast_matmul(), autocast(arithmetic, CPU):
            sums = shared.run(lambda module: objectives.losses(module, batch, STAGE))
            loss = torch.stack([value.float() for value in sums.values()]).sum() / options.batch
        with fast_matmul():
            loss.backward()
        optimizer.step()

    return step


def worker(rank: int, port: int, options: argparse.Namespace, orders: Connection) -> None:
    """Carries out what comes: a contestant's steps, answered with the processor seconds spent; None ends it."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with processes("ddp") as parallel, memory_kept():
        steps = (
            {1: updating(options, Parallel()), 2: updating(options, parallel)}
            if rank == 0
            else {2: updating(options, parallel)}
        )
        orders.send("ready")
        while (order := orders.recv()) is not None:
            (count, threads), numbers = order
            torch.set_num_threads(threads)
            began = time.process_time()
            for number in numbers:
                steps[count](number)
            orders.send(time.process_time() - began)
            torch.set_num_threads(1)


def turn(pipes: list[Connection], name: str, numbers: range) -> tuple[float, float]:
    """One contestant's steps: seconds by the clock, and of the processor."""
    count, began = CONTESTANTS[name][0], time.perf_counter()
    for pipe in pipes[:count]:
        pipe.send((CONTESTANTS[name], numbers))
    spent = sum(pipe.recv() for pipe in pipes[:count])
    return time.perf_counter() - began, spent


def report(found: dict[str, list[tuple[float, float]]], pairs: int, steps: int) -> dict[str, object]:
    """Pairs a second, ratios to one thread and to two threads, processor seconds of a step."""

    def ratio(name: str, to: str) -> list[float]:
        every = [slow / fast for (slow, _), (fast, _) in zip(found[to], found[name], strict=True)]
        return [round(f(every), 2) for f in (statistics.median, min, max)]

    return {
        "pairs_per_second": {
            name: round(pairs / statistics.median(clock for clock, _ in one), 2) for name, one in found.items()
        },
        "two_threads_over_one": ratio(TWO_THREADS, ONE),
        "two_processes_over_one": ratio(TWO_PROCESSES, ONE),
        "two_processes_over_two_threads": ratio(TWO_PROCESSES, TWO_THREADS),
        "processor_seconds": {
            name: round(statistics.median(cpu for _, cpu in one) / steps, 3) for name, one in found.items()
        },
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context, pipes, children = multiprocessing.get_context("spawn"), [], []
    for rank in range(2):
        ours, theirs = context.Pipe()
        children.append(context.Process(target=worker, args=(rank, port, options, theirs), daemon=True))
        children[-1].start()
        pipes.append(ours)
    for pipe in pipes:
        pipe.recv()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTESTANTS}
    for number in range(options.rounds + 1):
        for name in CONTESTANTS:
            taken = turn(pipes, name, range(number * options.steps, (number + 1) * options.steps))
            if number:
                found[name].append(taken)
    for pipe in pipes:
        pipe.send(None)
    for child in children:
        child.join()
    said = {**vars(options), "load": os.getloadavg()[0], "cores": os.cpu_count()}
    print(json.dumps(said | report(found, options.batch * options.steps, options.steps)))


if __name__ == "__main__":
    main()
