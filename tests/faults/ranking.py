"""Scores every text with every picture in two processes, in many small parts: `python ranking.py RUN CORPUS PARTS`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError
from interbert.tasks.ranking import Pairs, Scores, score_pairs


def pairs_of(run: Path, corpus: Corpus) -> Pairs:
    """A caption of each training picture with all of them, in 144 parts."""
    texts = corpus.split("train")[::2]
    images = corpus.images_of[texts].astype("int64")
    return Pairs(run, corpus, texts, images, part_pairs=16, stripe=16)


def scored(run: Path, corpus: Corpus, parts: Path, processes: int) -> Scores:
    """What the program does."""
    return score_pairs(pairs_of(run, corpus), parts, processes=processes)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
    try:
        scored(Path(sys.argv[1]), Corpus(sys.argv[2]), Path(sys.argv[3]), processes=2)
    except InterbertError as error:
        sys.exit(str(error))
