"""The index as it is now: every request gets a searcher of its newest version, or of the version that a cursor names.

An index that was built anew in its folder is opened again, where it is of the same model; else every question is
refused until the service is started again, or the index is back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interbert.errors import InterbertError, UsageError
from interbert.recall.index import open_index, scorer_of
from interbert.recall.memory import ScoreMemory
from interbert.recall.search import Searcher
from interbert.recall.service.errors import ServiceError
from interbert.recall.store import ProductStore
from interbert.scoring.scorer import Scorer

Mark = tuple[int, int, int] | None


class WatchedSearcher(Searcher):
    """A searcher that asks now and then whether anybody still waits."""

    def __init__(self, store: ProductStore, scorer: Scorer, memory: ScoreMemory, check: Callable[[], None]) -> None:
        super().__init__(store, scorer, memory)
        self._check = check

    def _computed(self, words: Sequence[NDArray[np.int64]], pictures: NDArray[np.int64]) -> NDArray[np.float32]:
        self._check()
        return super()._computed(words, pictures)


class LiveIndex:
    """An index and its model. check: raises where nobody waits for what is computed.  address: as of `open_index`.
    precision: as of `load`.

    Raises InterbertError where the folder has no index with products, or its model is not to be found.
    """

    def __init__(
        self,
        folder: Path,
        run: str | None = None,
        revision: str | None = None,
        calibrated: bool = True,
        address: str | None = None,
        precision: str = "fp32",
    ) -> None:
        self.folder, self.address, self._lock = folder, address, threading.Lock()
        self._store: ProductStore = open_index(folder, address)
        self._mark = mark_of(folder)
        self.scorer: Scorer = scorer_of(self._store, folder, run, revision, calibrated=calibrated, precision=precision)
        self.model_name = Path(run or self._store.facts.run).name
        self._weights = self._store.facts.weights_sha256
        self._memory = ScoreMemory(folder / "scores.sqlite")
        self.check: Callable[[], None] = lambda: None
        self.now()  # without products there is nothing to serve

    @property
    def weights_sha256(self) -> str:
        """Of the model that answers."""
        return self._weights

    def now(self, version: int | None = None) -> Searcher:
        """The searcher of the newest version, or of that one.

        Raises ServiceError 503 while the index cannot be asked, 422 where it has no such version.
        """
        try:
            store = self._opened()
            searcher = WatchedSearcher(store, self.scorer, self._memory, self.check)
        except InterbertError as error:
            raise ServiceError(503, f"the index cannot be asked: {error}", code="no_index", retry_seconds=5) from error
        if version is not None and version != searcher.version:
            if all(one.number != version for one in store.versions()):
                raise ServiceError(
                    422, f"cursor: the index has no version {version} any more; ask anew", param="cursor"
                )
            searcher.version = version
        return searcher

    def _opened(self) -> ProductStore:
        """The store; opened again where another one lies in the folder now."""
        mark = mark_of(self.folder)
        with self._lock:
            if mark != self._mark:
                store = open_index(self.folder, self.address)
                if store.facts.weights_sha256 != self._weights:
                    raise UsageError(
                        "it was built anew with another model than the one that answers here; start the service again"
                    )
                self._store, self._mark = store, mark
                self._memory = ScoreMemory(self.folder / "scores.sqlite")
            return self._store


def mark_of(folder: Path) -> Mark:
    """What changes where another index is put in its place; an index that only grows keeps it."""
    for name in ("index.json", "store.json"):  # the second of an index on a server
        try:
            found = (folder / name).stat()
        except OSError:
            continue
        return found.st_ino, found.st_mtime_ns, found.st_size
    return None
