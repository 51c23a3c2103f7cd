"""Of what a stage hides, how much a model finds: words with their picture, without it, and of texts alone.

In: a model and a `Pool` of fixed pairs. Out: shares with 95 % bootstrap intervals, resampled by pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from interbert.batch import Batch, Output
from interbert.errors import InterbertError
from interbert.metrics import bootstrap_interval
from interbert.model.interbert import InterBert
from interbert.pretraining.objectives import scored_regions, scored_words
from interbert.pretraining.stages import Stage

if TYPE_CHECKING:
    from interbert.pretraining.evaluation import Pool

COUNTED = 100_000  # so many training texts say which word is the most frequent
WORDS_ALONE = (Stage("mlm", "none", matching="none"), Stage("msm", "none", matching="none"))


def moved(model: InterBert, batches: Iterator[Batch]) -> Iterator[Batch]:
    """Batches on the model's device."""
    device = next(model.parameters()).device
    return (batch.to(device) for batch in batches)


def words_right(model: InterBert, output: Output, batch: Batch) -> torch.Tensor:
    """bool [K]: whether each scored word is the most probable one."""
    assert output.text_states is not None
    assert batch.word_targets is not None
    scored = scored_words(batch)
    return model.word_logits(output.text_states[scored]).argmax(-1) == batch.word_targets[scored]


def regions_right(model: InterBert, output: Output, batch: Batch) -> torch.Tensor:
    """bool [K]: whether each scored region's class is the most probable one."""
    assert output.image_states is not None
    assert batch.region_targets is not None
    scored = scored_regions(batch)
    targets = batch.region_targets[scored]
    classes = targets.argmax(-1) if targets.is_floating_point() else targets
    return model.region_logits(output.image_states[scored]).argmax(-1) == classes


@torch.inference_mode()
def hidden_found(model: InterBert, pool: Pool, stage: Stage) -> dict[str, dict[str, Any]]:
    """`words_msm`, `regions_mrm` and the like: of what a stage hides, the share that is found.

    Of every text with its own picture, resampled by pair; no share of nothing.
    """
    found: dict[str, list[tuple[int, int]]] = {}
    for batch in moved(model, pool.own().batches(stage)):
        output = model(batch)
        of_pairs = {f"words_{stage.words}": (words_right(model, output, batch), scored_words(batch))}
        if stage.regions != "none":
            of_pairs[f"regions_{stage.regions}"] = regions_right(model, output, batch), scored_regions(batch)
        for name, (right, scored) in of_pairs.items():
            each = torch.split(right, scored.sum(1).tolist())
            found.setdefault(name, []).extend((int(one.sum()), len(one)) for one in each if len(one))
    return {name: _share(rows) for name, rows in found.items() if rows}


def _share(rows: Sequence[tuple[int, int]]) -> dict[str, Any]:
    counts = np.array(rows, np.float64)

    def share(sample: NDArray[np.float64]) -> float:
        return float(sample[:, 0].sum() / sample[:, 1].sum())

    return {"value": share(counts), "interval": bootstrap_interval(counts, share), "hidden": int(counts[:, 1].sum())}


@torch.inference_mode()
def word_gain(model: InterBert, pool: Pool, stage: Stage) -> dict[str, float | tuple[float, float]]:
    """Word accuracy with each text's own picture and without, and the difference's paired interval.

    Resampled by text: 95 %, percentile bootstrap.
    """
    rows: list[tuple[int, int, int]] = []
    for batch in moved(model, pool.own().batches(stage)):
        with_image = words_right(model, model(batch), batch)
        without = words_right(model, model(batch.text_alone()), batch)
        of_text = scored_words(batch).sum(1).tolist()
        for one, other in zip(torch.split(with_image, of_text), torch.split(without, of_text), strict=True):
            rows.append((int(one.sum()), int(other.sum()), len(one)))
    counts = np.array([row for row in rows if row[2]], np.float64)
    if not len(counts):
        raise InterbertError("no masked word to score; wanted a split with matching pairs and a stage that hides words")

    def gain(sample: NDArray[np.float64]) -> float:
        return float((sample[:, 0].sum() - sample[:, 1].sum()) / sample[:, 2].sum())

    total = counts.sum(0)
    return {
        "with_image": float(total[0] / total[2]),
        "without_image": float(total[1] / total[2]),
        "gain": gain(counts),
        "gain_interval": bootstrap_interval(counts, gain),
        "words": float(total[2]),
    }


def evaluate_words(model: InterBert, pool: Pool, seed: int) -> dict[str, Any]:
    """What a model knows of texts alone: of hidden words, singly and in segments, the share that it finds.

    Beside it the same model untrained, its weights drawn by the seed, and whoever always says the most frequent piece
    of the training texts.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        untrained = InterBert(model.config).eval().to(next(model.parameters()).device)
    piece = most_frequent(pool)
    return {
        "texts": len(pool.pairs.texts),
        "words": _of_stages(lambda stage: hidden_found(model.eval(), pool, stage)),
        "untrained": _of_stages(lambda stage: hidden_found(untrained, pool, stage)),
        "most_frequent": pool.corpus.tokenizer().tokens([piece])[0],
        "always_the_most_frequent": _of_stages(lambda stage: guessed(pool, stage, piece)),
    }


def most_frequent(pool: Pool) -> int:
    """The piece that the training texts have most often, special ones left out."""
    corpus = pool.corpus
    pieces = np.concatenate([corpus.words(int(text)) for text in corpus.split("train")[:COUNTED]])
    return int(np.bincount(pieces[~pool.maker.special.numpy()[pieces]]).argmax())


def guessed(pool: Pool, stage: Stage, piece: int) -> dict[str, dict[str, Any]]:
    """`hidden_found` of whoever always says the same piece."""
    rows: list[tuple[int, int]] = []
    for batch in pool.own().batches(stage):
        assert batch.word_targets is not None
        right, scored = batch.word_targets == piece, scored_words(batch)
        rows += zip((right & scored).sum(1).tolist(), scored.sum(1).tolist(), strict=True)
    return {f"words_{stage.words}": _share([row for row in rows if row[1]])}


def _of_stages(measure: Callable[[Stage], dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    return {name: one for stage in WORDS_ALONE for name, one in measure(stage).items()}
