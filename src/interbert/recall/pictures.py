"""The pictures that products show, each known by a key: its regions and its `alone` vector are computed once.

In: the names of pictures in a catalogue, and their files, or a region store that was made before. Out: each name's key,
and the regions and vectors of all keys in the index. Stopped in any way, the same goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from interbert.batch import Regions
from interbert.corpus.catalogue import is_address
from interbert.corpus.pictures import Pictures
from interbert.errors import InterbertError
from interbert.files import sha256_of
from interbert.recall.store import ProductStore
from interbert.scoring.pictures import check_extractor
from interbert.scoring.scorer import Scorer
from interbert.vision.extractor import Extractor, ImageSource, extract_images
from interbert.vision.provenance import UNKNOWN
from interbert.vision.store import RegionStore

BLOCK = 512  # pictures whose vectors are computed and committed together
CHANGED = "its file changed while it was read; give the same command again, with a copy under another name"


class PictureSource(Protocol):
    """Where regions come from. A picture's key says what it shows: equal keys have equal regions."""

    def key(self, name: str) -> str:
        """The key of a picture by its name in the catalogue. Raises ValueError with the reason why it has none."""

    def fill(self, folder: Path, keys: Sequence[str]) -> dict[str, str]:
        """Puts the regions of keys that came from `key` into the region store in `folder`. Returns failures by key."""


class PictureFiles:
    """Files, read by the run's extractor. The key is the file's sha256."""

    def __init__(self, folder: Path, scorer: Scorer, workers: int | None, progress: bool) -> None:
        self._folder, self._scorer, self._workers, self._progress = folder, scorer, workers, progress
        self._paths: dict[str, Path] = {}

    def key(self, name: str) -> str:
        """See `PictureSource`."""
        if is_address(name):
            raise ValueError("its picture is an address on the web; fetch it, and name its file")
        path = self._folder / name
        if not path.is_file():  # a pipe would be waited for
            raise ValueError(f"its picture '{path}' {'is not a file' if path.exists() else 'does not exist'}")
        try:
            key = sha256_of(path)
        except OSError as error:
            raise ValueError(f"its picture '{path}' cannot be read: {error.strerror}") from error
        self._paths.setdefault(key, path.absolute())  # as the store will know it, from wherever it is asked
        return key

    def fill(self, folder: Path, keys: Sequence[str]) -> dict[str, str]:
        """See `PictureSource`."""
        if self._scorer.extractor.name == UNKNOWN:
            raise InterbertError(
                "this run does not know which extractor made its regions; give the pictures' regions with --regions, "
                "or convert the run again with --extractor"
            )
        sources = [ImageSource(key, self._paths[key]) for key in keys]
        extractor = Extractor.from_info(self._scorer.extractor)
        report = extract_images(sources, extractor, folder, workers=self._workers, progress=self._progress)
        with RegionStore(folder) as store:
            infos = {key: store.info(key) for key in keys if key not in report.failed}
        return report.failed | {key: CHANGED for key, info in infos.items() if info is None or info.sha256 != key}


class PictureRegions:
    """A region store that was made before, by the run's extractor.

    The key is the file's sha256 or, where the store does not know the file, the digest of the regions.
    """

    def __init__(self, store: RegionStore, scorer: Scorer) -> None:
        check_extractor(scorer, store)
        self._store, self._pictures = store, Pictures(store)
        self._ids: dict[str, str] = {}

    def key(self, name: str) -> str:
        """See `PictureSource`."""
        at = self._pictures.find(name)
        if isinstance(at, str):
            raise ValueError(at)
        id = self._pictures.ids[at]
        info = self._store.info(id)
        key = _digest(self._store[id]) if info is None else info.sha256
        self._ids.setdefault(key, id)
        return key

    def fill(self, folder: Path, keys: Sequence[str]) -> dict[str, str]:
        """See `PictureSource`."""
        with RegionStore.writer(folder, self._store.extractor, feature_type=self._store.feature_type) as writer:
            for at, key in enumerate(keys, 1):
                if key not in writer:
                    id = self._ids[key]
                    writer.append(key, self._store[id], self._store.info(id))
                if at % BLOCK == 0:
                    writer.commit()
        return {}


def keys_of(source: PictureSource, names: Iterable[str], progress: bool) -> tuple[dict[str, str], dict[str, str]]:
    """(key by name, reason by name) of every picture that is named, each looked at once."""
    keys: dict[str, str] = {}
    failed: dict[str, str] = {}
    for name in tqdm(names, "pictures", unit="image", disable=None if progress else True, delay=1, leave=False):
        if name in keys or name in failed:
            continue
        try:
            keys[name] = source.key(name)
        except ValueError as error:
            failed[name] = str(error)
    return keys, failed


def add_pictures(
    store: ProductStore, source: PictureSource, scorer: Scorer, keys: Sequence[str], progress: bool
) -> tuple[int, dict[str, str]]:
    """Regions and vectors of those keys that the index does not know yet. Returns how many, and failures by key."""
    new = list(dict.fromkeys(_unknown(store, keys)))
    if not new:
        return 0, {}
    failed = source.fill(store.region_folder, new)
    good = [key for key in new if key not in failed]
    with (
        RegionStore(store.region_folder) as regions,
        tqdm(total=len(good), desc="vectors", unit="image", disable=None if progress else True, delay=1) as bar,
    ):
        for part in _parts(good):
            found = [regions[key] for key in part]
            vectors = scorer.encode_images(found, show_progress_bar=False)
            store.add_pictures(part, [len(one) for one in found], vectors)
            bar.update(len(part))
    return len(good), failed


def _unknown(store: ProductStore, keys: Sequence[str]) -> Iterator[str]:
    for part in _parts(keys):
        known = store.known(part)
        yield from (key for key in part if key not in known)


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + BLOCK] for start in range(0, len(keys), BLOCK))


def _digest(regions: Regions) -> str:
    digest = hashlib.sha256(repr((regions.features.shape, regions.image_size)).encode())
    for array in (regions.features, regions.boxes, regions.confidence):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
