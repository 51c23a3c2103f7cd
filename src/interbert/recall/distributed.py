"""A search whose scores are computed on the machines of a Ray cluster (A.4); everything else is as in `Searcher`.

In: an index that all of them reach, in a folder that they share or on PostgreSQL, and its model under the same path or
id. Out: the same answers: a part of the pictures meets its topics whole, on one machine, whichever it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interbert import cluster
from interbert.recall.index import open_index, scorer_of
from interbert.recall.search import Part, Searcher, open_searcher


@dataclass(frozen=True)
class _Place:
    """What a process of the cluster begins with: where index and model are. `open_searcher` has the fields."""

    folder: Path
    run: str | None
    revision: str | None
    address: str | None
    precision: str

    def begin(self) -> Callable[[tuple[Sequence[NDArray[np.int64]], NDArray[np.int64]]], NDArray[np.float32]]:
        """Its work: token ids of topics and numbers of pictures in, their margins out."""
        store = open_index(self.folder, self.address)
        scorer = scorer_of(store, self.folder, self.run, self.revision, calibrated=False, precision=self.precision)
        searcher = Searcher(store, scorer)
        return lambda part: searcher._computed(*part)


class ClusterSearcher(Searcher):
    """A searcher whose model works elsewhere. `open_cluster_searcher` makes it."""

    on: str
    place: _Place

    def _parts_computed(
        self, words: Sequence[NDArray[np.int64]], pictures: NDArray[np.int64], parts: Sequence[Part]
    ) -> Iterator[tuple[Part, NDArray[np.float32]]]:
        items = [([words[at] for at in part.topics.tolist()], pictures[part.pictures]) for part in parts]
        if items:
            yield from ((parts[at], margins) for at, margins in cluster.results(self.on, self.place, items))


def open_cluster_searcher(
    on: str,
    folder: str | Path,
    run: str | None = None,
    revision: str | None = None,
    version: int | None = None,
    *,
    address: str | None = None,
    calibrated: bool = True,
    precision: str = "fp32",
) -> ClusterSearcher:
    """As `open_searcher`, with scores computed on `on`: "ray" or "ray://HOST:PORT"."""
    cluster.check_place(on)
    here = open_searcher(folder, run, revision, version, address=address, calibrated=calibrated, precision=precision)
    found = ClusterSearcher(here.store, here.scorer, here.memory, here.version)
    local = run is not None and Path(run).expanduser().is_dir()
    place = _Place(Path(folder).absolute(), run, revision, address, here.scorer.precision)
    found.on, found.place = on, replace(place, run=str(Path(run).expanduser().absolute())) if local and run else place
    return found
