"""Appending to a region store: bytes first, then the rows that name them. docs/formats.md, "Writing".

In: an id, its `Regions`, the picture they were made of. Out: a store in which every record is whole or absent.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

import interbert
from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.files import sync_folder, whole_file
from interbert.vision.manifest import FORMAT_VERSION, Entry, Manifest
from interbert.vision.provenance import ExtractorInfo, ImageInfo
from interbert.vision.shards import (
    FEATURE_TYPES,
    StoreCorrupt,
    check_shard,
    is_storable,
    pack,
    shard_header,
    shard_name,
)

SHARD_BYTES = 1 << 30  # a new shard begins when the last has more
_LOCK = "writer.lock"
_MAY_BE_THERE = {_LOCK, "manifest.sqlite", "manifest.sqlite-journal", "failures.jsonl"}  # in a store not yet begun


class RegionWriter:
    """The one writer of a store; a context manager. Get it from `RegionStore.writer`.

    What is appended becomes part of the store at `commit()` and on leaving the block, also by an error or Ctrl-C.
    Raises InterbertError where another process writes, the store is of another extractor or feature type, a newer
    format, or the folder holds something else; StoreCorrupt where committed bytes are missing.
    """

    def __init__(self, folder: Path, extractor: ExtractorInfo, feature_type: str | None = None) -> None:
        if feature_type not in (None, *FEATURE_TYPES):
            raise ValueError(f"feature_type: got {feature_type!r}, wanted one of {', '.join(FEATURE_TYPES)}")
        self.folder, self.extractor = folder, extractor
        _check_folder(folder)
        self._process = os.getpid()
        self._lock = _locked(folder)
        self._file: int | None = None
        try:
            self._manifest = Manifest(folder, writable=True)
            self.feature_type = self._begin(feature_type)
            self._lengths = self._manifest.shards()
            self._committed = self._manifest.count()
            self._pending: dict[str, Entry] = {}
            self._broken = False
            self._cut_tail()
        except BaseException:
            self._close()
            raise

    def __len__(self) -> int:
        """Records, with those that are not committed yet."""
        return self._committed + len(self._pending)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and (id in self._pending or self._manifest.entry(id) is not None)

    def number(self, id: str) -> int | None:
        """At which place an id was appended: 0, 1, …; None where it was not."""
        entry = self._pending.get(id) or self._manifest.entry(id)
        return None if entry is None else entry.number

    def append(self, id: str, regions: Regions, image: ImageInfo | None = None) -> None:
        """Adds a picture's regions. Any id that is not empty, has no NUL and is not there yet.

        Raises InterbertError for a known id, another feature or class size than the extractor's, numbers that are not
        finite (or beyond float16), and where the disk is full: the store then stays as it was before this call.
        """
        size, classes = self.extractor.feature_size, len(self.extractor.classes)
        if regions.features.shape[1] != size:
            raise InterbertError(f"'{id}': got {regions.features.shape[1]} features, the extractor has {size}")
        if regions.probabilities is not None and regions.probabilities.shape[1] != (
            classes or regions.probabilities.shape[1]
        ):
            raise InterbertError(f"'{id}': got {regions.probabilities.shape[1]} classes, the extractor has {classes}")
        for part, names in (("labels", self.extractor.classes), ("attributes", self.extractor.attributes)):
            numbers = getattr(regions, part)
            if names and numbers is not None and not ((numbers >= 0) & (numbers < len(names))).all():
                raise InterbertError(f"'{id}': got {part} outside 0..{len(names) - 1}, which the extractor names")
        self.append_record(id, pack(id, regions, self.feature_type), len(regions), image)

    def append_record(self, id: str, record: bytes, regions: int, image: ImageInfo | None = None) -> None:
        """Adds a record as `pack` makes it. regions: N."""
        self._check_usable()
        if image is not None and not _is_storable(image):
            raise InterbertError(f"'{id}': its picture {image} has no valid text or hash; rename it")
        if id in self:
            raise InterbertError(f"'{id}' is in '{self.folder}' already; give every picture its own id")
        shard = max(self._lengths, default=0)
        if self._lengths.get(shard, 0) >= SHARD_BYTES:
            shard += 1
        offset = self._write(shard, record)
        self._pending[id] = Entry(len(self), id, shard, offset, len(record), regions, image)

    def commit(self) -> None:
        """Makes what was appended part of the store: on disk before this returns, and seen by readers that open it."""
        self._check_usable()
        if not self._pending:
            return
        try:
            if self._file is not None:
                os.fsync(self._file)
            sync_folder(self.folder)
            self._manifest.add(list(self._pending.values()), self._lengths)
        except BaseException as error:
            self._broken = True  # after a failed fsync nobody knows which bytes are there
            if isinstance(error, OSError):
                raise self._not_written(error) from error
            raise
        self._committed += len(self._pending)
        self._pending.clear()

    def close(self) -> None:
        """Commits, and lets the next writer in."""
        if os.getpid() != self._process:
            return  # the copy of a forked child: what is pending is its parent's
        try:
            if not self._broken:
                self.commit()
        finally:
            self._close()

    def __enter__(self) -> RegionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check_usable(self) -> None:
        if self._broken or os.getpid() != self._process:
            raise InterbertError(f"writing to '{self.folder}' failed before, or a fork does it; open it again to go on")

    def _begin(self, feature_type: str | None) -> str:
        """Makes the folder a store, or checks that it is one that may be continued. Returns its feature type."""
        if self._manifest.is_new():
            if shards := sorted(self.folder.glob("shard-*.regions")):  # the tables are there before the first shard
                raise StoreCorrupt(
                    f"'{self._manifest.path}' is empty or gone, and '{shards[0].name}' is there: restore a copy of it, "
                    "or remove the folder and make it again"
                )
            kind = feature_type or "float16"
            self._manifest.create({"feature_type": kind, "interbert": interbert.__version__})
        self._manifest.check_format()
        kind = self._manifest.settings()["feature_type"]
        if feature_type not in (None, kind):
            raise InterbertError(f"'{self.folder}' has {kind} features, not {feature_type}; write to a new folder")
        described = self.folder / "extractor.json"
        if self._manifest.count() or described.exists():
            other = ExtractorInfo.load(described).difference(self.extractor)
            if other is not None:
                raise InterbertError(
                    f"'{self.folder}' was made by another extractor ({other}); extract into a new folder with --out"
                )
        else:
            self.extractor.save(described)
        if not (self.folder / "README.md").exists():
            with whole_file(self.folder / "README.md") as file:
                file.write(_readme(self.extractor, kind))
        return kind

    def _cut_tail(self) -> None:
        """Removes what a killed writer had written and not committed."""
        for path in self.folder.glob("shard-*.regions"):
            if path.name not in {shard_name(shard) for shard in self._lengths}:
                path.unlink()
        for shard, length in self._lengths.items():
            path = self.folder / shard_name(shard)
            check_shard(path, length)
            if path.stat().st_size > length:
                os.truncate(path, length)

    def _write(self, shard: int, record: bytes) -> int:
        """Puts a record at the shard's end and returns its offset. On an error the shard ends where it did before."""
        before = self._lengths.get(shard, 0)
        self._broken = True  # until the shard is known to end where it should
        try:
            file = self._shard_file(shard)
            data = memoryview(record if before else shard_header(shard) + record)
            try:
                while data:
                    data = data[os.write(file, data) :]
            except BaseException:
                os.ftruncate(file, before)
                self._broken = False
                raise
        except OSError as error:
            raise self._not_written(error) from error
        self._broken = False
        start = before or len(shard_header(shard))
        self._lengths[shard] = start + len(record)
        return start

    def _shard_file(self, shard: int) -> int:
        if self._file is None or shard not in self._lengths:
            if self._file is not None:
                os.fsync(self._file)
                os.close(self._file)
                self._file = None
            path = self.folder / shard_name(shard)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        return self._file

    def _not_written(self, error: OSError) -> InterbertError:
        return InterbertError(
            f"'{self.folder}' could not be written ({error.strerror}); its {self._committed} committed pictures "
            "are safe, make room or mend this, and give the same command again"
        )

    def _close(self) -> None:
        self._manifest.close()
        if self._file is not None:
            os.close(self._file)
            self._file = None
        _locks.discard(self._lock)
        fcntl.flock(self._lock, fcntl.LOCK_UN)  # also for a child that is being forked and still holds a copy
        os.close(self._lock)


def _is_storable(image: ImageInfo) -> bool:
    return is_storable(f"{image.source}/{image.sha256}") and 0 <= image.perceptual < 1 << 64


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise InterbertError(f"'{folder}' cannot be a region store ({error.strerror}); give another folder") from error
    if "manifest.sqlite" not in names and names - _MAY_BE_THERE:
        raise InterbertError(f"'{folder}' is not empty and not a region store; give a new folder with --out")


def _locked(folder: Path) -> int:
    """The writer's lock, held until the file is closed, also by a kill."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise InterbertError(f"'{folder}' cannot be written ({error.strerror}); give another folder") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        process = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise InterbertError(
            f"process {process} is writing to '{folder}'; wait until it has ended, or stop it"
        ) from None
    _locks.add(lock)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


_locks: set[int] = set()


def _let_go() -> None:
    """In a forked child: a worker that outlives a killed writer must not keep the next one out."""
    while _locks:
        os.close(_locks.pop())


os.register_at_fork(after_in_child=_let_go)


def active_writer(folder: Path) -> int | None:
    """The process that writes to the store now, or None."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.pread(lock, 32, 0).strip() or 0)
    else:
        return None
    finally:
        os.close(lock)


def _readme(extractor: ExtractorInfo, feature_type: str) -> str:
    settings = "".join(f"- {name}: {value}\n" for name, value in sorted(extractor.settings.items())) or "- none\n"
    return (
        f"# A region store of interbert {interbert.__version__}, format {FORMAT_VERSION}\n\n"
        f"Regions of pictures as the extractor `{extractor.name}` sees them: "
        f"{extractor.feature_size} features ({feature_type}) and {len(extractor.classes)} classes a region.\n"
        f"weights sha256: {extractor.weights_sha256 or 'not known'}\n\nSettings of the extractor:\n{settings}\n"
        "Read it with `interbert.RegionStore(FOLDER)[ID]`; `interbert store info FOLDER` says what is in it.\n"
        "`extractor.json` is the extractor for machines, `manifest.sqlite` knows where an id's record is,\n"
        "`shard-*.regions` hold the records, `writer.lock` keeps a second writer out. Copy the folder as a whole.\n"
    )
