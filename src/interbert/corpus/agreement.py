"""What is said where a corpus and a model, or two corpora, do not belong together, and what is to be done."""

from __future__ import annotations

from pathlib import Path

from interbert.vision.provenance import NO_PICTURES, ExtractorInfo

WITH_REGIONS = "build it with  --regions STORE"


def other_regions(mine: ExtractorInfo, who: str, theirs: ExtractorInfo, difference: str) -> str:
    """What is said of a corpus whose regions are not those that `who` reads, and what to do."""
    if mine.name == NO_PICTURES:
        return (
            f"has texts alone, {who} has pictures: {WITH_REGIONS}, or pretrain on texts first, then on"
            " pictures with  --init RUN"
        )
    if theirs.name == NO_PICTURES:
        return f"has pictures, {who} has texts alone: pretrain on texts first, then on pictures with  --init RUN"
    return (
        f"has regions of extractor '{mine.name}' ({mine.feature_size} numbers each); {who} has '{theirs.name}' "
        f"({theirs.feature_size}): {difference}. Extract again with  "
        f"interbert extract IMAGES --extractor {theirs.name} --out STORE  and build the corpus again, "
        f"or start a new run"
    )


def other_vocabulary(mine: int, who: str, theirs: int) -> str:
    """What is said of a corpus whose words were cut with another vocabulary. mine, theirs: pieces."""
    return (
        f"was cut with another vocabulary ({mine} pieces) than that of {who} ({theirs} pieces). "
        "Build the corpus again with that tokenizer, or start a new run"
    )


def regions_not_at(place: Path, corpus: Path) -> str:
    """What is said of a corpus whose region store was moved."""
    return (
        f"has its regions in '{place}', which is not there. If the store was moved, open the corpus with "
        f"Corpus('{corpus}', regions=PLACE), or write PLACE at \"regions\" in its corpus.json"
    )
