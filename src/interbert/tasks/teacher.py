"""What a prefilter learns from (beyond the paper): margins of texts with pictures read together, and summaries of both.

In: a model, texts and for each a list of pictures. Out: arrays in a file of the run's folder, computed once. Margins
are computed in parts of a second or so that stay on disk, so a stopped run goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interbert.batch import Regions, make_batch
from interbert.errors import InterbertError
from interbert.files import whole_file, write_json
from interbert.model.alone import image_summary, text_summary
from interbert.model.interbert import InterBert
from interbert.pretraining.batches import AnyCorpus
from interbert.tasks.ranking import margins_of
from interbert.tasks.task import best_regions, longest_first
from interbert.training.parallel import Parallel
from interbert.training.precision import autocast

AT_ONCE = 32  # texts or pictures read alone together
PART_PAIRS = 192
README = """# What the prefilter learned from

`train.npz`, `validation.npz`: texts and pictures by their numbers in the corpus, for each text a list of pictures
(places among the pictures), the margin that the model gives each of its pairs read together, and summaries of both
sides read alone. Computed once, for what `of.json` says; parts of the margins stand beside them until they are whole.
When the run is done, all of it may be deleted.
"""


@dataclass(frozen=True, eq=False)
class Lesson:
    """texts: int64 [N], images: int64 [M], numbers in the corpus.  lists: int64 [N, K], places among the images.

    margins: float32 [N, K], of each text with each picture of its list, read together.
    text_summaries: float32 [N, P, H].  image_summaries: float32 [M, P, H].
    """

    texts: NDArray[np.int64]
    images: NDArray[np.int64]
    lists: NDArray[np.int64]
    margins: NDArray[np.float32]
    text_summaries: NDArray[np.float32]
    image_summaries: NDArray[np.float32]

    def save(self, file: Path) -> None:
        """Writes the file, and beside it what it is."""
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file.with_name("README.md")) as text:
            text.write(README)
        with whole_file(file, "wb") as out:
            np.savez(out, **vars(self))

    @classmethod
    def load(cls, file: Path) -> Lesson:
        """Raises InterbertError where the file is not there or broken."""
        try:
            with np.load(file) as found:
                return cls(**{name: found[name] for name in found.files})
        except (OSError, ValueError, TypeError, EOFError) as error:
            raise InterbertError(
                f"'{file}': what the prefilter learns from can not be read ({error}); start the run again in another "
                "folder"
            ) from error


def begin_folder(folder: Path, of: dict[str, Any]) -> None:
    """Makes the folder, or keeps what is there where it is of the same; what is of something else goes."""
    said = folder / "of.json"
    if said.is_file() and json.loads(said.read_text(encoding="utf-8")) == json.loads(json.dumps(of)):
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_json(said, of)


def weights_digest(model: InterBert) -> str:
    """Hexadecimal sha256 of all weights but the projections'."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if not name.startswith("alone."):
            digest.update(name.encode() + np.ascontiguousarray(tensor.float().cpu().numpy()).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Reader:
    """Reads a corpus with a model as it is; the processes of a run do so together and call `give_way` equally often."""

    model: InterBert
    corpus: AnyCorpus
    max_regions: int | None
    parallel: Parallel
    give_way: Callable[[], None]

    @property
    def device(self) -> torch.device:
        """Of the model."""
        return next(self.model.parameters()).device

    def text_summaries(self, texts: NDArray[np.int64]) -> Tensor:
        """float32 [N, P, H]."""
        words = [self.corpus.words(int(text)).tolist() for text in texts]
        return self._each(
            [len(one) for one in words],
            lambda which: text_summary(
                self.model, make_batch([""] * len(which), [words[at] for at in which], None).to(self.device)
            ),
        )

    def image_summaries(self, images: NDArray[np.int64]) -> Tensor:
        """float32 [M, P, H]."""
        return self._each(
            self.corpus.region_counts[images].tolist(),
            lambda which: image_summary(
                self.model,
                make_batch([""] * len(which), None, self._regions(images[which].tolist())).to(self.device),
            ),
        )

    def margins(
        self, texts: NDArray[np.int64], images: NDArray[np.int64], lists: NDArray[np.int64], folder: Path
    ) -> NDArray[np.float32]:
        """float32 [N, K]: of each text with the pictures of its list, in parts of `folder`, some by each process."""
        size = max(1, PART_PAIRS // max(1, lists.shape[1]))
        parts = [slice(start, start + size) for start in range(0, len(texts), size)]
        files = [folder / f"part-{number:05d}.npy" for number in range(len(parts))]
        folder.mkdir(parents=True, exist_ok=True)
        todo = self.parallel.from_leader([at for at, file in enumerate(files) if not file.is_file()])
        for turn in range(-(-len(todo) // self.parallel.world)):
            self.give_way()
            number = todo[min(turn * self.parallel.world + self.parallel.rank, len(todo) - 1)]
            rows = [
                self._together(int(text), images[of])
                for text, of in zip(texts[parts[number]], lists[parts[number]], strict=True)
            ]
            with whole_file(files[number], "wb") as file:
                np.save(file, np.stack(rows))
        self.parallel.gathered(0)  # until the others' parts are there
        return np.concatenate([np.load(file) for file in files])

    def _together(self, text: int, images: NDArray[np.int64]) -> NDArray[np.float32]:
        with autocast("fp32", self.device):
            found = margins_of(self.model, [self.corpus.words(text)], self._regions(images.tolist()))[0]
        if not np.isfinite(found).all():
            raise InterbertError(f"text {text}: a score is not a finite number; the weights or the regions are broken")
        return np.asarray(found)

    def _regions(self, images: Sequence[int]) -> list[Regions]:
        return [best_regions(self.corpus.regions(image), self.max_regions) for image in images]

    def _each(self, lengths: Sequence[int], read: Callable[[list[int]], Tensor]) -> Tensor:
        found: list[Tensor] = []
        order: list[int] = []
        for which in longest_first(lengths, AT_ONCE):
            self.give_way()
            with autocast("fp32", self.device):
                found.append(read(which).float().cpu())
            order += which
        return torch.cat(found)[np.argsort(order)]
