"""Features in LMDB, a picture a key: vilbert-lmdb, mmf-lmdb (pickled dictionaries), uniter-lmdb (npz).

docs/formats.md has their values. The list of all keys, which each has too, is not needed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import closing
from functools import partial

from interbert.vision.legacy_numpy import npz_arrays
from interbert.vision.legacy_records import Found, Unusable, found_in
from interbert.vision.legacy_sources import Item, Place, Source
from interbert.vision.lmdb_file import Entry, LmdbFile
from interbert.vision.safe_pickle import load_pickle

_UNITER = ("norm_bb", "features", "conf", "soft_labels")


class _Lmdb(Source):
    """An LMDB file or folder. An id is its key."""

    unit = "records"
    lists = b"keys"  # the key under which all others stand

    def total(self) -> int:
        with closing(LmdbFile(self.path)) as file:
            return file.entries

    def items(self, start: Place) -> Iterator[Item]:
        with closing(LmdbFile(self.path)) as file:
            for line, entry in enumerate(file, 1):
                if line > start.line and entry.key != self.lists:
                    id = entry.key.decode("utf-8", "replace")
                    yield Item(self.id(id), f"key '{id}'", Place(line), 1, partial(self.found, entry))

    def id(self, key: str) -> str:
        """The id that a key stands for."""
        return key

    @abstractmethod
    def found(self, entry: Entry) -> Found:
        """What a value says."""


class VilbertLmdb(_Lmdb):
    """As ViLBERT, VOLTA and InterBERT read them: pickled rows of a TSV, base64 as it was, or with arrays."""

    background: bool | None = True

    def found(self, entry: Entry) -> Found:
        record = load_pickle(entry.value())
        if not isinstance(record, dict):
            raise Unusable(f"its value is a pickled {type(record).__name__}, wanted a dictionary")
        return found_in(record, background=self.background)


class MmfLmdb(VilbertLmdb):
    """As mmf's lmdb_conversion.py writes them: the arrays of mmf-npy in one dictionary."""

    background = None


class UniterLmdb(_Lmdb):
    """As UNITER's convert_imgdir.py --compress writes them: the bytes of an npz under its file name."""

    lists = b"__keys__"

    def id(self, key: str) -> str:
        return key.removesuffix(".npz")

    def found(self, entry: Entry) -> Found:
        content = entry.value()
        if not content.startswith(b"PK"):
            raise Unusable("its value is no npz; of UNITER's LMDBs the compressed ones are read")
        return found_in(npz_arrays(content, _UNITER), background=True)
