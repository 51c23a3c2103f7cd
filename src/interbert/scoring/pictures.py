"""A text against all pictures of a folder, list, catalogue or region store. Broken pictures are counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.scoring.scorer import Scorer
from interbert.vision.images import ImageError
from interbert.vision.sources import image_sources
from interbert.vision.store import RegionStore


@dataclass(frozen=True)
class Ranked:
    """A picture's id and its score in [0, 1]."""

    id: str
    score: float


@dataclass(frozen=True)
class Ranking:
    """results: best first.  scored: how many were compared.  failed: reason by id."""

    results: list[Ranked]
    scored: int
    failed: dict[str, str]


def rank_pictures(
    scorer: Scorer, text: str, images: Path, *, top_k: int | None = None, progress: bool = True
) -> Ranking:
    """The pictures of `images` (a region store, or what `image_sources` reads) by their score with `text`, best first.

    Raises InterbertError where there are none, none can be read, or the store is of another extractor than the run.
    """
    failed: dict[str, str] = {}
    found = dict(_of_store(scorer, images) if is_store(images) else _extracted(scorer, images, failed, progress))
    if not found:
        raise InterbertError(f"'{images}': none of its {len(failed)} pictures can be read; the first: {_first(failed)}")
    ids = list(found)
    ranked = scorer.rank(text, list(found.values()), top_k, show_progress_bar=None if progress else False)
    return Ranking([Ranked(ids[one["corpus_id"]], one["score"]) for one in ranked], len(ids), failed)


def is_store(folder: Path) -> bool:
    """Whether a folder is a region store, not pictures."""
    return (folder / "manifest.sqlite").is_file()


def check_extractor(scorer: Scorer, store: RegionStore) -> None:
    """Raises InterbertError where the store's extractor is not the one the run was trained with."""
    difference = store.extractor.difference(scorer.extractor)
    if difference:
        raise InterbertError(
            f"'{store.folder}' has regions of '{store.extractor.name}', the run was trained with those of "
            f"'{scorer.extractor.name}': {difference}; extract the pictures with the run's extractor"
        )


def _of_store(scorer: Scorer, folder: Path) -> Iterator[tuple[str, Regions]]:
    store = RegionStore(folder)
    check_extractor(scorer, store)
    return ((id, store[id]) for id in store)


def _extracted(scorer: Scorer, images: Path, failed: dict[str, str], progress: bool) -> Iterator[tuple[str, Regions]]:
    sources = image_sources(images)
    for source in tqdm(sources, "extract", unit="image", disable=None if progress else True, delay=1, leave=False):
        try:
            yield source.id, scorer.regions([source.path])[0]
        except ImageError as error:
            failed[source.id] = str(error)


def _first(failed: dict[str, str]) -> str:
    return next(iter(failed.values()), "there are none")
