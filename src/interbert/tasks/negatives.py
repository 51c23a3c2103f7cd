"""What a caption is trained against: random pictures and captions that do not belong to it, and mined ones (4.2).

A picture belongs to its own captions and to every equal text; a negative never belongs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from interbert.errors import InterbertError
from interbert.pretraining.batches import AnyCorpus, Belonging

TRIES = 64  # drawn at once; where all of them belong, everything is looked at


class Negatives:
    """Draws from training captions and their pictures. texts: int64 [N], of the corpus."""

    def __init__(self, corpus: AnyCorpus, texts: NDArray[np.int64], belonging: Belonging) -> None:
        self.corpus, self.texts, self.belonging = corpus, texts, belonging
        self.images = np.unique(corpus.images_of[texts]).astype(np.int64)

    def pictures(self, text: int, count: int, generator: Generator, hard: NDArray[np.int64]) -> list[int]:
        """`count` different pictures that do not belong to the text: those of `hard`, then random ones.

        Raises InterbertError where there are too few.
        """
        found: list[int] = hard[:count].tolist()
        for drawn in self.pictures_in_turn(text, generator):
            free = drawn[~self.belonging.matrix(np.array([text]), drawn)[0]].tolist()
            found += [image for image in dict.fromkeys(free) if image not in found]
            if len(found) >= count:
                return found[:count]
        raise InterbertError(
            f"text '{self.corpus.text(text)}' has {len(found)} pictures that do not belong to it among "
            f"{len(self.images)} training pictures, wanted {count}; give more pictures, or fewer negatives"
        )

    def pictures_in_turn(self, text: int, generator: Generator) -> Iterator[NDArray[np.int64]]:
        """Pictures among which negatives of a text are looked for, one lot after the other, the last of them all."""
        return draws(self.images, generator)

    def caption(self, image: int, generator: Generator) -> int:
        """A random caption that does not belong to the picture. Raises InterbertError where all do."""
        for drawn in draws(self.texts, generator):
            free = drawn[~self.belonging.matrix(drawn, np.array([image]))[:, 0]]
            if len(free):
                return int(free[0])
        raise InterbertError(
            f"every training text belongs to picture '{self.corpus.image_id(image)}', so it has no negative; "
            "give pictures whose texts differ"
        )

    def caption_of(self, images: NDArray[np.int64], image: int, generator: Generator) -> int:
        """A caption of one of `images`, drawn at random, that does not belong to `image`; else any such caption."""
        for other in _shuffled(images, generator).tolist():
            texts = np.array(self.corpus.texts_of(other))
            free = texts[~self.belonging.matrix(texts, np.array([image]))[:, 0]]
            if len(free):
                return int(_shuffled(free, generator)[0])
        return self.caption(image, generator)


def draws(everything: NDArray[np.int64], generator: Generator) -> Iterator[NDArray[np.int64]]:
    """A few at random, then all in random order."""
    if len(everything) > TRIES:
        yield everything[torch.randint(len(everything), (TRIES,), generator=generator).numpy()]
    yield _shuffled(everything, generator)


def _shuffled(values: NDArray[np.int64], generator: Generator) -> NDArray[np.int64]:
    order: NDArray[np.int64] = torch.randperm(len(values), generator=generator).numpy()
    return values[order]
