"""How fast is extraction, what does it need, and how much of the machine does the bottom-up detector use?

    python benchmarks/extraction.py [--pictures FOLDER] [--extractor NAME …] [--images 8 --size 640x480 --rounds 3]
    python benchmarks/extraction.py --memory 10000 [--extractor NAME …]

The first: pictures a second of each extractor, with 1 and 2 workers, in rounds one after the other, each in fresh
processes; loading is not counted, decoding and the store are. All pictures have the same size: those of FOLDER scaled
to it, or drawn ones. `bottom-up` also multiplies matrices between its pictures, in the same worker: `share_of_matmul`
is the rate of its own arithmetic over the rate of a float32 product of 1024 x 1024, by the faster of torch's routes.
`peak_mib` is the sum of what each process held at most, with what they share counted in each.
The second: the memory of N pictures of many sizes, of 50 megapixels too: the sum over processes of what is theirs, with
a fair part of what they share (Pss on Linux), sampled.

NAME: embedded, or bottom-up, detr, rt_detr_v2, d_fine (published sizes, random weights), or any name that
`interbert extract --extractor` takes. Prints one JSON object, and on stderr how far it is.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image, ImageDraw
from random_detectors import MAKERS
from torch.utils.flop_counter import FlopCounterMode

from interbert.batch import Regions
from interbert.training.precision import fast_matmul
from interbert.vision.extractor import Extractor, ExtractorInfo, ImageSource, Picture, extract_images, image_sources
from interbert.vision.images import open_image

SIDE, PRODUCTS = 1024, 20  # of the matrices; so many are timed together
DEFAULT = ("embedded", "bottom-up", "detr", "rt_detr_v2", "d_fine")
SIZES = ((640, 480), (64, 48), (1, 1), (1333, 800), (480, 640), (4000, 3000), (300, 20), (1024, 768), (20, 300))
HUGE = (8660, 5770)  # just below 50 megapixels, the limit
HUGE_EVERY = 500  # so rarely; two of them follow each other, so that two workers meet them at once
SAMPLED_EVERY_SECONDS = 0.25  # a sample walks through all pages and takes milliseconds
SAID_EVERY = 120  # samples


class Timed(Extractor):
    """An extractor that notes when each picture was begun and done, in a file for each process.

    The first picture of a process, during which weights are loaded, is for counting arithmetic and takes no part in
    speeds; counted, and a matrix product timed after every picture, only where asked.
    """

    def __init__(self, inner: Extractor, notes: Path, counted: bool) -> None:
        self.inner, self.notes, self.counted, self.seen = inner, notes, counted, 0

    @property
    def info(self) -> ExtractorInfo:
        return self.inner.info

    def extract(self, images: Sequence[Picture]) -> list[Regions]:
        note: dict[str, Any] = {"began": time.monotonic()}
        counter = FlopCounterMode(display=False) if self.counted and self.seen == 0 else None
        with counter or nullcontext():
            found = self.inner.extract(images)
        if counter:
            note["operations"] = counter.get_total_flops()
        note["ended"] = time.monotonic()
        note["regions"] = sum(map(len, found))
        note["matmul_seconds"] = product_seconds() if self.counted else 0.0
        note["peak_mib"] = peak_mib()
        self.seen += 1
        with open(self.notes / f"{os.getpid()}.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({**note, "left": time.monotonic()}) + "\n")
        return found


def say(text: str) -> None:
    """How far it is, on stderr."""
    print(text, file=sys.stderr, flush=True)


def product_seconds() -> float:
    """Of `PRODUCTS` products of float32 matrices, on the threads of this process, by the faster route of the CPU."""
    first, second = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)
    with fast_matmul():
        torch.mm(first, second)
        began = time.monotonic()
        for _ in range(PRODUCTS):
            torch.mm(first, second)
        return time.monotonic() - began


def peak_mib() -> float:
    """What this process held at most, until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class Memory:
    """The highest sum of the memory of this process and its children while it samples, in MiB.

    Every half a minute it says that, and how many pictures are done by the notes of `Timed`.
    """

    def __init__(self, notes: Path) -> None:
        self.notes, self.peak, self.samples, self._stop = notes, 0.0, [0.0], threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def growth(self) -> dict[str, float]:
        """The middle of the second tenth of the samples and of the last: what grows shows there."""
        tenth = max(1, len(self.samples) // 10)
        return {
            "early_mib": median(self.samples[tenth : 2 * tenth] or self.samples),
            "late_mib": median(self.samples[-tenth:]),
        }

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLED_EVERY_SECONDS):
            self.samples.append(sum(map(pss_mib, [os.getpid(), *children()])))
            self.peak = max(self.peak, self.samples[-1])
            if len(self.samples) % SAID_EVERY == 0:
                done = sum(file.read_bytes().count(b"\n") for file in self.notes.glob("*.jsonl"))
                say(f"{done} pictures, {self.samples[-1]:.0f} MiB now, {self.peak:.0f} at most")


def children() -> list[int]:
    """The processes that this one started, by their ids."""
    found = []
    for tasks in Path("/proc/self/task").glob("*/children"):
        found += [int(word) for word in tasks.read_text().split()]
    return found


def pss_mib(process: int) -> float:
    """0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) / 1024


def drawn(size: tuple[int, int], number: int) -> Image.Image:
    """Shapes on a gradient; another picture for each number."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    draw, (width, height) = ImageDraw.Draw(image), size
    for at in range(12):
        x, y = (number * 37 + at * 101) % width, (number * 53 + at * 67) % height
        colour = ((at * 83) % 256, (number * 29 + at * 41) % 256, (at * 19) % 256)
        draw.ellipse((x, y, x + width / 4, y + height / 3), fill=colour)
    return image


def pictures_of_one_size(folder: Path, count: int, size: tuple[int, int], given: Path | None) -> str:
    """Writes `count` JPEGs into `folder`; returns what they show."""
    sources = image_sources(given)[:count] if given else []
    for number in range(count):
        image = open_image(sources[number % len(sources)].path).resize(size) if sources else drawn(size, number)
        image.save(folder / f"{number:04}.jpg", quality=90)
    return f"{min(count, len(sources))} pictures of '{given}'" if sources else "drawn shapes"


def pictures_of_many_sizes(folder: Path, count: int) -> list[ImageSource]:
    """`count` sources on a few files of all sizes, of which the largest come in pairs."""
    files = []
    for number, size in enumerate((*SIZES, HUGE)):
        files.append(folder / f"{number}.jpg")
        drawn(size, number).save(files[-1], quality=85)
    return [
        ImageSource(f"{at:06}", files[-1] if at % HUGE_EVERY in (1, 2) else files[at % len(SIZES)])
        for at in range(count)
    ]


def measured(task: dict[str, Any]) -> dict[str, Any]:
    """One run of one extractor, in a process of its own: what `in_fresh_process` asks for as JSON."""
    folder, workers = Path(task["folder"]), task["workers"]
    notes = folder / "notes"
    notes.mkdir()
    extractor = Timed(Extractor.from_name(task["name"]), notes, task["counted"])
    if task["memory"]:
        sources = pictures_of_many_sizes(folder, task["memory"])
        with Memory(notes) as memory:
            report = extract_images(sources, extractor, folder / "store", workers=workers, progress=False)
        found = {"peak_mib": memory.peak, **memory.growth()}
    else:
        sources = image_sources(Path(task["pictures"]))
        sources = [ImageSource(f"{turn} {s.id}", s.path) for turn in range(workers) for s in sources]
        report = extract_images(sources, extractor, folder / "store", workers=workers, progress=False)
        rows = [[json.loads(line) for line in file.read_text().splitlines()] for file in notes.glob("*.jsonl")]
        found = {"peak_mib": peak_mib() + sum(part[-1]["peak_mib"] for part in rows), **speed(rows)}
    return {"done": report.done, "failed": len(report.failed), **found}


def speed(rows: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Out of the notes of each worker: the pictures done while all were at work, by the time that took."""
    begin = max(part[0]["left"] for part in rows)
    end = min(part[-1]["left"] for part in rows)
    steady = [row for part in rows for row in part[1:] if begin <= row["began"] and row["left"] <= end]
    spent_on_products = sum(row["matmul_seconds"] for row in steady) / len(rows)
    seconds = end - begin - spent_on_products
    found = {
        "images_per_second": len(steady) / seconds if steady else 0.0,
        "regions": sum(row["regions"] for row in steady) / max(1, len(steady)),
    }
    if steady and any("operations" in part[0] for part in rows):
        operations = median(part[0]["operations"] for part in rows)
        rate = operations / median(row["ended"] - row["began"] for row in steady)
        product = 2 * PRODUCTS * SIDE**3 / median(row["matmul_seconds"] for row in steady)
        found |= {
            "operations_per_image": operations,
            "matmul_gflops_per_worker": product / 1e9,
            "share_of_matmul": rate / product,
        }
    return found


def in_fresh_process(task: dict[str, Any]) -> dict[str, Any]:
    """`measured`, where nothing was before."""
    with tempfile.TemporaryDirectory() as folder:
        asked = json.dumps({**task, "folder": folder})
        command = [sys.executable, __file__, "--measure", asked]
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ended.returncode:
        return {"error": f"exit status {ended.returncode}; see above"}
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


def name_of(wanted: str, folder: Path) -> str:
    """The extractor's name; a random one is made first, in a process of its own, or its memory would be counted."""
    if wanted not in MAKERS:
        return wanted
    code = "import sys; from pathlib import Path; from random_detectors import random_detector as made; "
    code += "print(made(sys.argv[1], Path(sys.argv[2])))"
    command = [sys.executable, "-c", code, wanted, str(folder / wanted)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parent)
    return said.stdout.splitlines()[-1]


def compared(options: argparse.Namespace, names: dict[str, str], folder: Path) -> dict[str, Any]:
    """The rounds, and the middle of each number."""
    pictures = folder / "pictures"
    pictures.mkdir()
    width, height = map(int, options.size.split("x"))
    shown = pictures_of_one_size(pictures, options.images, (width, height), options.pictures)
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in names}
    for number in range(options.rounds):
        for short, name in names.items():
            for workers in options.workers:
                task = {"name": name, "workers": workers, "memory": 0, "pictures": str(pictures)}
                run = in_fresh_process({**task, "counted": name.startswith("bottom-up")})
                runs[short].setdefault(f"workers_{workers}", []).append(run)
                told = {key: run[key] for key in ("images_per_second", "share_of_matmul", "error") if key in run}
                say(f"round {number + 1} of {options.rounds}, {short}, workers {workers}: {told}")
    middles = {short: {w: middle(rows) for w, rows in by_workers.items()} for short, by_workers in runs.items()}
    first = f"workers_{options.workers[0]}"
    base = middles.get("embedded", {}).get(first, {}).get("images_per_second")
    for by_workers in middles.values():
        one = by_workers[first].get("images_per_second")
        by_workers["speed_over_embedded"] = round(one / base, 4) if one and base else None
        two = by_workers.get(f"workers_{options.workers[-1]}", {}).get("images_per_second")
        by_workers["gain_of_more_workers"] = round(two / one, 3) if one and two else None
    return {"size": options.size, "images": options.images, "shown": shown, "rounds": options.rounds,
            "extractors": middles}  # fmt: skip


def middle(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number; an error where there was one."""
    wrong = [row for row in rows if "error" in row]
    if wrong:
        return wrong[0]
    return {name: round(median(row[name] for row in rows), 4) for name in rows[0]}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--extractor", action="append", help="may be given again")
    parser.add_argument("--images", type=int, default=8, help="for each worker")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory", type=int, default=0, metavar="N", help="the memory of N pictures of many sizes")
    parser.add_argument("--keep", type=Path, help="where random detectors are kept for the next time")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measured(json.loads(options.measure))))
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        names = {short: name_of(short, options.keep or folder) for short in options.extractor or DEFAULT}
        about = {"torch": torch.__version__, "cores": os.cpu_count(), "load": os.getloadavg()[0],
                 "random_weights": [short for short in names if short in MAKERS]}  # fmt: skip
        if not options.memory:
            print(json.dumps({**about, **compared(options, names, folder)}, indent=2))
            return
        task = {"workers": options.workers[-1], "memory": options.memory, "counted": False}
        found = {short: in_fresh_process({**task, "name": name}) for short, name in names.items()}
        print(json.dumps({**about, "pictures": options.memory, "sizes": [*SIZES, HUGE], "memory": found}, indent=2))


if __name__ == "__main__":
    main()
