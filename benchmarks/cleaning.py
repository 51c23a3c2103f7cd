"""How long a catalogue's titles take to clean, and how much memory, against plain segmentation of the same titles.

    python benchmarks/cleaning.py --titles 1000000 --from ../shared/data/product_zh/product1m_test.jsonl

Takes the real titles of a catalogue; beyond their number each comes again with its words in another order and a number
behind, so that no two are equal. Each measurement is a fresh process of one thread: jieba or rjieba cut them into words
and nothing else; cleaning (every step, traditional to simplified, word lists, a classifier); and the whole way from a
catalogue's file to captions, near copies looked for. Prints one JSON object: seconds of the clock and of the processor,
titles a second, the peak resident set in MB, and ratios to plain jieba by processor seconds.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from interbert.corpus.catalogue import titles_of
from interbert.text.segmenting import load_segmenter

MEASURE = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from interbert.corpus.catalogue import Catalogue, titles_of
from interbert.corpus.products import ProductCaptions, ProductOptions
from interbert.text.segmenting import load_segmenter
from interbert.text.spam import SpamFilter, WordList
from interbert.text.spam_model import BUCKETS, SpamModel
from interbert.text.titles import Cleaning, TitleCleaner

what, path = sys.argv[1:]
model = SpamModel(np.random.default_rng(0).normal(0, 1e-3, BUCKETS).astype(np.float32), -5.0)
spam = SpamFilter(WordList.load(), model)
cleaner = TitleCleaner("zh", Cleaning(script="simplified"), load_segmenter("rjieba"), spam)
segmenter = load_segmenter(what) if what in ("jieba", "rjieba") else None
titles = titles_of(path) if what != "catalogue" else []
begin, cpu = time.perf_counter(), time.process_time()
kept = 0
if segmenter:
    for title in titles:
        kept += bool(segmenter.words(title))
elif what == "cleaning":
    for at in range(0, len(titles), 4096):
        kept += sum(map(bool, cleaner.clean(titles[at : at + 4096])))
else:
    kept = sum(1 for _ in ProductCaptions(Catalogue(path), cleaner, ProductOptions(alike=0.8, per_title=1)))
print(json.dumps({
    "seconds": round(time.perf_counter() - begin, 2),
    "processor_seconds": round(time.process_time() - cpu, 2),
    "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    "kept": kept,
}))
"""


def many_titles(titles: list[str], count: int) -> Iterator[str]:
    """The titles, then each again with its words shuffled and a number behind, until there are `count`."""
    draw, cutter = random.Random(0), load_segmenter("rjieba")
    for at in range(count):
        title = titles[at % len(titles)]
        if at >= len(titles):
            words = cutter.words(title)
            draw.shuffle(words)
            title = f"{''.join(words)}{at}"
        yield title


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titles", type=int, default=50_000)
    parser.add_argument("--from", dest="source", type=Path, required=True, help="a catalogue with a column of titles")
    arguments = parser.parse_args()
    real = titles_of(arguments.source)
    result: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "catalogue.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            for at, title in enumerate(many_titles(real, arguments.titles)):
                row = {"id": str(at), "image": f"{at}.jpg", "title": title, "seller": f"s{at % 997}"}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        for what in ("jieba", "rjieba", "cleaning", "catalogue"):
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, what, str(path)], check=True, capture_output=True, text=True
            )
            result[what] = json.loads(done.stdout)
            result[what]["titles_per_second"] = round(arguments.titles / result[what]["seconds"])
    plain = result["jieba"]["processor_seconds"]
    ratios = {f"{what}_to_jieba": round(result[what]["processor_seconds"] / plain, 3) for what in result}
    print(json.dumps({"titles": arguments.titles, "real_titles": len(real), **result, "ratios": ratios}))


if __name__ == "__main__":
    main()
