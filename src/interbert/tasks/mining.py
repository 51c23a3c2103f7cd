"""Hard negatives, mined: for each training caption the pictures that fit it best though they do not belong to it.

Each side is read alone (`InterBert.margins_alone`), so all captions meet all pictures by an inner product. What was
mined for an epoch stays in the run's folder, as `hard-negatives/epoch-003.npy`: int32 [captions, pool], the caption's
place among the training captions, the pictures' numbers in the corpus, best first, -1 where there are no more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interbert.batch import Batch, make_batch
from interbert.errors import InterbertError
from interbert.files import whole_file
from interbert.model.alone import image_alone, text_alone
from interbert.model.interbert import InterBert
from interbert.pretraining.batches import AnyCorpus
from interbert.tasks.negatives import Negatives
from interbert.tasks.task import best_regions
from interbert.training.parallel import Parallel

TEXTS_AT_ONCE, IMAGES_AT_ONCE = 64, 16  # a second or so of a large model on a CPU, in which no wish to stop is seen
README = """# Hard negatives

`epoch-NNN.npy`: the pictures that fitted each training caption best at the beginning of that epoch, though they do not
belong to it, read alone by the model as it was then. int32 [captions, pool]: a row is a caption's place among the
training captions of the corpus (those whose picture has enough regions), an entry a picture's number in the corpus,
best first, -1 where there are no more. An epoch that goes on after a stop reads its file again.
"""


def mine(
    model: InterBert,
    among: Negatives,
    *,
    pool: int,
    max_regions: int | None = None,
    parallel: Parallel | None = None,
    give_way: Callable[[], None] = lambda: None,
) -> NDArray[np.int32]:
    """The best `pool` pictures for each training caption that do not belong to it: int32 [captions, pool], -1 for none.

    The same whatever the number of processes: each takes some blocks of captions, all call the model equally often.
    give_way: called between blocks, see `Legs`.
    """
    parallel = parallel or Parallel()
    corpus, texts = among.corpus, among.texts
    pictures = _image_vectors(model, corpus, among.images, max_regions, give_way)
    order = np.argsort(corpus.lengths[texts], kind="stable")
    blocks = [order[start : start + TEXTS_AT_ONCE] for start in range(0, len(order), TEXTS_AT_ONCE)]
    found = np.full((len(texts), pool), -1, np.int32)
    mine_of_rank: dict[int, NDArray[np.int32]] = {}
    for turn in range(-(-len(blocks) // parallel.world)):
        give_way()
        number = min(turn * parallel.world + parallel.rank, len(blocks) - 1)
        asked = texts[blocks[number]]
        margins = model.margins_alone(_text_vectors(model, corpus, asked), pictures)
        mine_of_rank[number] = _best(margins, among, asked, pool)
    for theirs in parallel.gathered(mine_of_rank):
        for number, best in theirs.items():
            found[blocks[number], : best.shape[1]] = best
    return found


def _best(margins: Tensor, among: Negatives, texts: NDArray[np.int64], pool: int) -> NDArray[np.int32]:
    own = torch.from_numpy(among.belonging.matrix(texts, among.images)).to(margins.device)
    best = margins.masked_fill(own, -torch.inf).topk(min(pool, len(among.images)), 1)
    pictures = among.images[best.indices.cpu().numpy()]
    return np.where(np.isneginf(best.values.cpu().numpy()), -1, pictures).astype(np.int32)


def _image_vectors(
    model: InterBert,
    corpus: AnyCorpus,
    images: NDArray[np.int64],
    max_regions: int | None,
    give_way: Callable[[], None],
) -> Tensor:
    order = np.argsort(corpus.region_counts[images], kind="stable")
    found: list[Tensor] = []
    for start in range(0, len(order), IMAGES_AT_ONCE):
        give_way()
        block = images[order[start : start + IMAGES_AT_ONCE]].tolist()
        regions = [best_regions(corpus.regions(image), max_regions) for image in block]
        found.append(_vector(image_alone, model, make_batch([""] * len(regions), None, regions)))
    return torch.cat(found)[torch.from_numpy(np.argsort(order)).to(found[0].device)]


def _text_vectors(model: InterBert, corpus: AnyCorpus, texts: NDArray[np.int64]) -> Tensor:
    words = [corpus.words(int(text)).tolist() for text in texts]
    return _vector(text_alone, model, make_batch([""] * len(words), words, None))


def _vector(read: Callable[[InterBert, Batch], Tensor], model: InterBert, batch: Batch) -> Tensor:
    return read(model, batch.to(next(model.parameters()).device)).float()


class Mined:
    """What was mined for an epoch. pictures: int32 [captions, pool], -1 for none."""

    def __init__(self, pictures: NDArray[np.int32]) -> None:
        self.pictures = pictures

    def of(self, example: int) -> NDArray[np.int64]:
        """The pictures mined for a training caption, best first: int64 [at most pool]."""
        row: NDArray[np.int64] = self.pictures[example].astype(np.int64)
        return np.asarray(row[row >= 0])

    def save(self, file: Path) -> None:
        """Writes the file, and beside it what it is."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file.with_name("README.md")) as text:
            text.write(README)
        with whole_file(file, "wb") as out:
            np.save(out, self.pictures)

    @classmethod
    def load(cls, file: Path, captions: int) -> Mined:
        """Raises InterbertError where the file is not there or of other training captions."""
        try:
            pictures = np.load(file)
        except (OSError, ValueError) as error:
            raise InterbertError(
                f"'{file}': the hard negatives of an epoch that was begun can not be read ({error}); start the run "
                "again in another folder"
            ) from error
        if pictures.ndim != 2 or len(pictures) != captions:
            raise InterbertError(f"'{file}' has hard negatives of {len(pictures)} captions, wanted {captions}")
        return cls(pictures)
