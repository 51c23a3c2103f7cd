"""Do a run's scores order pictures and captions as people do? Flickr8k's expert and crowd judgments.

    python benchmarks/judgments.py ../shared/data/flickr8k --from RUN --store REGIONS

Kendall's tau-c of the matching margin with each expert's rating (1 to 4, three a pair), and tau-b with the share of the
crowd that says the caption describes the picture. Pairs with a picture's own caption are left out of the experts',
as in the literature (CLIPScore: 51.2 and 34.4; with references 53.0 and 36.4, on the full set). Intervals by resampling
pictures. Prints one JSON object; pairs that are left out, also for want of regions, are counted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import interbert
from interbert.batch import make_batch
from interbert.metrics import bootstrap_interval, kendall
from interbert.model.matching import margin
from interbert.scoring.scorer import Scorer
from interbert.tasks.finetuned import measuring
from interbert.training.precision import chosen_precision
from interbert.vision.store import RegionStore

AT_ONCE = 64


def lines(file: Path) -> list[dict[str, Any]]:
    """The objects of a jsonl file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def margins_of(scorer: Scorer, store: RegionStore, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float64]:
    """The matching margin of (text, picture's id); sorted by length inside."""
    words = scorer.tokenizer.encode_many([text for text, _ in pairs], scorer.model.config.max_text_tokens)
    order = sorted(range(len(pairs)), key=lambda at: len(words[at]) + store.region_count(pairs[at][1]))
    found = np.empty(len(pairs))
    with measuring(chosen_precision("auto", scorer.device), scorer.device):
        for start in range(0, len(order), AT_ONCE):
            which = order[start : start + AT_ONCE]
            regions = [store[pairs[at][1]] for at in which]
            batch = make_batch([""] * len(which), [words[at] for at in which], regions).to(scorer.device)
            output = scorer.model(batch, 1)
            assert output.text_vector is not None
            assert output.image_vector is not None
            found[which] = margin(scorer.model, output.text_vector, output.image_vector).double().cpu().numpy()
    return found


def correlation(
    margins: NDArray[np.float64], ratings: Sequence[Sequence[float]], images: Sequence[str], variant: str
) -> dict[str, Any]:
    """Kendall's tau over every (margin, rating), each margin once for each of its ratings, and its interval."""
    rows = [(at, rating) for at, given in enumerate(ratings) for rating in given]
    pairs, given = np.array([at for at, _ in rows]), np.array([rating for _, rating in rows])
    _, of = np.unique(np.asarray(images)[pairs], return_inverse=True)
    groups = [np.flatnonzero(of == one) for one in range(int(of.max()) + 1)]

    def tau(drawn: NDArray[np.float64]) -> float:
        which = np.concatenate([groups[int(one)] for one in drawn])
        return kendall(margins[pairs[which]], given[which], "c" if variant == "c" else "b")

    every = np.arange(len(groups), dtype=np.float64)
    interval = bootstrap_interval(every, tau, samples=200)
    return {f"tau_{variant}": tau(every), "interval": interval, "pairs": len(ratings), "ratings": len(rows)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--from", dest="run", required=True)
    parser.add_argument("--store", type=Path, required=True)
    given = parser.parse_args()
    scorer, store = interbert.load(given.run), RegionStore(given.store)
    captions = {one["id"]: one["captions"] for one in lines(given.data / "captions.jsonl")}
    result: dict[str, Any] = {"run": given.run}
    for name, variant in (("expert", "c"), ("crowd", "b")):
        judged = lines(given.data / f"judgments_{name}.jsonl")
        kept = [one for one in judged if one["image_id"] in store]
        if name == "expert":
            kept = [one for one in kept if one["image_id"] != one["caption_image_id"]]
        pairs = [(captions[one["caption_image_id"]][one["caption_index"]], one["image_id"]) for one in kept]
        ratings = [one["scores"] if name == "expert" else [one["yes"] / (one["yes"] + one["no"])] for one in kept]
        margins = margins_of(scorer, store, pairs)
        images = [one["image_id"] for one in kept]
        result[name] = correlation(margins, ratings, images, variant) | {"left_out": len(judged) - len(kept)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
