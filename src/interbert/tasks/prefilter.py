"""The prefilter of `cascade` (beyond the paper): vectors of each side alone, taught to follow the interaction score.

DATA is a corpus. The whole model stays as it is, so the interaction score does; new projections (`model/alone.py`) are
trained. For each text a list of pictures is scored once by the model reading both together; the softmax over the list
is what inner products are to follow (KL), and in each batch every text is to find its picture, every picture its text.
The figure is what `cascade` is asked for: the share of the exact best that is among the first K by vectors alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn.functional import log_softmax

from interbert.batch import Batch
from interbert.corpus.corpus import Corpus
from interbert.draws import generator_for
from interbert.errors import UsageError
from interbert.files import sha256_of, write_json
from interbert.model.alone import image_of_summary, text_of_summary, with_projections, without_projections
from interbert.model.interbert import InterBert
from interbert.pretraining.batches import Belonging
from interbert.pretraining.objectives import alone_loss
from interbert.tasks.ranking import Pairs, ranks_of, score_pairs
from interbert.tasks.retrieval import corpus_of, images_ranked, queries_of
from interbert.tasks.task import Asked, Given, Measured, Task, TaskModel, measured
from interbert.tasks.teacher import Lesson, Reader, begin_folder, weights_digest
from interbert.training.parallel import Parallel
from interbert.training.precision import autocast

SHARE = 200 / 3000  # of the pictures, which a cascade scores: what is asked of it
CUTS = (50, 100, 200, 500, 1000)
FOLDER, CALIBRATION = "prefilter", "calibration.json"


@dataclass(frozen=True)
class PrefilterOptions:
    """What is learned from: `texts` of the training split's `pool` pictures, each with `listed` of these pictures.

    hard_share: of a list, the pictures that fit best by the vectors as they were; the others are drawn, and its own
    picture is in it.  temperature: of the softmax that is followed.  contrast: how much that of a batch counts.
    """

    pool: int = 4000
    texts: int = 4000
    listed: int = 48
    hard_share: float = 0.5
    temperature: float = 1.0
    contrast: float = 0.1
    answers: int = 20  # the exact best that are to be found
    validation_queries: int = 50
    validation_pool: int = 500

    def __post_init__(self) -> None:
        for name in ("pool", "texts", "listed", "answers", "validation_queries", "validation_pool"):
            if getattr(self, name) < (2 if name in ("pool", "listed") else 1):
                raise UsageError(f"{name}: got {getattr(self, name)}, wanted more")
        if not 0 <= self.hard_share <= 1:
            raise UsageError(f"hard_share: got {self.hard_share}, wanted 0 to 1")
        if self.temperature <= 0 or self.contrast < 0:
            raise UsageError(
                f"temperature {self.temperature}, contrast {self.contrast}: wanted above 0, and 0 or above"
            )


@dataclass(eq=False)
class PrefilterBatch(Batch):
    """Texts with their lists. text_summaries: [B, P, H].  image_summaries: [U, P, H], of the distinct pictures.

    lists: int64 [B, K], places among these.  margins: [B, K], read together.  own: int64 [B], of the texts' pictures.
    """

    text_summaries: Tensor | None = None
    image_summaries: Tensor | None = None
    lists: Tensor | None = None
    margins: Tensor | None = None
    own: Tensor | None = None


class Prefilter(Task):
    """The task on a corpus: lists of training pictures, and the exact best of other splits."""

    metric: ClassVar[str] = "found_at_a_fifteenth"
    published: ClassVar = {}

    def __init__(self, corpus: Corpus, options: PrefilterOptions, given: Given) -> None:
        self.corpus, self.options, self.given = corpus, options, given
        self.belonging = Belonging(corpus)
        self.enough = corpus.region_counts >= given.min_regions  # bool [pictures]
        self.images, self.texts = self._drawn("train", options.pool, options.texts)

    @classmethod
    def open(cls, data: Path, options: PrefilterOptions, given: Given) -> Prefilter:
        """The task on the corpus in `data`. Raises InterbertError where it is of another extractor or vocabulary."""
        return cls(corpus_of(data, given), options, given)

    @staticmethod
    def prepared(model: InterBert) -> InterBert:
        """With projections that add nothing yet, and they alone are trained."""
        made = with_projections(model).requires_grad_(False)
        assert made.alone is not None
        made.alone.requires_grad_(True)
        return made

    @staticmethod
    def carry_over(start: Path, out: Path) -> None:
        """The calibration of the start holds: the interaction score is the same."""
        if (start / CALIBRATION).is_file():
            known = json.loads((start / CALIBRATION).read_text(encoding="utf-8"))
            write_json(out / CALIBRATION, known | {"weights_sha256": sha256_of(out / "model.safetensors")})

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every training text."""
        return self.corpus.lengths[self.texts].astype(np.int64)

    def begin_epoch(self, model: TaskModel, epoch: int, parallel: Parallel, give_way: Callable[[], None]) -> None:
        """Before the first: what is learned from, and what validations ask."""
        reader = Reader(model.backbone, self.corpus, self.given.max_regions, parallel, give_way)
        options = self.options
        if parallel.leads:
            begin_folder(self._file("train").parent, {"weights": weights_digest(model.backbone), **self._asked()})
        parallel.gathered(0)
        if not self._file("train").is_file():
            lists = parallel.from_leader(self._lists(reader))  # the same to the last, whatever a device rounds
            self._learned(reader, "train", self.texts, self.images, lists)
        images, texts = self._drawn("validation", options.validation_pool, options.validation_queries)
        if len(images) > 1 and not self._file("validation").is_file():
            everything = np.broadcast_to(np.arange(len(images)), (len(texts), len(images)))
            self._learned(reader, "validation", texts, images, everything)

    def make(self, examples: NDArray[np.int64], generators: Sequence[Generator], epoch: int) -> Batch:
        """Texts with their lists, summaries of both."""
        lesson = self._lesson
        texts = lesson.texts[examples]
        own = np.searchsorted(lesson.images, self.corpus.images_of[texts])
        every, places = np.unique(np.concatenate([own, lesson.lists[examples].ravel()]), return_inverse=True)
        count = len(examples)
        return PrefilterBatch(
            [str(text) for text in texts],
            belongs=torch.from_numpy(self.belonging.matrix(texts, lesson.images[own])),
            text_summaries=torch.from_numpy(lesson.text_summaries[examples]),
            image_summaries=torch.from_numpy(lesson.image_summaries[every]),
            lists=torch.from_numpy(places[count:].reshape(count, -1)),
            margins=torch.from_numpy(lesson.margins[examples]),
            own=torch.from_numpy(places[:count]),
        )

    def counts(self, batch: Batch) -> dict[str, float]:
        """Texts."""
        return {"follow": float(len(batch)), "contrast": float(len(batch))}

    def losses(self, model: TaskModel, batch: Batch) -> dict[str, Tensor]:
        """KL of the lists' softmax from that of the margins read together, and the contrast in the batch."""
        assert isinstance(batch, PrefilterBatch)
        assert batch.text_summaries is not None
        assert batch.image_summaries is not None
        assert batch.lists is not None
        assert batch.margins is not None
        assert batch.belongs is not None
        with autocast("fp32", batch.margins.device):
            texts = text_of_summary(model.backbone, batch.text_summaries)
            images = image_of_summary(model.backbone, batch.image_summaries)
            alone = torch.einsum("bf,bkf->bk", texts, images[batch.lists])
            contrast = alone_loss(texts @ images[batch.own].T, batch.belongs)
        return {
            "follow": following_loss(alone, batch.margins, self.options.temperature),
            "contrast": self.options.contrast * contrast,
        }

    def validate(self, model: TaskModel) -> dict[str, float]:
        """The share of the exact best that is among the first fifteenth by vectors alone, and among twice as many."""
        if not self._file("validation").is_file():
            return {}
        lesson = Lesson.load(self._file("validation"))
        texts, images = (torch.from_numpy(one) for one in (lesson.text_summaries, lesson.image_summaries))
        alone = self._alone(model.backbone, texts, images)
        best = np.argsort(-lesson.margins, 1, kind="stable")[:, : self.options.answers]
        places = alone_places(alone, best)
        share = self._cut(len(lesson.images), best.shape[1])
        cuts = {self.metric: share, "found_at_two_fifteenths": 2 * share}
        return {name: float((places < cut).mean()) for name, cut in cuts.items()}

    def evaluate(self, model: TaskModel, asked: Asked) -> dict[str, Any]:
        """The share of the exact best that is among the first K by vectors alone, with the projections and without.

        Every text of the split with all its pictures; `queries`: so many texts, one of every picture first. Intervals
        by resampling pictures with all their texts.
        """
        corpus = self.corpus
        texts = self._split(asked.split)
        images = images_ranked(corpus, texts, asked.split, self.given)
        if asked.queries is not None:
            texts = queries_of(texts, corpus.images_of[texts], asked.queries, generator_for(asked.seed, "queries"))
        pairs = Pairs(asked.run, corpus, texts, images, self.given.max_regions, asked.precision)
        scores = score_pairs(
            pairs, asked.parts or asked.run / "scores", processes=asked.processes, progress=asked.progress
        )
        best = ranks_of(scores, self.belonging, self.options.answers).best
        reader = Reader(model.backbone, corpus, self.given.max_regions, Parallel(), lambda: None)
        summaries = reader.text_summaries(texts), reader.image_summaries(images)
        owner = corpus.images_of[texts]
        figures = self._figures(alone_places(self._alone(model.backbone, *summaries), best), owner, len(images), "")
        if model.backbone.alone is not None:
            before = without_projections(model.backbone)
            places = alone_places(self._alone(before, *summaries), best)
            figures |= self._figures(places, owner, len(images), "_without_projections")
        left_out = len(corpus.split(asked.split)) - len(self._split(asked.split))
        counted = {"captions": len(texts), "pictures": len(images), "left_out": left_out}
        return {"metrics": figures, **counted, "answers": best.shape[1], "scores": str(scores.folder)}

    def fingerprint(self) -> dict[str, Any]:
        """The corpus and how many texts are learned from."""
        return {"corpus": self.corpus.digest, "texts": len(self.texts), "pictures": len(self.images)}

    def _asked(self) -> dict[str, Any]:
        names = ("pool", "texts", "listed", "hard_share", "validation_queries", "validation_pool")
        options = {name: getattr(self.options, name) for name in names}
        return self.fingerprint() | options | {"regions": self.given.max_regions, "seed": self.given.seed}

    def _figures(
        self, places: NDArray[np.int64], owner: NDArray[Any], pictures: int, ending: str
    ) -> dict[str, Measured]:
        """places: int64 [N, answers], of the exact best by vectors alone, from 0.  owner: [N], pictures."""
        _, of = np.unique(owner, return_inverse=True)
        asked = np.bincount(of).astype(np.float64)
        cuts = {f"found_at_{cut}": float(cut) for cut in CUTS if cut < pictures}
        found = {}
        for name, cut in ({self.metric: self._cut(pictures, places.shape[1])} | cuts).items():
            hits = np.bincount(of, (places < cut).mean(1))
            found[name + ending] = measured(np.stack([hits, asked], 1), _ratio)
        return found

    def _cut(self, pictures: int, answers: int) -> float:
        """A fifteenth of the pictures, and no fewer than are to be found."""
        return max(SHARE * pictures, float(answers))

    def _alone(self, model: InterBert, texts: Tensor, images: Tensor) -> NDArray[np.float32]:
        """float32 [N, M]: margins by vectors alone, of summaries."""
        device = next(model.parameters()).device
        with torch.no_grad(), autocast("fp32", device):
            vectors = text_of_summary(model, texts.to(device)), image_of_summary(model, images.to(device))
            found: NDArray[np.float32] = (vectors[0] @ vectors[1].T).cpu().numpy()
        return found

    def _learned(
        self,
        reader: Reader,
        split: str,
        texts: NDArray[np.int64],
        images: NDArray[np.int64],
        lists: NDArray[np.int64],
    ) -> None:
        folder = self._file(split).with_suffix("")
        margins = reader.margins(texts, images, lists, folder)
        summaries = reader.text_summaries(texts).numpy(), reader.image_summaries(images).numpy()
        if reader.parallel.leads:
            Lesson(texts, images, np.ascontiguousarray(lists), margins, *summaries).save(self._file(split))
            for part in folder.glob("part-*.npy"):
                part.unlink()
            folder.rmdir()
        reader.parallel.gathered(0)  # every process reads the file: none before it is there

    def _lists(self, reader: Reader) -> NDArray[np.int64]:
        """int64 [N, listed]: each training text's own picture, the best others by vectors so far, and drawn ones."""
        options, count = self.options, len(self.images)
        size = min(options.listed, count)
        own = np.searchsorted(self.images, self.corpus.images_of[self.texts])
        alone = self._alone(reader.model, reader.text_summaries(self.texts), reader.image_summaries(self.images))
        alone[np.arange(len(own)), own] = np.inf
        lists = np.empty((len(own), size), np.int64)
        for at, row in enumerate(alone):
            first = np.argsort(-row, kind="stable")[: 1 + round(options.hard_share * (size - 1))]
            order = torch.randperm(count, generator=generator_for(self.given.seed, "list", at)).numpy()
            lists[at] = np.concatenate([first, order[~np.isin(order, first)]])[:size]
        return lists

    def _drawn(self, split: str, pictures: int, texts: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """At most so many pictures of a split, ascending, and so many of their texts, ascending; by the seed alone."""
        order, every = generator_for(self.given.seed, "prefilter", split), self._split(split)
        images = np.unique(self.corpus.images_of[every]).astype(np.int64)
        images = np.sort(images[torch.randperm(len(images), generator=order).numpy()[:pictures]])
        theirs = every[np.isin(self.corpus.images_of[every], images)]
        return images, queries_of(theirs, self.corpus.images_of[theirs], texts, order)

    def _split(self, name: str) -> NDArray[np.int64]:
        texts = self.corpus.split(name)
        return texts[self.enough[self.corpus.images_of[texts]]]

    def _file(self, split: str) -> Path:
        assert self.given.out is not None
        return self.given.out / FOLDER / f"{split}.npz"

    @cached_property
    def _lesson(self) -> Lesson:
        return Lesson.load(self._file("train"))


def following_loss(alone: Tensor, together: Tensor, temperature: float) -> Tensor:
    """KL divergence of softmax(alone) from softmax(together), over each list, summed over lists. Both [B, K].

    >>> round(float(following_loss(torch.zeros(1, 2), torch.tensor([[0.0, torch.inf]]).nan_to_num(), 1.0)), 4)  # ln 2
    0.6931
    """
    wanted, said = (log_softmax(one.float() / temperature, -1) for one in (together, alone))
    return (wanted.exp() * (wanted - said)).sum()


def alone_places(alone: NDArray[np.float32], best: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places by vectors alone, from 0, of what is best otherwise; ties count against.

    alone: [N, M].  best: int64 [N, K], columns. Returns int64 [N, K].

    >>> alone_places(np.array([[0.1, 0.9, 0.5]], np.float32), np.array([[0, 1]])).tolist()
    [[2, 0]]
    """
    own = np.take_along_axis(alone, best, 1)
    return np.stack([(alone >= own[:, [at]]).sum(1) - 1 for at in range(best.shape[1])], 1)


def _ratio(rows: NDArray[np.float64]) -> float:
    return float(rows[:, 0].sum() / rows[:, 1].sum())
