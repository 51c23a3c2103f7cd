"""Features as numpy files, a picture a file: uniter-npz, bua-npz, mmf-npy. docs/formats.md has their arrays.

numpy's own reader of objects runs what a file says; this one reads them by `safe_pickle`.
"""

from __future__ import annotations

import io
import zipfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from interbert.vision.legacy_records import Found, Unusable, found_in
from interbert.vision.legacy_sources import Item, Place, Source, files_below
from interbert.vision.safe_pickle import PickleRefused, load_pickle
from interbert.vision.sources import readable

MAX_FILE_BYTES = 1 << 26  # of an array; a file that says it has more is refused before it is read
UNITER = ("norm_bb", "features", "conf", "soft_labels")
_BUA = ("x", "bbox", "num_bbox", "image_h", "image_w", "info")


class _Folder(Source):
    """A folder of files, one for each picture. An id is a file's path in the folder, without its suffix."""

    suffix = ".npz"
    unit = "files"

    def total(self) -> int:
        return len(self._files)

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._files = files_below(path, self.suffix)

    def items(self, start: Place) -> Iterator[Item]:
        for line, name in enumerate(self._files[start.line :], start.line + 1):
            shown = readable(PurePath(name))
            read = partial(self.found, name)
            yield Item(shown.removesuffix(self.suffix), f"file '{shown}'", Place(line), 1, read)

    @abstractmethod
    def found(self, name: str) -> Found:
        """What a file says."""


class UniterNpz(_Folder):
    """Files of UNITER, also used by its descendants: norm_bb, features, conf, soft_labels."""

    def found(self, name: str) -> Found:
        return found_in(npz_arrays(self.path / name, UNITER), background=True)


class BuaNpz(_Folder):
    """Files of bottom-up-attention.pytorch: x, bbox, image_h, image_w and, in a pickle, info."""

    def found(self, name: str) -> Found:
        arrays: dict[str, Any] = npz_arrays(self.path / name, _BUA)
        return found_in({**_dictionary(arrays.pop("info", None)), **arrays})


class MmfNpy(_Folder):
    """Files of mmf: ID.npy with the features, ID_info.npy with all else; or ViLBERT's, which have both in one."""

    suffix = ".npy"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._files = [name for name in self._files if not name.endswith(("_info.npy", "_full.npy"))]

    def found(self, name: str) -> Found:
        features = load_npy(_content(self.path / name))
        if features.dtype.hasobject:
            return found_in(_dictionary(features))
        info = self.path / f"{name.removesuffix('.npy')}_info.npy"
        if not info.is_file():
            raise Unusable(f"there is no '{info.name}' beside it, which has the boxes")
        return found_in({**_dictionary(load_npy(_content(info))), "features": features})


def npz_arrays(source: Path | bytes, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The arrays of an npz that are in `names`. Raises Unusable where it is damaged, or PickleRefused."""
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            wanted = [entry for entry in archive.infolist() if entry.filename.removesuffix(".npy") in names]
            large = [entry.filename for entry in wanted if entry.file_size > MAX_FILE_BYTES]
            if large:
                raise Unusable(f"its {large[0]} says it has more than {MAX_FILE_BYTES:,} bytes")
            return {entry.filename.removesuffix(".npy"): load_npy(archive.read(entry)) for entry in wanted}
    except (Unusable, PickleRefused):
        raise
    except Exception as error:  # of damaged archives zipfile and zlib raise nearly everything
        raise Unusable(f"it is no whole npz ({type(error).__name__}: {error})") from error


def load_npy(content: bytes) -> NDArray[Any]:
    """The array of an npy, objects by `load_pickle`. Raises Unusable where it is damaged, or PickleRefused."""
    file = io.BytesIO(content)
    try:
        version = npy.read_magic(file)
        header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if header is None:
            raise Unusable(f"it is an npy of version {version}, wanted 1.0 or 2.0")
        shape, _, kind = header(file)
        if kind.hasobject:
            found = load_pickle(file)
            if not isinstance(found, np.ndarray) or found.shape != shape:
                raise Unusable("its pickle is no array of its shape")
            return found
        file.seek(0)
        array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array
    except (Unusable, PickleRefused):
        raise
    except Exception as error:
        raise Unusable(f"it is no whole npy ({type(error).__name__}: {error})") from error


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise Unusable(f"'{readable(path)}' has {size:,} bytes, wanted at most {MAX_FILE_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"'{readable(path)}' cannot be read: {error.strerror}") from error


def _dictionary(array: NDArray[Any] | None) -> Mapping[str, Any]:
    """The dictionary in an array of one object; empty where there is no array."""
    if array is None:
        return {}
    value = array.item() if array.size == 1 else None
    if not isinstance(value, dict):
        raise Unusable("its object is no dictionary")
    return value
