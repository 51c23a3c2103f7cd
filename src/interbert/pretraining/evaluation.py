"""What pretraining has learned, on pictures it never saw: words, regions, matching, and retrieval without finetuning.

The quick form runs while training on a fixed pool; the full form is `interbert evaluate pretraining`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from interbert.batch import Batch, Output, make_batch
from interbert.config import MATCH_CLASS
from interbert.corpus.corpus import Corpus
from interbert.draws import generator_for
from interbert.errors import InterbertError
from interbert.metrics import ranks, recall_at
from interbert.model.alone import image_alone, text_alone
from interbert.model.interbert import InterBert
from interbert.model.matching import margin
from interbert.pretraining.batches import AnyCorpus, Augmentation, BatchMaker, DrawnPairs, draw_pairs, own_pairs
from interbert.pretraining.hidden import evaluate_words, hidden_found, moved, regions_right, word_gain, words_right
from interbert.pretraining.objectives import match_targets
from interbert.pretraining.stages import Masking, Stage
from interbert.tasks.ranking import Pairs, margins_of, of_ranks, ranks_of, score_pairs
from interbert.tasks.task import measured
from interbert.text.tokenizer import Tokenizer
from interbert.training.precision import autocast, chosen_precision, fast_matmul
from interbert.vision.provenance import ExtractorInfo

BATCH = 64  # pairs at a time
QUERIES = 32  # texts of the quick form that rank the pool's pictures


@dataclass(frozen=True, eq=False)
class Pool:
    """Fixed pairs of a split, and a small set of its pictures for retrieval.

    texts, images: one text a picture, int64 [K].
    """

    corpus: AnyCorpus
    maker: BatchMaker
    pairs: DrawnPairs
    texts: NDArray[np.int64]
    images: NDArray[np.int64]
    seed: int

    @classmethod
    def of(
        cls, corpus: AnyCorpus, maker: BatchMaker, seed: int, pairs: int, pictures: int, split: str = "validation"
    ) -> Pool | None:
        """None where the split has fewer than two pictures. The choice depends on the seed alone."""
        texts = corpus.split(split)
        order = texts[torch.randperm(len(texts), generator=generator_for(seed, split, "texts")).numpy()]
        images = np.array([corpus.image_of(int(text)) for text in order], np.int64)
        if len(np.unique(images)) < 2:
            return None
        drawn = own_pairs(order[:pairs], images[:pairs])
        if not corpus.text_alone:
            generator = generator_for(seed, split, "negatives")
            drawn = draw_pairs(drawn.texts, drawn.images, generator, maker.belonging)
        _, first = np.unique(images, return_index=True)
        first = np.sort(first)[:pictures]
        return cls(corpus, maker, drawn, order[first], images[first], seed)

    def relevant(self, texts: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool [texts, pictures of the pool]: which belong together; equal texts have each other's pictures."""
        return self.maker.belonging.matrix(texts, self.images)

    def own(self) -> Pool:
        """The same texts, each with its own picture."""
        images = np.array([self.corpus.image_of(int(text)) for text in self.pairs.texts], np.int64)
        return replace(self, pairs=own_pairs(self.pairs.texts, images))

    def batches(self, stage: Stage) -> Iterator[Batch]:
        """The fixed pairs under a stage's masks: the same at every call."""
        for start in range(0, len(self.pairs.texts), BATCH):
            part = self.pairs.part(slice(start, start + BATCH))
            generators = [generator_for(self.seed, "validation", start + at) for at in range(len(part.texts))]
            yield self.maker.make(part, stage, generators)


def quick_validation(model: InterBert, pool: Pool | None, stage: Stage) -> dict[str, float]:
    """Accuracies on the pool of what the stage teaches: words, regions, matching, R@1 and R@10 over its pictures."""
    if pool is None:
        return {}
    device = next(model.parameters()).device
    found: dict[str, float] = {}
    if stage.matching != "none":
        found = {f"alone_{name}": value for name, value in alone_recall(model, pool).items()}
    if stage.matching == "alone":
        return found
    right: dict[str, list[NDArray[np.bool_]]] = {"word": [], "region": [], "matching": []}
    with torch.inference_mode():
        for batch in pool.batches(stage):
            batch = batch.to(device)
            output = model(batch)
            if batch.masked_words is not None:
                right["word"].append(words_right(model, output, batch).cpu().numpy())
            if batch.masked_regions is not None:
                right["region"].append(regions_right(model, output, batch).cpu().numpy())
            if stage.matches:
                right["matching"].append(_matching_right(model, output, batch).cpu().numpy())
    scored = {name: np.concatenate(rows) for name, rows in right.items() if any(map(len, rows))}
    found |= {f"{name}_accuracy": float(hits.mean()) for name, hits in scored.items()}
    if stage.matching == "none":
        return found
    texts = pool.texts[:QUERIES]
    with torch.inference_mode():
        regions = [pool.corpus.regions(int(image)) for image in pool.images]
        scores = margins_of(model, [pool.corpus.words(int(text)) for text in texts], regions)
    place = ranks(scores, pool.relevant(texts))
    return found | {f"recall_at_{k}": recall_at(place, k) for k in (1, 10)}


@torch.inference_mode()
def recentre(model: InterBert, pool: Pool) -> float:
    """Shifts the matching head so that its mean score on the pool's pairs is the share of matches. Returns the shift.

    Hard negatives teach a model to say "no" too often of pairs at large. The one number that mends it, the bias of the
    matching margin, is fitted on held-out pairs (the maximum of their likelihood); no order of scores changes.
    """
    wanted = float(pool.pairs.is_match.mean())
    found = [_margins(model, model(batch)) for batch in moved(model, pool.batches(Stage("none", "none")))]
    margins = torch.cat(found).double().cpu().numpy()
    low, high = -50.0, 50.0
    for _ in range(60):
        shift = (low + high) / 2
        if float((1 / (1 + np.exp(-(margins + shift)))).mean()) < wanted:
            low = shift
        else:
            high = shift
    model.match_head.bias[MATCH_CLASS] += shift
    return shift


def alone_recall(model: InterBert, pool: Pool) -> dict[str, float]:
    """R@1 and R@10 over the pool's pictures by vectors read alone, for one text a picture."""
    corpus, device = pool.corpus, next(model.parameters()).device
    texts, images = [], []
    with torch.inference_mode():
        for start in range(0, len(pool.texts), BATCH):
            part = slice(start, start + BATCH)
            words = [corpus.words(int(text)).tolist() for text in pool.texts[part]]
            regions = [corpus.regions(int(image)) for image in pool.images[part]]
            batch = make_batch([""] * len(words), words, regions).to(device)
            texts.append(text_alone(model, batch))
            images.append(image_alone(model, batch))
        scores = model.margins_alone(torch.cat(texts), torch.cat(images)).cpu().numpy()
    place = ranks(scores, pool.relevant(pool.texts))
    return {f"recall_at_{k}": recall_at(place, k) for k in (1, 10)}


def _matching_right(model: InterBert, output: Output, batch: Batch) -> torch.Tensor:
    assert output.text_vector is not None
    assert output.image_vector is not None
    assert batch.is_match is not None
    logits = model.match_logits(output.text_vector, output.image_vector)
    return logits.argmax(-1) == match_targets(batch.is_match)


def _margins(model: InterBert, output: Output) -> torch.Tensor:
    assert output.text_vector is not None
    assert output.image_vector is not None
    return margin(model, output.text_vector, output.image_vector)


def evaluate_run(
    run: str | Path,
    corpus_folder: Path,
    *,
    split: str = "test",
    seed: int = 0,
    queries: int | None = None,
    processes: int | None = None,
    parts: Path | None = None,
    precision: str = "auto",
    revision: str | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """`evaluate_pretraining` of a saved run on a corpus, and retrieval: one text a picture ranks all of the split's.

    Of a corpus of texts alone, what `hidden.evaluate_words` gives, whole words hidden where the corpus knows them.

    queries: so many of these texts.  processes, parts: as in `ranking.score_pairs`; parts None: `scores` in the run's
    folder, or nothing kept of an id on the hub.  precision: "auto" is bfloat16 products where the device has them,
    "fp32", or "bf16".

    Raises InterbertError where the corpus was built with another extractor or vocabulary than the run's, or has fewer
    than two pictures in the split.
    """
    model = InterBert.from_pretrained(run, revision=revision)
    corpus = Corpus(corpus_folder)
    if Path(run).is_dir():
        folder = Path(run)
        regions = None if corpus.text_alone else ExtractorInfo.load(folder / "extractor.json")
        corpus.require(f"run '{run}'", regions, Tokenizer.load(folder / "tokenizer.json"))
    maker = BatchMaker(corpus, corpus.tokenizer(), Masking(whole_words=corpus.text_alone), Augmentation())
    pool = Pool.of(corpus, maker, seed, len(corpus), len(corpus), split)
    if pool is None:
        what = "texts" if corpus.text_alone else "pictures"
        raise InterbertError(f"the corpus has fewer than two {what} in its {split} split; nothing can be measured")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    arithmetic = chosen_precision(precision, device)
    evaluate = partial(evaluate_words, seed=seed) if corpus.text_alone else evaluate_pretraining
    with fast_matmul(), autocast(arithmetic, device):
        found = {"split": split, "precision": arithmetic, **evaluate(model.to(device), pool)}
    if corpus.text_alone:
        return found
    texts = pool.texts[:queries]
    with _on_disk(run, model) as folder:
        pairs = Pairs(folder, corpus, texts, pool.images, precision=arithmetic)
        scores = score_pairs(pairs, parts or folder / "scores", processes=processes, progress=progress)
        figures = of_ranks(ranks_of(scores, maker.belonging).texts, pool.images[: len(texts)])
    counted = {"queries": len(texts), "pictures": len(pool.images)}
    return {**found, "retrieval": figures | counted}


@contextmanager
def _on_disk(run: str | Path, model: InterBert) -> Iterator[Path]:
    """The run's folder; of an id on the hub, a folder with the model for the time being."""
    if Path(run).is_dir():
        yield Path(run)
        return
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        yield Path(folder)


@torch.inference_mode()
def evaluate_pretraining(model: InterBert, pool: Pool) -> dict[str, Any]:
    """What a model knows of a pool of pairs: masked words and matching, with 95 % bootstrap intervals.

    Words: MSM on every text with its own picture, nothing of it hidden, and without it. Hidden: words and regions that
    are hidden together, singly and in segments. Matching: every text once, half of them with another text's picture.
    Retrieval alone: one text a picture ranks all of them by vectors read alone.
    """
    model.eval()
    right = np.concatenate(
        [_matching_right(model, model(b), b).cpu().numpy() for b in moved(model, pool.batches(Stage("none", "none")))]
    )
    return {
        "words": word_gain(model, pool, Stage("msm", "none")),
        "hidden": _hidden(model, pool),
        "matching_accuracy": measured(right, pairs=len(right)),
        "retrieval_alone": alone_recall(model, pool),
    }


def _hidden(model: InterBert, pool: Pool) -> dict[str, dict[str, Any]]:
    """Singly and in segments; of an extractor without classes, words alone."""
    stages = [Stage("mlm", "mom"), Stage("msm", "mrm")]
    if not pool.corpus.extractor.classes:
        stages = [replace(stage, regions="none") for stage in stages]
    return {name: one for stage in stages for name, one in hidden_found(model, pool, stage).items()}
