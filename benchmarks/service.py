"""What does the service bear? Callers at once: errors, times, memory, and what computing them together gains.

    python benchmarks/service.py [--callers 32 --seconds 60 --products 200 --preset small --memory 10000 --threads 2]
                                 [--kinds score rerank recall]
    python benchmarks/service.py --index INDEX

Two processes serve one index, each a copy of its own, since an index remembers what was scored: one computes up to 32
requests together, the other each alone. Callers keep their connection and ask again as soon as they are answered.
`mixed` (a third each of the kinds below) runs for --seconds on the first. Then each of --kinds runs a quarter of that
on both, interleaved in three rounds, with the same questions: `score`, one text with one product; `rerank`, one text
with 8 products; `recall`, a topic of its own with 64 products, exactly. Ratios are medians of the rounds' ratios, of
answers a second and of processor time an answer, which whatever else runs on the machine disturbs less. `memory`: of
the first process, after 1,000 requests and after --memory of them. The callers run on the same cores. Without --index:
random weights and drawn regions, so that times mean something and scores nothing. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from drawn_regions import drawn_regions

from interbert.config import preset
from interbert.corpus.catalogue import Catalogue
from interbert.model.interbert import InterBert
from interbert.recall.index import index_catalogue, open_index
from interbert.text.tokenizer import SPECIAL, Tokenizer
from interbert.vision.provenance import ExtractorInfo, ImageInfo
from interbert.vision.store import RegionStore

FEATURES, DOCUMENTS, RECALLED, ROUNDS, EARLY = 736, 8, 64, 3, 1_000
WORDS = [f"{a}{b}{c}" for a in "bdfgklmn" for b in "aeiou" for c in "lnrst"]  # 200
KINDS = ("score", "rerank", "recall")
Ask = Callable[[random.Random], tuple[str, dict[str, Any]]]


def drawn_index(folder: Path, name: str, count: int) -> Path:
    """An index of `count` products with a picture each, and its run of random weights."""
    torch.manual_seed(0)
    extractor = ExtractorInfo("drawn", FEATURES)
    tokenizer = Tokenizer({word: at for at, word in enumerate([*SPECIAL, *WORDS])}, lower_case=True)
    config = replace(preset(name), vocabulary_size=30522, region_feature_size=FEATURES, region_standardised=False)
    InterBert(config).save_pretrained(folder / "run")
    tokenizer.save(folder / "run" / "tokenizer.json")
    extractor.save(folder / "run" / "extractor.json")
    numbers = np.random.default_rng(0)
    with RegionStore.writer(folder / "regions", extractor) as writer:
        for number in range(count):
            info = ImageInfo(f"{number}.jpg", f"{number:064x}", number)
            writer.append(str(number), drawn_regions(numbers, 10, 36, FEATURES), info)
    rows = [{"id": f"p{at}", "image": f"{at}.jpg", "title": WORDS[at % len(WORDS)], "place": at} for at in range(count)]
    (folder / "catalogue.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    catalogue = Catalogue(folder / "catalogue.jsonl")
    index_catalogue(catalogue, folder / "run", folder / "index", regions=folder / "regions", progress=False)
    return folder / "index"


def asking(ids: Sequence[str], where: str | None) -> dict[str, Ask]:
    """How to ask for each kind; every text is another one."""

    def text(draw: random.Random) -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(3, 9)))

    def score(draw: random.Random) -> tuple[str, dict[str, Any]]:
        return "/score", {"pairs": [{"text": text(draw), "id": draw.choice(ids)}]}

    def rerank(draw: random.Random) -> tuple[str, dict[str, Any]]:
        documents = [{"id": one} for one in draw.sample(ids, min(DOCUMENTS, len(ids)))]
        return "/rerank", {"query": text(draw), "documents": documents}

    def recall(draw: random.Random) -> tuple[str, dict[str, Any]]:
        return "/recall", {"topic": text(draw), "threshold": 0, **({"filter": where} if where else {})}

    every: dict[str, Ask] = {"score": score, "rerank": rerank, "recall": recall}
    return every | {"mixed": lambda draw: every[draw.choice(KINDS)](draw)}


@dataclass
class Served:
    """A process that serves. count: of answers so far.  memory: resident MB when as many as a mark had come."""

    process: int
    host: str
    port: int
    marks: Sequence[int]
    count: int = 0
    memory: dict[int, float] = field(default_factory=dict)

    def note(self) -> None:
        self.count += 1
        if self.count in self.marks:
            status = Path(f"/proc/{self.process}/status").read_text()
            self.memory[self.count] = int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024

    @property
    def processor_seconds(self) -> float:
        """That the process has taken so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(index: Path, batch: int, given: argparse.Namespace, marks: Sequence[int]) -> Iterator[Served]:
    """`interbert serve` with that batch."""
    limits = ["--batch", str(batch), "--threads", str(given.threads), "--time-limit", str(given.time_limit)]
    options = ["--port", "0", "--quiet", *limits]
    command = [sys.executable, "-m", "interbert", "serve", str(index), *options]
    environment = os.environ | {"OMP_NUM_THREADS": str(given.threads)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        place = urlsplit(process.stdout.readline().split()[-1])
        yield Served(process.pid, str(place.hostname), int(place.port or 0), marks)
    finally:
        process.terminate()
        process.wait(60)


@dataclass
class Round:
    """What callers saw. processor: seconds of the process that served."""

    seconds: float
    took: list[float]
    statuses: Counter[int]
    processor: float = 0.0

    @property
    def per_second(self) -> float:
        return self.statuses[200] / self.seconds

    @property
    def per_processor_second(self) -> float:
        return self.statuses[200] / max(self.processor, 1e-9)

    def to_json(self) -> dict[str, Any]:
        times = sorted(1000 * one for one in self.took) or [0.0]
        return {
            "seconds": round(self.seconds, 1),
            "answers_per_second": round(self.per_second, 1),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "milliseconds": {
                name: round(times[min(len(times) - 1, int(share * len(times)))], 1)
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("most", 1.0))
            },
        }


async def caller(to: Served, ask: Ask, seed: int, go_on: Callable[[], bool], seen: Round) -> None:
    """Asks and asks again over one connection."""
    draw = random.Random(seed)
    reader, writer = await asyncio.open_connection(to.host, to.port)
    while go_on():
        path, question = ask(draw)
        body = json.dumps(question).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        began = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        (length,) = re.findall(rb"(?i)content-length: (\d+)", answer)
        await reader.readexactly(int(length))
        seen.took.append(time.perf_counter() - began)
        seen.statuses[int(answer[9:12])] += 1
        to.note()
        if answer[9:12] == b"429":
            await asyncio.sleep(1)
    writer.close()


def run(to: Served, ask: Ask, callers: int, go_on: Callable[[float], bool], seed: int) -> Round:
    """All callers at once, as long as `go_on` of the seconds since the start."""

    async def everybody() -> Round:
        seen, began, spent = Round(0, [], Counter()), time.perf_counter(), to.processor_seconds
        still = lambda: go_on(time.perf_counter() - began)  # noqa: E731
        await asyncio.gather(*(caller(to, ask, seed * 1000 + one, still, seen) for one in range(callers)))
        seen.seconds, seen.processor = time.perf_counter() - began, to.processor_seconds - spent
        return seen

    return asyncio.run(everybody())


def compared(together: Served, alone: Served, ask: Ask, given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Rounds of one kind on both, and the ratio of their throughputs."""
    seconds = given.seconds / 4 / ROUNDS
    rounds = []
    for at in range(ROUNDS):
        both = (together, alone)[:: -1 if at % 2 else 1]  # who is first may have the machine to itself
        seen = [run(one, ask, given.callers, lambda since: since < seconds, 100 * seed + at) for one in both]
        rounds.append(seen[:: -1 if at % 2 else 1])
    return {
        "together_per_second": round(statistics.median(first.per_second for first, _ in rounds), 1),
        "alone_per_second": round(statistics.median(second.per_second for _, second in rounds), 1),
        "ratio": _spread(first.per_second / max(second.per_second, 1e-9) for first, second in rounds),
        "ratio_by_processor_time": _spread(
            first.per_processor_second / max(second.per_processor_second, 1e-9) for first, second in rounds
        ),
        "statuses": {
            str(key): count for key, count in sum((r.statuses for both in rounds for r in both), Counter()).items()
        },
    }


def _spread(ratios: Iterable[float]) -> list[float]:
    """Median, least, most."""
    found = sorted(ratios)
    return [round(one, 2) for one in (statistics.median(found), found[0], found[-1])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--products", type=int, default=200)
    parser.add_argument("--preset", default="small")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=int, default=10_000, help="requests; 0: memory is not measured")
    parser.add_argument("--time-limit", type=float, default=30, help="seconds a request")
    parser.add_argument("--index", type=Path)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=KINDS, help="none: nothing is compared")
    given = parser.parse_args()
    marks = (EARLY, given.memory) if given.memory else ()
    result: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
    result |= {
        "threads": given.threads,
        "callers": given.callers,
        "model": given.preset if given.index is None else str(given.index),
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        index = given.index or drawn_index(folder, given.preset, given.products)
        store = open_index(index)
        asks = asking(sorted(store.ids(store.versions()[-1].number)), None if given.index else f"place < {RECALLED}")
        own = [shutil.copytree(index, folder / name) for name in ("together", "alone")]
        together = stack.enter_context(served(own[0], 32, given, marks))
        alone = stack.enter_context(served(own[1], 1, given, ()))
        for kind in given.kinds or KINDS:  # to warm both up
            for one in (together, alone):
                run(one, asks[kind], 4, lambda since: since < 0.5, 1)
        if given.seconds:
            mixed = run(together, asks["mixed"], given.callers, lambda since: since < given.seconds, 2)
            result["mixed"] = mixed.to_json()
        kinds = enumerate(given.kinds, 3)
        result["kinds"] = {kind: compared(together, alone, asks[kind], given, at) for at, kind in kinds}
        if marks:
            run(together, asks["score"], given.callers, lambda _: together.count < marks[-1], 9)
            early, late = (together.memory[mark] for mark in marks)
            result["memory"] = {"requests": marks, "megabytes": [round(early, 1), round(late, 1)]}
            result["memory"]["growth"] = round(late / early - 1, 4)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
