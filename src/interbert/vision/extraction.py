"""An extractor's run over many picture files: sources in, a RegionStore and `failures.jsonl` out (3.1).

Stopped in any way, the same command goes on where it stopped. A damaged picture costs itself, never the run. Records
stand in the order of the sources, whatever the workers' timing, so that two runs give equal stores.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps
from tqdm import tqdm

from interbert.batch import Regions
from interbert.cluster import check_place, in_order, results
from interbert.errors import InterbertError
from interbert.files import whole_file
from interbert.vision.images import ImageError, open_image, perceptual_hash
from interbert.vision.provenance import ImageInfo
from interbert.vision.sources import ImageSource, check_ids, readable
from interbert.vision.store import RegionStore
from interbert.vision.writer import RegionWriter
from interbert.workers import begin_worker, threads

if TYPE_CHECKING:
    from interbert.vision.extractor import Extractor

log = logging.getLogger(__name__)

MIRRORED = "@mirrored"
"""What an id ends with when its regions are those of the picture flipped left to right."""

COMMIT_SECONDS = 5.0
COMMIT_PICTURES = 64
_FEW = 16  # pictures for which starting processes costs more than it saves
_AHEAD = 4  # pictures a worker has waiting
_KILLED_IN_A_ROW = 3  # so many pictures that kill their worker are no accident of one picture
_HELD_PIXELS = 12_000_000
_FAILURES = "failures.jsonl"


@dataclass(frozen=True)
class ExtractionReport:
    """done: pictures whose regions were added.  already_there: skipped.  failed: reason by id."""

    done: int
    already_there: int
    failed: dict[str, str]


def extract_images(
    sources: Sequence[ImageSource],
    extractor: Extractor,
    out: str | Path,
    *,
    workers: int | None = None,
    progress: bool = True,
    mirrored: bool = False,
    on: str | None = None,
) -> ExtractionReport:
    """Adds the regions of all `sources` to the store in `out`, except of those that are in it already.

    workers: processes of one thread each; 0 is this process alone; None is one for each core, or 0 for a few pictures.
    progress: pictures a second and the time left on stderr, where that is a terminal.
    mirrored: also stores each picture flipped left to right, under its id with "@mirrored" after it.
    on: the machines of a Ray cluster, "ray" or "ray://HOST:PORT", in place of `workers`; they read the same paths.
    Failures are also written to `out`/failures.jsonl. On Ctrl-C what is done is kept and KeyboardInterrupt goes on.
    Raises InterbertError for no pictures or duplicate ids, and where the extractor or the store cannot be used.
    """
    if not sources:
        raise InterbertError("there are no pictures to extract; give a folder, a list or a catalogue that has some")
    check_ids(sources)
    run = _Run({source.id: source for source in sources}, Path(out))
    with RegionStore.writer(out, extractor.info) as writer:
        tasks = [task for source in sources if (task := _task(source, writer, mirrored)).views]
        already_there = len(sources) - len(tasks)
        if on is not None:
            check_place(on)
        if workers is None:
            workers = 0 if len(tasks) < _FEW else len(os.sched_getaffinity(0))
        workers = min(workers, len(tasks))
        if workers and on is None:
            log.info("%s, in %d processes", extractor.about(), workers)
        with (
            tqdm(
                desc="extract",
                total=len(sources),
                initial=already_there,
                unit="image",
                disable=None if progress else True,
            ) as bar,
            run.failures_written(),
            closing(_cluster_results(on, tasks, extractor) if on else _results(tasks, extractor, workers)) as done,
        ):
            for result in done:
                run.take(result, writer)
                bar.update()
    return ExtractionReport(run.done, already_there, run.failed)


@dataclass(frozen=True)
class _Task:
    """A picture and what is wanted of it: False is the picture as it is, True is its mirror image."""

    source: ImageSource
    views: tuple[bool, ...]


@dataclass(frozen=True)
class _Result:
    """What became of a picture. views: ids and regions.  failure: why there are none."""

    source: ImageSource
    views: tuple[tuple[str, Regions], ...] = ()
    info: ImageInfo | None = None
    failure: str = ""


def _task(source: ImageSource, writer: RegionWriter, mirrored: bool) -> _Task:
    wanted = (False, True) if mirrored else (False,)
    return _Task(source, tuple(view for view in wanted if _view_id(source, view) not in writer))


def _view_id(source: ImageSource, mirrored: bool) -> str:
    return source.id + MIRRORED if mirrored else source.id


@dataclass
class _Run:
    """Puts results into the store and counts them."""

    sources: dict[str, ImageSource]
    out: Path
    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    uncommitted: int = 0
    committed_at: float = field(default_factory=time.monotonic)

    def take(self, result: _Result, writer: RegionWriter) -> None:
        if result.failure:
            self.failed[result.source.id] = result.failure
            return
        for id, regions in result.views:
            writer.append(id, regions, result.info)
        self.done += 1
        self.uncommitted += 1
        if self.uncommitted >= COMMIT_PICTURES or time.monotonic() - self.committed_at >= COMMIT_SECONDS:
            writer.commit()
            self.uncommitted, self.committed_at = 0, time.monotonic()

    @contextmanager
    def failures_written(self) -> Iterator[None]:
        """On leaving, also by an error, writes what failed now, and before among pictures not asked for now."""
        path = self.out / _FAILURES
        before = [row for row in _rows(path) if row.get("id") not in self.sources]
        try:
            yield
        finally:
            now = [
                {"id": id, "path": readable(self.sources[id].path), "reason": why} for id, why in self.failed.items()
            ]
            _write_rows(path, [*before, *now])


def _write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    if not rows:
        path.unlink(missing_ok=True)
        return
    try:
        with whole_file(path) as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise InterbertError(
            f"'{path}' cannot be written ({error.strerror}); make room and give the same command again"
        ) from error


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except ValueError as error:
        raise InterbertError(f"'{path}' is damaged ({error}); delete it and give the same command again") from error


def _results(tasks: Sequence[_Task], extractor: Extractor, workers: int) -> Generator[_Result]:
    """One for each task, in order."""
    if workers == 0:
        with threads(1):  # as in a worker, so that the numbers are the same
            for task in tasks:
                yield _extracted(extractor, task)
        return
    at = killed = 0
    while at < len(tasks):
        try:
            for result in _pool_results(tasks[at:], extractor, workers):
                yield result
                at += 1
        except BrokenProcessPool:  # one of the pictures in work has killed its worker: this one? the others come again
            result = _alone(tasks[at], extractor)
            killed = killed + 1 if result.failure else 0
            if killed == _KILLED_IN_A_ROW:
                raise InterbertError(
                    "the worker processes end as soon as they begin; see what they say above, or work without them "
                    '(workers 0). In a script, the call belongs under  if __name__ == "__main__":'
                ) from None
            yield result
            at += 1


@dataclass(frozen=True)
class _Beginning:
    """What a process of a cluster begins with."""

    extractor: Extractor

    def begin(self) -> Callable[[_Task], _Result]:
        return partial(_extracted, self.extractor)


def _cluster_results(on: str, tasks: Sequence[_Task], extractor: Extractor) -> Generator[_Result]:
    """One for each task, in order. Paths are made absolute: other machines have other working folders."""
    placed = [replace(task, source=replace(task.source, path=task.source.path.absolute())) for task in tasks]
    found = in_order(results(on, _Beginning(extractor), placed, _killed)) if placed else iter(())
    for task, result in zip(tasks, found, strict=True):
        info = result.info and replace(result.info, source=readable(task.source.path))
        yield replace(result, source=task.source, info=info)


def _pool_results(tasks: Sequence[_Task], extractor: Extractor, workers: int) -> Iterator[_Result]:
    pool = _pool(extractor, workers)
    ahead: deque[Future[_Result]] = deque()
    try:
        for task in tasks:
            ahead.append(pool.submit(_in_worker, task))
            if len(ahead) > _AHEAD * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _alone(task: _Task, extractor: Extractor) -> _Result:
    """The picture in a process of its own, which it may kill."""
    try:
        return next(_pool_results([task], extractor, 1))
    except BrokenProcessPool:
        return _killed(task)


def _killed(task: _Task) -> _Result:
    return _Result(task.source, failure="the process that read it was killed; leave the picture out")


def _pool(extractor: Extractor, workers: int) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")  # a forked torch may hang
    return ProcessPoolExecutor(workers, spawn, initializer=_begin_worker, initargs=(extractor,))


_worker_extractor: list[Extractor] = []  # in a worker: the one it works with


def _begin_worker(extractor: Extractor) -> None:
    begin_worker()
    _worker_extractor[:] = [extractor]


def _in_worker(task: _Task) -> _Result:
    return _extracted(_worker_extractor[0], task)


def _extracted(extractor: Extractor, task: _Task) -> _Result:
    try:
        content = _content(task.source.path)
        image = open_image(content)
        info = ImageInfo(readable(task.source.path), hashlib.sha256(content).hexdigest(), perceptual_hash(image))
        held = image if image.width * image.height <= _HELD_PIXELS else None
        del image
        views = tuple(
            (_view_id(task.source, mirrored), extractor.extract([_view(content, held, mirrored)])[0])
            for mirrored in task.views
        )
        return _Result(task.source, views, info)
    except ImageError as error:
        return _Result(task.source, failure=str(error))
    except InterbertError:  # not the picture's fault
        raise
    except Exception as error:
        return _Result(task.source, failure=f"{type(error).__name__}: {error}")


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ImageError("it is not a file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"the file cannot be read: {error.strerror}") from error


def _view(content: bytes, held: Image.Image | None, mirrored: bool) -> Image.Image | bytes:
    """held: the decoded picture, or None for a large one: it is decoded again, not held beside the extractor's own."""
    if mirrored:
        return ImageOps.mirror(open_image(content) if held is None else held)
    return content if held is None else held
