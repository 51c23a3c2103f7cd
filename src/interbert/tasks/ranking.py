"""Every text with every picture: matching margins kept in parts on disk, and the ranks of both directions (4.5).

A part is a stripe of pictures with a chunk of texts, each sorted by length, and the same whatever the number of
processes, each of which computes with one thread: so are the scores, to the bit. Given the same again, what is on disk
is not computed again. Memory holds one stripe and one part, and a few numbers a text and a picture.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from interbert.batch import Regions, make_batch
from interbert.errors import InterbertError
from interbert.files import sha256_of, whole_file, write_json
from interbert.model.interbert import InterBert
from interbert.model.matching import margins
from interbert.pretraining.batches import AnyCorpus, Belonging
from interbert.tasks.task import Measured, best_regions, measured
from interbert.training.inference import ready, scoring
from interbert.workers import begin_worker, threads

STRIPE = 128  # pictures embedded at a time
PART_PAIRS = 4096  # what a kill loses at most, per process
PARTS = 4096  # as many files at most, about
PAIRS_AT_ONCE = {"cpu": 16, "cuda": 512}
ROWS_AT_ONCE = 2048  # of a CPU that meets short pairs: weights are read once for so many positions
PROCESSES = 8  # at most, where nobody says how many: each holds the model
FORMAT = 1
CUTS = (1, 5, 10)  # of recall


class Stripe:
    """Pictures, embedded once, in blocks of like sizes that meet texts together."""

    def __init__(self, model: InterBert, regions: Sequence[Regions], at_once: int) -> None:
        self.model, self.count, self.at_once = model, len(regions), at_once
        device = next(model.parameters()).device
        self._blocks: list[tuple[NDArray[np.int64], Tensor, Tensor | None]] = []
        for which in blocks_of([len(one) for one in regions], at_once):
            batch = make_batch([""] * len(which), None, [regions[at] for at in which]).to(device)
            assert batch.features is not None
            assert batch.locations is not None
            assert batch.regions_valid is not None
            embedded = model.image_embedding(batch.features, batch.locations, batch.confidence)
            valid = None if bool(batch.regions_valid.all()) else batch.regions_valid
            self._blocks.append((which, embedded, valid))

    def margins(self, words: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Of every text (token ids, `[CLS]` to `[SEP]`) with every picture: float32 [texts, pictures]."""
        device = next(self.model.parameters()).device
        lengths = np.array([len(one) for one in words])
        scores = np.empty((len(words), self.count), np.float32)
        for length in np.unique(lengths):
            alike = np.flatnonzero(lengths == length)
            ids = torch.from_numpy(np.stack([words[at] for at in alike.tolist()])).to(device)
            texts = self.model.text_embedding(ids, None)
            for which, images, valid in self._blocks:
                group = max(1, self.at_once // len(which))
                for start in range(0, len(alike), group):
                    found = margins(self.model, texts[start : start + group], images, valid)
                    scores[np.ix_(alike[start : start + group], which)] = found.float().cpu().numpy()
        return scores


def pairs_at_once(device: torch.device, positions: int) -> int:
    """How many pairs of about so many positions are scored together.

    >>> [pairs_at_once(torch.device("cpu"), positions) for positions in (35, 116, 600)]
    [58, 17, 16]
    """
    fewest = PAIRS_AT_ONCE[device.type]
    return max(fewest, ROWS_AT_ONCE // positions) if device.type == "cpu" else fewest


def margins_of(model: InterBert, words: Sequence[NDArray[np.int64]], regions: Sequence[Regions]) -> NDArray[np.float32]:
    """The margins of a few texts with a few pictures, at once: float32 [texts, pictures]."""
    return Stripe(model, regions, PAIRS_AT_ONCE[next(model.parameters()).device.type]).margins(words)


def blocks_of(counts: Sequence[int], size: int) -> list[NDArray[np.int64]]:
    """Places in blocks of at most `size`: equal counts together as far as they fill blocks, the rest by count.

    >>> [block.tolist() for block in blocks_of([7, 5, 7, 5, 5, 9], 2)]
    [[1, 3], [0, 2], [4, 5]]
    """
    numbers = np.asarray(counts)
    full: list[NDArray[np.int64]] = []
    rest: list[NDArray[np.int64]] = []
    for count in np.unique(numbers):
        alike = np.flatnonzero(numbers == count)
        whole = len(alike) // size * size
        full += [alike[start : start + size] for start in range(0, whole, size)]
        rest.append(alike[whole:])
    left = np.concatenate(rest) if rest else np.empty(0, np.int64)
    return full + [left[start : start + size] for start in range(0, len(left), size)]


@dataclass(frozen=True, eq=False)
class Pairs:
    """What is scored, and how. run: the folder of the model.  texts, images: int64 [N], [M], of the corpus.

    max_regions: of a picture, the best so many.  precision: "fp32" or "bf16".
    """

    run: Path
    corpus: AnyCorpus
    texts: NDArray[np.int64]
    images: NDArray[np.int64]
    max_regions: int | None = None
    precision: str = "fp32"
    part_pairs: int = PART_PAIRS
    stripe: int = STRIPE

    @cached_property
    def text_order(self) -> NDArray[np.int64]:
        """int64 [N]: places in `texts`, the shortest first."""
        return np.argsort(self.corpus.lengths[self.texts], kind="stable")

    @cached_property
    def image_order(self) -> NDArray[np.int64]:
        """int64 [M]: places in `images`, those with the fewest regions first."""
        counts = self.corpus.region_counts[self.images].astype(np.int64)
        return np.argsort(counts if self.max_regions is None else counts.clip(max=self.max_regions), kind="stable")

    @cached_property
    def chunk(self) -> int:
        """Texts of a part."""
        pairs = max(self.part_pairs, len(self.texts) * len(self.images) // PARTS)
        return max(1, pairs // min(self.stripe, max(1, len(self.images))))

    @property
    def parts(self) -> int:
        """How many parts there are: chunk after chunk of one stripe, stripe after stripe."""
        return math.ceil(len(self.images) / self.stripe) * self.chunks

    @property
    def chunks(self) -> int:
        """How many chunks of texts."""
        return math.ceil(len(self.texts) / self.chunk)

    def part(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Places in `texts` and in `images` of a part: its rows and columns."""
        stripe, chunk = divmod(number, self.chunks)
        texts = self.text_order[chunk * self.chunk : (chunk + 1) * self.chunk]
        return texts, self.image_order[stripe * self.stripe : (stripe + 1) * self.stripe]

    def facts(self) -> dict[str, Any]:
        """JSON values that scores depend on."""
        return {
            "format": FORMAT,
            "weights": sha256_of(self.run / "model.safetensors"),
            "corpus": self.corpus.digest,
            "texts": hashlib.sha256(self.texts.tobytes()).hexdigest(),
            "images": hashlib.sha256(self.images.tobytes()).hexdigest(),
            "max_regions": self.max_regions,
            "precision": self.precision,
            "part_pairs": self.part_pairs,
            "stripe": self.stripe,
            "torch": torch.__version__,
            "device": "cuda" if torch.cuda.is_available() else "cpu",
        }


@dataclass(frozen=True, eq=False)
class Scores:
    """Scored pairs on disk, read part by part."""

    pairs: Pairs
    folder: Path

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
        """(rows in texts, columns in images, float32 [rows, columns]) of every part."""
        for number in range(self.pairs.parts):
            yield *self.pairs.part(number), np.load(_file(self.folder, number))

    def matrix(self) -> NDArray[np.float32]:
        """All of them in memory, float32 [N, M]."""
        found = np.empty((len(self.pairs.texts), len(self.pairs.images)), np.float32)
        for rows, columns, scores in self:
            found[np.ix_(rows, columns)] = scores
        return found


def score_pairs(pairs: Pairs, parts: Path, *, processes: int | None = None, progress: bool = False) -> Scores:
    """Scores every text with every picture into a folder of its own below `parts`, or goes on there.

    processes: that score at once; None: one a core, at most 8, or one a GPU. A wish to stop is granted after the parts
    in work. Raises InterbertError for a score that is not finite, or a process that was killed.
    """
    facts = pairs.facts()
    folder = parts / hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "scores.json", facts)
    todo = [number for number in range(pairs.parts) if not _file(folder, number).is_file()]
    sizes = [math.prod(map(len, pairs.part(number))) for number in range(pairs.parts)]
    done = sum(sizes) - sum(sizes[number] for number in todo)
    count = min(processes or default_processes(), len(todo))
    with tqdm(total=sum(sizes), initial=done, unit="pair", desc="scoring", disable=not progress, smoothing=0.1) as bar:
        score = _in_this_process if count <= 1 else _in_processes(count)
        for number in score(pairs, folder, todo):
            bar.update(sizes[number])
    return Scores(pairs, folder)


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where what belongs together stands.

    texts: int64 [N], the rank from 1 of each text's best picture that belongs.  images: int64 [M], of each picture's
    best text. 0 where nothing belongs.  best: int64 [N, K], the places in `Pairs.images` of each text's first K.
    """

    texts: NDArray[np.int64]
    images: NDArray[np.int64]
    best: NDArray[np.int64]


def ranks_of(scores: Scores, belonging: Belonging, keep: int = 3) -> Ranks:
    """Ranks of both directions as `metrics.ranks` has them (ties count against), in two passes over the parts."""
    pairs = scores.pairs
    texts, images = len(pairs.texts), len(pairs.images)
    keep = min(keep, images)
    own = np.full(texts, -np.inf, np.float32)
    own_of_image = np.full(images, -np.inf, np.float32)
    best, best_scores = np.zeros((texts, keep), np.int64), np.full((texts, keep), -np.inf, np.float32)
    for rows, columns, found in scores:
        relevant = belonging.matrix(pairs.texts[rows], pairs.images[columns])
        right = np.where(relevant, found, -np.inf)
        own[rows] = np.maximum(own[rows], right.max(1))
        own_of_image[columns] = np.maximum(own_of_image[columns], right.max(0))
        everything = np.concatenate([best_scores[rows], found], 1)
        places = np.concatenate([best[rows], np.broadcast_to(columns, found.shape)], 1)
        first = np.argsort(-everything, 1, kind="stable")[:, :keep]
        best[rows], best_scores[rows] = (np.take_along_axis(of, first, 1) for of in (places, everything))
    of_text, of_image = np.ones(texts, np.int64), np.ones(images, np.int64)
    for rows, columns, found in scores:
        others = ~belonging.matrix(pairs.texts[rows], pairs.images[columns])
        of_text[rows] += ((found >= own[rows, None]) & others).sum(1)
        of_image[columns] += ((found >= own_of_image[None, columns]) & others).sum(0)
    of_text[np.isneginf(own)], of_image[np.isneginf(own_of_image)] = 0, 0
    return Ranks(of_text, of_image, best)


def of_ranks(found: NDArray[np.int64], owner: NDArray[Any]) -> dict[str, Measured]:
    """R@1, R@5, R@10, their mean and the median rank, with intervals. owner: [N], equal for what is drawn together."""
    _, of = np.unique(owner, return_inverse=True)
    asked = np.bincount(of).astype(np.float64)
    hits = {f"recall_at_{k}": np.bincount(of, found <= k) for k in CUTS}
    hits["recall_mean"] = np.mean(list(hits.values()), 0)
    figures = {name: measured(np.stack([of_owner, asked], 1), _ratio) for name, of_owner in hits.items()}
    groups = [found[of == one] for one in range(len(asked))]
    places = np.arange(len(groups), dtype=np.float64)[:, None]

    def median(drawn: NDArray[np.float64]) -> float:
        return float(np.median(np.concatenate([groups[int(one)] for one in drawn[:, 0]])))

    return figures | {"median_rank": measured(places, median, less_is_better=True)}


def _ratio(rows: NDArray[np.float64]) -> float:
    return float(rows[:, 0].sum() / rows[:, 1].sum())


def default_processes() -> int:
    """One a GPU; without any one a core, at most `PROCESSES`."""
    return torch.cuda.device_count() or min(PROCESSES, len(os.sched_getaffinity(0)))


def _file(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.npy"


class _Worker:
    """A process's model, and the stripe that it has embedded."""

    def __init__(self, pairs: Pairs, folder: Path, device: torch.device) -> None:
        self.pairs, self.folder, self.device = pairs, folder, device
        self.model = ready(InterBert.from_pretrained(pairs.run).to(device).eval(), pairs.precision)
        self._stripe: tuple[int, Stripe] | None = None

    def score(self, number: int) -> int:
        """Writes a part and returns its number."""
        pairs = self.pairs
        texts, _ = pairs.part(number)
        with scoring(pairs.precision, self.device):
            scores = self._embedded(number).margins([pairs.corpus.words(int(text)) for text in pairs.texts[texts]])
        if not np.isfinite(scores).all():
            row, column = np.argwhere(~np.isfinite(scores))[0]
            text, image = pairs.texts[texts[row]], pairs.images[pairs.part(number)[1][column]]
            raise InterbertError(
                f"text {text} with picture '{pairs.corpus.image_id(int(image))}': the score is not a finite number; "
                "the weights or the regions are broken"
            )
        with whole_file(_file(self.folder, number), "wb") as file:
            np.save(file, scores)
        return number

    def _embedded(self, number: int) -> Stripe:
        stripe = number // self.pairs.chunks
        if self._stripe is None or self._stripe[0] != stripe:
            self._stripe = None  # before the next one is made: two would be twice the memory
            images = [int(image) for image in self.pairs.images[self.pairs.part(number)[1]]]
            regions = [best_regions(self.pairs.corpus.regions(image), self.pairs.max_regions) for image in images]
            self._stripe = stripe, Stripe(self.model, regions, PAIRS_AT_ONCE[self.device.type])
        return self._stripe[1]


def _in_this_process(pairs: Pairs, folder: Path, todo: Sequence[int]) -> Iterator[int]:
    if todo:
        with threads(1):
            worker = _Worker(pairs, folder, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
            yield from map(worker.score, todo)


def _in_processes(count: int) -> Callable[[Pairs, Path, Sequence[int]], Iterator[int]]:
    def score(pairs: Pairs, folder: Path, todo: Sequence[int]) -> Iterator[int]:
        context = multiprocessing.get_context("spawn")
        numbers = context.SimpleQueue()
        for number in range(count):
            numbers.put(number)
        pool = ProcessPoolExecutor(count, context, _begin, (pairs, folder, numbers))
        try:
            for one in as_completed([pool.submit(_score, number) for number in todo]):
                yield one.result()
        except BrokenProcessPool as error:
            raise InterbertError(
                "a process that scored was ended from outside, perhaps for want of memory; the same command, with "
                "fewer --processes, goes on where this one stopped"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    return score


_worker: _Worker | None = None  # of a process of the pool: its functions get no other state


def _begin(pairs: Pairs, folder: Path, numbers: Any) -> None:
    global _worker
    begin_worker()
    device = torch.device("cuda", numbers.get()) if torch.cuda.is_available() else torch.device("cpu")
    _worker = _Worker(pairs, folder, device)


def _score(number: int) -> int:
    assert _worker is not None
    return _worker.score(number)
