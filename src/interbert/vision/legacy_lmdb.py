"""Features in LMDB, a picture a key: vilbert-lmdb, tensorpack-lmdb, mmf-lmdb, uniter-lmdb.

docs/formats.md has their values. The list of all keys, which each has too, is not needed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from interbert.vision.legacy_numpy import UNITER, npz_arrays
from interbert.vision.legacy_records import Found, Unusable, found_in
from interbert.vision.legacy_sources import Item, Place, Source
from interbert.vision.lmdb_file import Entry, LmdbFile
from interbert.vision.safe_msgpack import MsgpackRefused, load_msgpack
from interbert.vision.safe_pickle import PickleRefused, load_pickle

_VILBERT = ("features", "cls_prob", "boxes", "num_boxes", "image_h", "image_w", "image_id", "caption")
_VOLTA = (
    *("features", "cls_prob", "objects_id", "objects_conf", "attrs_id", "attrs_conf", "attrs"),
    *("boxes", "num_boxes", "image_h", "image_w", "image_id", "caption"),
)
_VALUES = {len(names): names for names in (_VILBERT, _VOLTA)}


class _Lmdb(Source):
    """An LMDB file or folder. An id is its key."""

    unit = "records"
    lists = b"keys"  # the key under which all others stand

    def file(self) -> Path:
        return self.path / "data.mdb" if self.path.is_dir() else self.path

    def total(self) -> int:
        with closing(LmdbFile(self.path)) as file:
            return file.entries

    def items(self, start: Place) -> Iterator[Item]:
        with closing(LmdbFile(self.path)) as file:
            for line, entry in enumerate(file, 1):
                if line > start.line and entry.key != self.lists:
                    yield self.item(entry, Place(line))

    def item(self, entry: Entry, after: Place) -> Item:
        """The picture of an entry."""
        key = entry.key.decode("utf-8", "replace")
        return Item(self.id(key), f"key '{key}'", after, 1, partial(self.found, entry))

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


class TensorpackLmdb(_Lmdb):
    """As ViLBERT, VOLTA and InterBERT pretrain on them: lists by tensorpack's LMDBSerializer, under numbers.

    The id is in the list, so that a picture is read before it is known; a second start goes by the number.
    """

    resumes = True
    lists = b"__keys__"

    def item(self, entry: Entry, after: Place) -> Item:
        try:
            record = _record(entry.value())
        except (Unusable, PickleRefused) as error:
            return super().item(entry, after)._replace(read=partial(_again, error))
        return super().item(entry, after)._replace(id=str(record["image_id"]), read=partial(_found, record))

    def found(self, entry: Entry) -> Found:
        return _found(_record(entry.value()))


def _record(content: bytes) -> dict[str, Any]:
    values = load_pickle(content) if content[:1] == b"\x80" else _unpacked(content)
    names = _VALUES.get(len(values)) if isinstance(values, list | tuple) else None
    if names is None:
        raise Unusable(
            f"its value is no list of {' or '.join(map(str, _VALUES))} parts, as ViLBERT and VOLTA have them"
        )
    return dict(zip(names, values, strict=True))


def _found(record: dict[str, Any]) -> Found:
    return found_in(record, background=True)


def _again(error: Exception) -> Found:
    raise error


class UniterLmdb(_Lmdb):
    """As UNITER's convert_imgdir.py writes them, under file names: an npz (--compress), or msgpack."""

    lists = b"__keys__"

    def id(self, key: str) -> str:
        return key.removesuffix(".npz")

    def found(self, entry: Entry) -> Found:
        content = entry.value()
        if content.startswith(b"PK"):
            return found_in(npz_arrays(content, UNITER), background=True)
        record = _unpacked(content)
        if not isinstance(record, dict):
            raise Unusable("its value is neither an npz nor msgpack of a map")
        return found_in({name: record[name] for name in UNITER if name in record}, background=True)


def _unpacked(content: bytes) -> Any:
    try:
        return load_msgpack(content)
    except MsgpackRefused as error:
        raise Unusable(str(error)) from error
