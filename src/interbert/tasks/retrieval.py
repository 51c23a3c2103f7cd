"""Caption-based image retrieval (4.2, Table 3), finetuned or zero-shot: a caption finds its picture among many.

DATA is a corpus. Trained as a choice among a caption's picture and negative ones (4.2), or as the release's separate
pairs; evaluated by the matching margin of every caption with every picture. There is no new head: the matching head
of pretraining goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from interbert.batch import Batch, Regions, make_batch
from interbert.corpus.corpus import Corpus
from interbert.draws import generator_for
from interbert.errors import InterbertError, UsageError
from interbert.metrics import chance_of_recall, ranks, recall_at
from interbert.model.matching import margin
from interbert.pretraining.batches import Augmentation, Belonging, augmented_regions
from interbert.pretraining.objectives import matching_loss
from interbert.tasks.mining import Mined, mine
from interbert.tasks.negatives import Negatives
from interbert.tasks.ranking import CUTS, Pairs, Ranks, margins_of, of_ranks, ranks_of, score_pairs
from interbert.tasks.task import Asked, ChoiceBatch, Given, Measured, Task, TaskModel, choice_loss
from interbert.training.parallel import Parallel
from interbert.training.report import Picture, Shown, picture_file

log = logging.getLogger(__name__)
SHOWN_BOXES = 6  # of a picture in the report, the most confident ones


@dataclass(frozen=True)
class RetrievalOptions:
    """What is trained against what.

    form: "choice" is the paper's, a caption chooses among its picture and `negatives` others (softmax over the matching
    margins). "pairs" is the release's: four pairs, each match or not: the own one, two other captions (one of them of
    a mined picture), one other picture.
    """

    form: Literal["choice", "pairs"] = "choice"
    negatives: int = 3  # pictures beside the right one (4.2); of the form "choice"
    hard_negatives: int = 0  # of them, drawn from the mined pictures in place of all
    hard_pool: int = 50  # as many pictures are mined for a caption: those that fit it best, each side read alone
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation_queries: int = 200  # captions of the validation split that rank while training
    validation_pool: int = 100  # pictures that they rank

    def __post_init__(self) -> None:
        for name in ("negatives", "hard_pool", "validation_queries", "validation_pool"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}: got {getattr(self, name)}, wanted at least 1")
        if not 0 <= self.hard_negatives <= min(self.negatives, self.hard_pool):
            raise UsageError(
                f"hard_negatives: got {self.hard_negatives}, wanted 0 to {min(self.negatives, self.hard_pool)}, "
                "which are negatives and in the hard_pool"
            )

    @property
    def mines(self) -> bool:
        """Whether each epoch begins with the mining of hard negatives."""
        return self.form == "pairs" or self.hard_negatives > 0


class Retrieval(Task):
    """The task on a corpus: its training captions, and the rankings of its other splits."""

    metric: ClassVar[str] = "recall_mean"
    published: ClassVar = {
        "InterBERT (paper)": {"recall_at_1": 0.619, "recall_at_5": 0.871, "recall_at_10": 0.927},
        "InterBERT zero-shot (paper)": {"recall_at_1": 0.492, "recall_at_5": 0.776, "recall_at_10": 0.860},
        "ViLBERT (paper)": {"recall_at_1": 0.582, "recall_at_5": 0.849, "recall_at_10": 0.915},
        "SCAN (paper)": {"recall_at_1": 0.486, "recall_at_5": 0.777, "recall_at_10": 0.852},
    }

    def __init__(self, corpus: Corpus, options: RetrievalOptions, given: Given) -> None:
        self.corpus, self.options, self.given = corpus, options, given
        self.belonging = Belonging(corpus)
        self.enough = corpus.region_counts >= given.min_regions  # bool [pictures]
        texts = corpus.split("train")
        self.texts = texts[self.enough[corpus.images_of[texts]]]
        self.negatives = Negatives(corpus, self.texts, self.belonging)
        self.left_out = len(texts) - len(self.texts)
        self._mined: tuple[int, Mined] | None = None
        if self.left_out and given.out is not None:
            log.warning(
                "%d of %d training captions left out: their pictures have fewer than %d regions",
                self.left_out, len(texts), given.min_regions,
            )  # fmt: skip

    @classmethod
    def open(cls, data: Path, options: RetrievalOptions, given: Given) -> Retrieval:
        """The task on the corpus in `data`. Raises InterbertError where it is of another extractor or vocabulary."""
        return cls(corpus_of(data, given), options, given)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every training caption."""
        return self.corpus.lengths[self.texts].astype(np.int64)

    def begin_epoch(self, model: TaskModel, epoch: int, parallel: Parallel, give_way: Callable[[], None]) -> None:
        """Mines hard negatives with the vectors that the model gives each side alone, into the run's folder."""
        if self.options.mines:
            found = mine(
                model.backbone,
                self.negatives,
                pool=self.options.hard_pool,
                max_regions=self.given.max_regions,
                parallel=parallel,
                give_way=give_way,
            )
            if parallel.leads:
                Mined(found).save(self._file(epoch))
            parallel.gathered(0)  # every process reads the file: none before it is there

    def _file(self, epoch: int) -> Path:
        assert self.given.out is not None
        return self.given.out / "hard-negatives" / f"epoch-{epoch:03d}.npy"

    def _hard(self, example: int, epoch: int) -> NDArray[np.int64]:
        """The pictures mined for a training caption, best first."""
        if self._mined is None or self._mined[0] != epoch:
            self._mined = epoch, Mined.load(self._file(epoch), len(self.texts))
        return self._mined[1].of(example)

    def make(self, examples: NDArray[np.int64], generators: Sequence[Generator], epoch: int) -> Batch:
        """Four pairs a caption, the own one first."""
        rows: list[tuple[int, int, Generator]] = []
        for example, generator in zip(examples.tolist(), generators, strict=True):
            drawn = self._choice if self.options.form == "choice" else self._pairs
            rows += [(text, image, generator) for text, image in drawn(example, generator, epoch)]
        corpus, options = self.corpus, self.options
        words = [corpus.words(text).tolist() for text, _, _ in rows]
        most = self.given.max_regions
        regions = [augmented_regions(corpus, image, options.augmentation, g, most) for _, image, g in rows]
        ids = [f"{text}:{corpus.image_id(image)}" for text, image, _ in rows]
        batch = make_batch(ids, words, regions, pad_id=self.given.tokenizer.pad_id)
        choices = len(rows) // len(examples)
        batch.is_match = torch.arange(len(rows)) % choices == 0
        right = torch.zeros(len(examples), dtype=torch.int64)
        return ChoiceBatch(**vars(batch), choices=choices, right=right)

    def _choice(self, example: int, generator: Generator, epoch: int) -> list[tuple[int, int]]:
        """The paper's: (caption, its picture) and (caption, another picture) as often as there are negatives."""
        text, count = int(self.texts[example]), self.options.negatives
        hard = np.empty(0, np.int64)
        if self.options.hard_negatives:
            pool = self._hard(example, epoch)
            hard = pool[torch.randperm(len(pool), generator=generator).numpy()][: self.options.hard_negatives]
        others = self.negatives.pictures(text, count, generator, hard)
        return [(text, image) for image in (self.corpus.image_of(text), *others)]

    def _pairs(self, example: int, generator: Generator, epoch: int) -> list[tuple[int, int]]:
        """The release's: the own pair, two other captions with its picture, another picture with its caption."""
        text = int(self.texts[example])
        own, draw = self.corpus.image_of(text), self.negatives
        hard = draw.caption_of(self._hard(example, epoch), own, generator)
        (image,) = draw.pictures(text, 1, generator, np.empty(0, np.int64))
        return [(text, own), (draw.caption(own, generator), own), (hard, own), (text, image)]

    def counts(self, batch: Batch) -> dict[str, float]:
        """Captions, or pairs."""
        assert isinstance(batch, ChoiceBatch)
        assert batch.right is not None
        return {"choice": float(len(batch.right))} if self.options.form == "choice" else {"matching": float(len(batch))}

    def losses(self, model: TaskModel, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the right picture among the choices, or of match and no match."""
        assert isinstance(batch, ChoiceBatch)
        output = model.backbone(batch, 1)
        if self.options.form == "pairs":
            return {"matching": matching_loss(model.backbone, output, batch)}
        return {"choice": choice_loss(margin(model.backbone, output.text_vector, output.image_vector), batch)}

    def validate(self, model: TaskModel) -> dict[str, float]:
        """R@1, R@5, R@10 and their mean: some validation captions rank some validation pictures."""
        texts, images = self._validation()
        if len(images) < 2:
            return {}
        found = ranks(self._margins(model, texts, images), self.belonging.matrix(texts, images))
        recall = {f"recall_at_{k}": recall_at(found, k) for k in CUTS}
        return recall | {"recall_mean": float(np.mean(list(recall.values())))}

    def _validation(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Captions and pictures that are ranked while training: by the seed alone, and all captions have a picture."""
        texts = self._split("validation")
        order = generator_for(self.given.seed, "validation")
        images = np.unique(self.corpus.images_of[texts]).astype(np.int64)
        images = images[torch.randperm(len(images), generator=order).numpy()][: self.options.validation_pool]
        asked = texts[np.isin(self.corpus.images_of[texts], images)]
        asked = asked[torch.randperm(len(asked), generator=order).numpy()][: self.options.validation_queries]
        return asked, images

    def _split(self, name: str) -> NDArray[np.int64]:
        texts = self.corpus.split(name)
        return texts[self.enough[self.corpus.images_of[texts]]]

    def _margins(self, model: TaskModel, texts: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.float32]:
        words, regions = [self.corpus.words(int(text)) for text in texts], [self._regions(int(i)) for i in images]
        with torch.no_grad():
            return margins_of(model.backbone, words, regions)

    def _regions(self, image: int) -> Regions:
        return self.given.taken(self.corpus.regions(image))

    def evaluate(self, model: TaskModel, asked: Asked) -> dict[str, Any]:
        """R@1, R@5, R@10, their mean and the median rank, of pictures for captions (the paper's) and the other way.

        Every caption of the split with every picture of it; `queries`: so many captions drawn at random, of as many
        pictures as there are. Intervals by resampling pictures with all their captions. Whoever scores loads the model
        again from `asked.run`.
        """
        texts, images, left_out = self._ranked(asked)
        pairs = Pairs(asked.run, self.corpus, texts, images, self.given.max_regions, asked.precision)
        parts = asked.parts or asked.run / "scores"
        scores = score_pairs(pairs, parts, processes=asked.processes, progress=asked.progress)
        found = ranks_of(scores, self.belonging)
        counted = {"captions": len(texts), "pictures": len(images), "left_out": left_out}
        return {"metrics": self._figures(found, texts, images), **counted, "scores": str(scores.folder)}

    def _ranked(self, asked: Asked) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """The texts that are asked, the pictures that are ranked, and how many texts have too few regions."""
        texts = self._split(asked.split)
        left_out = len(self.corpus.split(asked.split)) - len(texts)
        images = images_ranked(self.corpus, texts, asked.split, self.given)
        if asked.queries is not None:
            texts = queries_of(texts, self.corpus.images_of[texts], asked.queries, generator_for(asked.seed, "queries"))
        return texts, images, left_out

    def _figures(self, found: Ranks, texts: NDArray[np.int64], images: NDArray[np.int64]) -> dict[str, Measured]:
        owner = self.corpus.images_of[texts]
        figures = of_ranks(found.texts, owner)
        asked = found.images > 0
        figures |= {f"{name}_of_captions": one for name, one in of_ranks(found.images[asked], images[asked]).items()}
        relevant = np.array([self.belonging.matrix(texts[at : at + 1], images).sum() for at in range(len(texts))])
        for k in CUTS:
            figures[f"recall_at_{k}"]["chance"] = float(chance_of_recall(relevant, len(images), k).mean())
        return figures

    def examples(self, model: TaskModel, count: int) -> list[Shown]:
        """Validation captions with the picture ranked first, and where that is wrong their own."""
        texts, images = self._validation()
        if len(images) < 2:
            return []
        scores = self._margins(model, texts, images)
        belongs = self.belonging.matrix(texts, images)
        found = ranks(scores, belongs)
        shown: list[Shown] = []
        for right in (True, False):
            for at in np.flatnonzero((found == 1) == right)[:count].tolist():
                own = int(np.where(belongs[at], scores[at], -np.inf).argmax())
                places = [(int(scores[at].argmax()), "ranked first")]
                places += [] if right else [(own, f"its own, at place {found[at]} of {len(images)}")]
                pictures = tuple(self._picture(int(images[one]), note, scores[at, one]) for one, note in places)
                said = "its own picture first" if right else "another picture first"
                shown.append(Shown(self.corpus.text(int(texts[at])), said, right, pictures))
        return shown

    def _picture(self, image: int, note: str, score: float) -> Picture:
        regions = self._regions(image)
        width, height = regions.image_size
        boxes = regions.boxes[:SHOWN_BOXES] / np.array([width, height, width, height], np.float32)
        probability = float(1 / (1 + np.exp(-np.float64(score))))
        return Picture(picture_file(self.corpus, image), note, probability, tuple(map(tuple, boxes.tolist())))

    def fingerprint(self) -> dict[str, Any]:
        """The corpus and how many captions are trained."""
        return {"corpus": self.corpus.digest, "captions": len(self.texts)}


def corpus_of(data: Path, given: Given) -> Corpus:
    """The corpus in `data`, fit for the model.

    Raises InterbertError where it is of another extractor or vocabulary, or has a longer text than the model reads.
    """
    corpus = Corpus(data)
    corpus.require("the model", given.extractor, given.tokenizer)
    longest = int(corpus.lengths.max(initial=0))
    if longest > given.config.max_text_tokens:
        raise InterbertError(
            f"corpus '{data}' has a text of {longest} tokens, the model reads {given.config.max_text_tokens}; "
            "build it with fewer max_words"
        )
    return corpus


def images_ranked(corpus: Corpus, texts: NDArray[np.int64], split: str, given: Given) -> NDArray[np.int64]:
    """The pictures of a split's texts, ascending. Raises InterbertError where there are not two to tell apart."""
    images = np.unique(corpus.images_of[texts]).astype(np.int64)
    if len(images) < 2:
        raise InterbertError(
            f"the corpus has {len(images)} pictures of {given.min_regions} regions or more in its {split} split, "
            "wanted at least 2 to rank"
        )
    return images


def queries_of(texts: NDArray[np.int64], owner: NDArray[Any], count: int, generator: Generator) -> NDArray[np.int64]:
    """`count` of the texts at random, in their order: one of every picture before any has two. owner: [N], pictures."""
    order = torch.randperm(len(texts), generator=generator).numpy()
    by_owner = order[np.argsort(owner[order], kind="stable")]
    _, first, sizes = np.unique(owner[by_owner], return_index=True, return_counts=True)
    turn = np.empty(len(texts), np.int64)
    turn[by_owner] = np.arange(len(texts)) - np.repeat(first, sizes)
    chosen = order[np.argsort(turn[order], kind="stable")][:count]
    return np.asarray(texts[np.sort(chosen)])
