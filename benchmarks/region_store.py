"""How fast are random reads of a region store beside np.memmap, lmdb and Lance?

python benchmarks/region_store.py [--images 20000] [--rounds 3] [--folder DIR]

Every store holds the same float16 features [36, 2048] under the same ids. A read copies the features of one picture, in
random order, to a row of a batch of 32. The files are in the page cache. Each store is built beside the memmap, read in
turn with it, and deleted: one ratio is of one minute. `sketch` is the plain way: a record by pread, its CRC by zlib.
Prints one JSON object: pictures/s (the best round) and `of_memmap`, the median of the rounds' ratios, by the clock and
by CPU time of all threads (where other work shares the machine, the better figure).
Needs 300 KB of disk a picture; lmdb and Lance (group `bench`) are left out, and named, where they are not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from interbert.batch import Regions
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.shards import crc32
from interbert.vision.store import RegionStore

SHAPE = (36, 2048)
BYTES = 2 * SHAPE[0] * SHAPE[1]
BATCH = 32
Copy = Callable[[int, Any], None]  # picture number, row of the batch


class Pictures:
    """The same features for all stores, their ids, and the order of reading."""

    def __init__(self, count: int) -> None:
        generator = np.random.default_rng(0)
        self.count = count
        self.pool = generator.standard_normal((97, *SHAPE), np.float32).astype(np.float16)
        self.ids = [f"pictures/{number:08d}" for number in range(count)]
        self.order = generator.permutation(count).tolist()

    def __getitem__(self, number: int) -> Any:
        return self.pool[number % len(self.pool)]


def passes(pictures: Pictures, copy: Copy) -> tuple[float, float]:
    """Wall and CPU seconds of one pass over all pictures; every hundredth is compared with what was written."""
    batch = np.empty((BATCH, *SHAPE), np.float16)
    started = time.perf_counter(), time.process_time()
    for at, number in enumerate(pictures.order):
        copy(number, batch[at % BATCH])
    seconds = time.perf_counter() - started[0], time.process_time() - started[1]
    for number in pictures.order[::100]:
        copy(number, batch[0])
        assert (batch[0] == pictures[number]).all(), f"picture {number} came back changed"
    return seconds


@contextmanager
def memmap(folder: Path, pictures: Pictures) -> Iterator[dict[str, Copy]]:
    with open(folder / "memmap", "wb") as file:
        for number in range(pictures.count):
            file.write(pictures[number].tobytes())
    array = np.memmap(folder / "memmap", np.float16, "r", shape=(pictures.count, *SHAPE))

    def copy(number: int, row: Any) -> None:
        row[:] = array[number]

    yield {"memmap": copy}


@contextmanager
def interbert(folder: Path, pictures: Pictures) -> Iterator[dict[str, Copy]]:
    corners = np.tile(np.array([[0, 0, 9, 9]], np.float32), (SHAPE[0], 1))
    with RegionStore.writer(folder, ExtractorInfo("benchmark", SHAPE[1])) as writer:
        for number, id in enumerate(pictures.ids):
            labels, confidence = np.zeros(SHAPE[0], np.int64), np.ones(SHAPE[0], np.float32)
            writer.append(id, Regions(pictures[number], corners, (10, 10), labels, confidence))

    def reader(verify: Any) -> Copy:
        store = RegionStore(folder, verify=verify)

        def copy(number: int, row: Any) -> None:
            row[:] = store[pictures.ids[number]].features

        return copy

    yield {f"interbert, verify={verify}": reader(verify) for verify in ("every", "first", "never")}


@contextmanager
def sketch(folder: Path, pictures: Pictures) -> Iterator[dict[str, Copy]]:
    head = 16
    places = {}
    folder.mkdir()
    with open(folder / "shard", "wb") as file:
        for number, id in enumerate(pictures.ids):
            data = pictures[number].tobytes()
            places[id] = (file.tell(), head + len(data))
            file.write(zlib.crc32(data).to_bytes(4, "little") + bytes(12) + data)
    handle = os.open(folder / "shard", os.O_RDONLY)

    def plain(number: int, row: Any) -> None:
        offset, length = places[pictures.ids[number]]
        row[:] = np.frombuffer(os.pread(handle, length, offset), np.float16, offset=head).reshape(SHAPE)

    def checked(number: int, row: Any) -> None:
        offset, length = places[pictures.ids[number]]
        data = os.pread(handle, length, offset)
        assert zlib.crc32(memoryview(data)[head:]) == int.from_bytes(data[:4], "little")
        row[:] = np.frombuffer(data, np.float16, offset=head).reshape(SHAPE)

    yield {"sketch, checked": checked, "sketch, not checked": plain}
    os.close(handle)


@contextmanager
def lmdb(folder: Path, pictures: Pictures) -> Iterator[dict[str, Copy]]:
    import lmdb as library

    with library.open(str(folder), map_size=2 * BYTES * pictures.count, sync=False) as environment:
        for first in range(0, pictures.count, 1000):
            with environment.begin(write=True) as transaction:
                for number in range(first, min(first + 1000, pictures.count)):
                    transaction.put(pictures.ids[number].encode(), pictures[number].tobytes())
    with (
        library.open(str(folder), readonly=True, lock=False) as environment,
        environment.begin(buffers=True) as reading,
    ):

        def copy(number: int, row: Any) -> None:
            row[:] = np.frombuffer(reading.get(pictures.ids[number].encode()), np.float16).reshape(SHAPE)

        yield {"lmdb": copy}


@contextmanager
def lance(folder: Path, pictures: Pictures) -> Iterator[dict[str, Copy]]:
    import lance as library
    import pyarrow as pa

    size = SHAPE[0] * SHAPE[1]
    schema = pa.schema([("id", pa.string()), ("features", pa.list_(pa.float16(), size))])

    def pieces() -> Iterator[Any]:
        for first in range(0, pictures.count, 500):
            numbers = range(first, min(first + 500, pictures.count))
            values = pa.array(np.concatenate([pictures[number].ravel() for number in numbers]))
            columns = [pa.array([pictures.ids[n] for n in numbers]), pa.FixedSizeListArray.from_arrays(values, size)]
            yield pa.record_batch(columns, schema=schema)

    data = library.write_dataset(pa.RecordBatchReader.from_batches(schema, pieces()), str(folder))

    def copy(number: int, row: Any) -> None:
        values = data.take([number], columns=["features"]).column(0).chunk(0).flatten()
        row[:] = values.to_numpy(zero_copy_only=True).reshape(SHAPE)

    yield {"lance, take": copy}


def folder_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def measure(base: Path, pictures: Pictures, rounds: int) -> dict[str, dict[str, float]]:
    """For each way of reading: pictures/s, its part of memmap in the same round, bytes a picture, seconds to write."""
    results: dict[str, dict[str, float]] = {}
    with memmap(base, pictures) as plain:
        passes(pictures, plain["memmap"])
        for build in (interbert, sketch, lmdb, lance):
            folder, started = base / build.__name__, time.perf_counter()
            try:
                with build(folder, pictures) as ways:
                    written = round(time.perf_counter() - started, 1)
                    first = {name: passes(pictures, copy) for name, copy in ways.items()}
                    turns = [{n: passes(pictures, c) for n, c in {**plain, **ways}.items()} for _ in range(rounds)]
                    if build is interbert:
                        results["memmap"] = row("memmap", turns, pictures.count)
                    for name in ways:
                        results[name] = row(name, turns, pictures.count)
                        results[name]["first_pass_per_second"] = round(pictures.count / first[name][0])
                        results[name]["bytes_per_picture"] = round(folder_bytes(folder) / pictures.count)
                        results[name]["seconds_to_write"] = written
            except ImportError as missing:
                print(f"{build.__name__}: left out ({missing})", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
            print(f"{build.__name__}: done", file=sys.stderr)
    return results


def row(name: str, turns: list[dict[str, tuple[float, float]]], count: int) -> dict[str, float]:
    """Speed and ratios to memmap of one way of reading."""
    wall, cpu = ([turn["memmap"][clock] / turn[name][clock] for turn in turns] for clock in (0, 1))
    return {
        "pictures_per_second": round(count / min(turn[name][0] for turn in turns)),
        "of_memmap": round(statistics.median(wall), 3),
        "of_memmap_least": round(min(wall), 3),
        "of_memmap_most": round(max(wall), 3),
        "of_memmap_by_cpu_time": round(statistics.median(cpu), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to build the stores; a temporary folder if not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as base:
        results = measure(Path(base), Pictures(options.images), options.rounds)
    ratios = {
        f"interbert, verify={verify}, to {name}": round(
            results[f"interbert, verify={verify}"]["of_memmap"] / results[name]["of_memmap"], 2
        )
        for verify, name in (("every", "sketch, checked"), ("never", "sketch, not checked"), ("first", "lmdb"))
        + tuple((verify, "lance, take") for verify in ("every", "first"))
        if name in results
    }
    machine = {"cpu": platform.processor() or platform.machine(), "python": platform.python_version()}
    about = {"images": options.images, "shape": SHAPE, "checksum": f"crc32 by {crc32.__module__}", "machine": machine}
    print(json.dumps({"benchmark": "region_store", **about, "results": results, "ratios": ratios}, indent=2))


if __name__ == "__main__":
    main()
