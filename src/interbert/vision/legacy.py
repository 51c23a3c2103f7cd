"""Other projects' feature files in, a RegionStore out (3.1): a format is a `Source`; what to do with it is here.

Stopped in any way, the same command goes on where it stopped. What cannot be used costs its picture, never the import:
it is counted and listed in `failures.jsonl`. Memory holds one picture.
"""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from interbert.errors import InterbertError, UsageError, unknown_name
from interbert.vision.legacy_journal import Journal
from interbert.vision.legacy_lmdb import MmfLmdb, TensorpackLmdb, UniterLmdb, VilbertLmdb
from interbert.vision.legacy_numpy import BuaNpz, MmfNpy, UniterNpz
from interbert.vision.legacy_pictures import PictureFolder
from interbert.vision.legacy_records import IMPORTED, Found, Made, Naming, Unusable, regions_of
from interbert.vision.legacy_sources import Item, Place, Source
from interbert.vision.legacy_tsv import BottomUpTsv
from interbert.vision.provenance import ExtractorInfo, ImageInfo
from interbert.vision.safe_pickle import PickleRefused
from interbert.vision.shards import is_storable
from interbert.vision.sources import readable
from interbert.vision.store import RegionStore
from interbert.vision.writer import RegionWriter

log = logging.getLogger(__name__)

FORMATS: dict[str, Callable[[Path], Source]] = {
    "bottom-up-tsv": BottomUpTsv,
    "uniter-npz": UniterNpz,
    "uniter-lmdb": UniterLmdb,
    "vilbert-lmdb": VilbertLmdb,
    "tensorpack-lmdb": TensorpackLmdb,
    "mmf-npy": MmfNpy,
    "mmf-lmdb": MmfLmdb,
    "bua-npz": BuaNpz,
}
COMMIT_PICTURES = 512
COMMIT_SECONDS = 5.0
_FIRST = 20  # where none of so many can be used, the format is another one
_EXAMPLES = 10


@dataclass(frozen=True)
class ImportOptions:
    """How features are imported. All but `naming` may change between two starts.

    ids: a pattern with one `{…}` for the number at an id's end ("COCO_train2014_{:012d}"), or None: ids as they are.
    images: a folder with the pictures: sizes are compared, and the files known to leakage checks.
    max_regions: of a picture, the best so many; None: all.  feature_type: "float16", "float32", or None: as the store.
    """

    naming: Naming = field(default_factory=Naming)
    ids: str | None = None
    images: Path | None = None
    max_regions: int | None = None
    feature_type: str | None = None


@dataclass
class ImportReport:
    """done: pictures added.  already_there: in the store before.  skipped: could not be used, with those of former
    starts.  examples: the first of this start's, as sentences.  clipped, dropped: boxes that stuck out a little, or had
    no area.  without_size: pictures whose size nobody knew.
    """

    done: int = 0
    already_there: int = 0
    skipped: int = 0
    clipped: int = 0
    dropped: int = 0
    without_size: int = 0
    examples: list[str] = field(default_factory=list)


def import_features(
    path: str | Path, format: str, out: str | Path, options: ImportOptions | None = None, *, progress: bool = False
) -> ImportReport:
    """Adds the regions in `path`, a file or folder of one of FORMATS, to the store in `out`.

    Raises UsageError for an unknown format or a path that is not there, InterbertError where the file is of another
    format or damaged as a whole, or the store is of other features. What was imported before stays in any case.
    """
    if format not in FORMATS:
        raise UsageError(unknown_name("format", format, FORMATS))
    options, out = options or ImportOptions(), Path(out)
    _check_ids(options.ids)
    source = FORMATS[format](Path(path))
    run = _Run(options, PictureFolder(options.images) if options.images else None)
    info = run.identity(source, format)
    with RegionStore.writer(out, info, feature_type=options.feature_type) as writer:
        _notes(info, source, format)
        run.all_of(source, writer, progress)
    return run.report


def _check_ids(pattern: str | None) -> None:
    try:
        named = pattern is None or pattern.format(1) != pattern.format(2)
    except (IndexError, KeyError, ValueError, AttributeError) as error:
        raise UsageError(
            f"ids: got '{pattern}' ({error}), wanted a name with one number like COCO_{{:012d}}"
        ) from error
    if not named:
        raise UsageError(f"ids: got '{pattern}', wanted a name with one number like COCO_train2014_{{:012d}}")


def _notes(info: ExtractorInfo, source: Source, format: str) -> None:
    if not info.classes:
        log.info("'%s' does not say what its regions are: masked regions cannot be predicted by class", source.path)
    if info.name == f"{IMPORTED}:{format}":
        log.info("who made the features is not known: they will mix with all others of the format; see --made-by")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, Unusable | PickleRefused) else f"{type(error).__name__}: {error}"


def _bar(source: Source, start: Place, progress: bool) -> tqdm[NoReturn]:
    in_bytes = source.unit == "B"
    return tqdm(
        desc="import",
        total=source.total(),
        initial=start.offset if in_bytes else start.line,
        unit=source.unit if in_bytes else f" {source.unit}",
        unit_scale=in_bytes,
        disable=None if progress else True,
    )


@dataclass
class _Run:
    """One import. `source` and `writer` are of its life only."""

    options: ImportOptions
    pictures: PictureFolder | None
    report: ImportReport = field(default_factory=ImportReport)

    def identity(self, source: Source, format: str) -> ExtractorInfo:
        """The extractor of the store, by the first picture that can be used."""
        whys: list[str] = []
        for item in itertools.islice(source.items(Place()), _FIRST):
            try:
                found = item.read()
                info = self.options.naming.identity(format, found)
                self._made(self._id(item.id), found, info, self.options.feature_type or "float16")
                return info
            except InterbertError:
                raise
            except Exception as error:
                whys.append(f"{item.name}: {_reason(error)}")
        shown = "\n  ".join(whys[:_EXAMPLES])
        if not whys:
            raise InterbertError(f"'{source.path}' holds nothing; give a file or folder of features")
        raise InterbertError(f"'{source.path}': none of the first {len(whys)} can be used as {format}:\n  {shown}")

    def all_of(self, source: Source, writer: RegionWriter, progress: bool) -> None:
        """Every item that is not in the store yet, in the order of the source."""
        journal = Journal(writer, source)
        self.report.already_there = journal.before
        uncommitted, committed_at = 0, time.monotonic()
        try:
            with _bar(source, journal.place, progress) as bar:
                for item in source.items(journal.place):
                    self._take(item, writer, journal)
                    uncommitted += 1
                    if uncommitted >= COMMIT_PICTURES or time.monotonic() - committed_at >= COMMIT_SECONDS:
                        journal.commit()
                        uncommitted, committed_at = 0, time.monotonic()
                    bar.update(item.size)
            journal.commit()
        except BaseException:  # Ctrl-C, or a damage further on
            with suppress(InterbertError):
                journal.commit()
            raise
        finally:
            self.report.skipped = journal.skipped
            journal.close()

    def _take(self, item: Item, writer: RegionWriter, journal: Journal) -> None:
        id = self._id(item.id)
        try:
            if not is_storable(id):
                raise Unusable(f"its id {id!r:.60} cannot be kept")
            if id in writer:
                if journal.is_repeated(id):
                    raise Unusable("its id was there before in the same file; the first one is kept")
                self.report.already_there += 1
            else:
                found = item.read()
                made, image = self._made(id, found, writer.extractor, writer.feature_type)
                writer.append(id, made.regions, image)
                self._count(made, sized=self.pictures is not None or found.image_size is not None)
        except InterbertError:  # not the picture's fault
            raise
        except Exception as error:
            journal.skip(id, item, _reason(error))
            if len(self.report.examples) < _EXAMPLES:
                self.report.examples.append(f"{item.name} ('{id}'): {_reason(error)}")
        journal.behind(item.after)

    def _made(self, id: str, found: Found, info: ExtractorInfo, kind: str) -> tuple[Made, ImageInfo | None]:
        """The regions, of the size and with the fingerprint of their picture where pictures are given."""
        image = None
        if self.pictures is not None:
            size, image = self.pictures.look_up(id)
            if found.image_size is None:
                found = replace(found, boxes=found.boxes * np.array([*size, *size], np.float32), image_size=size)
            elif found.image_size != size:
                was, now = (f"{width} x {height}" for width, height in (found.image_size, size))
                raise Unusable(f"it says its picture has {was} pixels, '{readable(Path(image.source))}' has {now}")
        return regions_of(found, info, kind, self.options.max_regions), image

    def _count(self, made: Made, sized: bool) -> None:
        self.report.done += 1
        self.report.without_size += not sized
        self.report.clipped += made.clipped
        self.report.dropped += made.dropped

    def _id(self, id: str) -> str:
        number = re.search(r"[0-9]+$", id)
        return self.options.ids.format(int(number[0])) if self.options.ids and number else id
