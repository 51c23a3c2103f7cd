"""How long a corpus takes to open and how much memory it needs, whatever its size.

    python benchmarks/corpus_open.py --texts 5000000

Makes a corpus of that many synthetic captions (five a picture, 12 tokens each) in a temporary folder, then measures
in a fresh process: opening it, listing a split and all lengths, reading 10,000 texts at random. The comparison is a
process that reads the same words into Python lists. Prints one JSON object. Memory is in MB: the peak resident set, in
which pages of the files count that the system can drop at any time, and `own_memory`, which is without them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from interbert.corpus.arrays import FORMAT, FORMAT_VERSION
from interbert.corpus.writer import CorpusWriter
from interbert.files import write_json

CAPTIONS = 5  # of a picture
WORDS = 10  # of a caption, and [CLS] and [SEP]
VOCABULARY = 30_522

MEASURE = """
import sys, time
begin = time.perf_counter()
from interbert.corpus.corpus import Corpus
imported = time.perf_counter()
corpus = Corpus(sys.argv[1])
result = {"import_seconds": imported - begin, "open_seconds": time.perf_counter() - imported}
import json, resource
import numpy as np
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
result |= {"peak_after_open": peak()}
begin = time.perf_counter()
train, lengths = corpus.split("train"), corpus.lengths
result |= {"split_and_lengths_seconds": time.perf_counter() - begin, "peak_after_split_and_lengths": peak()}
chosen = np.random.default_rng(0).integers(0, len(corpus), 10_000).tolist()
begin = time.perf_counter()
for text in chosen:
    corpus.words(text), corpus.image_of(text)
result |= {"reads_per_second": len(chosen) / (time.perf_counter() - begin), "peak_after_reads": peak()}
kinds = dict(line.split(":") for line in open("/proc/self/status"))
result |= {"own_memory_at_end": int(kinds["RssAnon"].split()[0]) / 1024}
print(json.dumps(result | {"texts": len(corpus)}))
"""

LISTS = """
import json, resource, sys, time
from interbert.corpus.corpus import Corpus
begin = time.perf_counter()
corpus = Corpus(sys.argv[1])
share = len(corpus) // 10
words = [corpus.words(text).tolist() for text in range(share)]
seconds = time.perf_counter() - begin
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"open_seconds": 10 * seconds, "memory": 10 * memory}))
"""


def synthesise(folder: Path, texts: int) -> float:
    """Writes the arrays of a corpus of `texts` captions. Returns seconds."""
    generator = np.random.default_rng(0)
    ids = generator.integers(1000, VOCABULARY, (10_000, WORDS)).tolist()
    begin = time.perf_counter()
    with CorpusWriter(folder, VOCABULARY) as writer:
        for text in range(texts):
            if text % CAPTIONS == 0:
                picture = text // CAPTIONS
                numbers = {"split": int(picture % 50 == 0), "image_hash": picture + 1, "region_counts": 36}
                writer.add_picture(f"pictures/{picture:09d}", numbers | {"mirrored_counts": 0})
            writer.add_text("a sentence of as many letters as captions have at most", [101, *ids[text % 10_000], 102])
    seconds = time.perf_counter() - begin
    description = {"format": FORMAT, "version": FORMAT_VERSION, "regions": "none", "files": writer.files}
    write_json(folder / "corpus.json", description)
    return seconds


def measured(code: str, folder: Path) -> dict[str, float]:
    """What `code` prints when a fresh process runs it on the corpus."""
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    return {name: round(value, 4) for name, value in json.loads(done.stdout).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=5_000_000)
    texts = parser.parse_args().texts
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        seconds = synthesise(folder, texts)
        size = sum(path.stat().st_size for path in folder.iterdir())
        corpus, lists = measured(MEASURE, folder), measured(LISTS, folder)
        result = {
            "texts": texts,
            "megabytes_on_disk": round(size / 2**20, 1),
            "write_seconds": round(seconds, 1),
            "corpus": corpus,
            "python_lists_extrapolated_from_a_tenth": lists,
            "memory_ratio_lists_to_corpus": round(lists["memory"] / corpus["peak_after_reads"], 1),
            "open_ratio_lists_to_corpus": round(lists["open_seconds"] / corpus["open_seconds"], 1),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
