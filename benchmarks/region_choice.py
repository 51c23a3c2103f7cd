"""Which regions of a picture retrieve best: the detector's, a fixed grid of cells, or both?

    interbert extract IMAGES --out regions --min-confidence 0.1          # 4 x 4 cells behind up to 20 detections
    interbert corpus CAPTIONS --format jsonl --regions regions --out corpus
    python benchmarks/region_choice.py corpus [--choices grid,detections,both,8+grid --epochs 12]

A small network learns to put each training picture near the sentence vectors of its texts (a frozen BERT, mean of its
states); the validation pictures are then ranked by every one of their texts. Minutes a choice, on one thread.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from interbert.batch import Regions, make_batch
from interbert.config import preset
from interbert.corpus.corpus import Corpus
from interbert.metrics import ranks, recall_at
from interbert.model.interbert import InterBert
from interbert.weights.bert import bert_config, find_bert, start_from_bert

BATCH = 128


def chosen(regions: Regions, choice: str, cells: int) -> Regions:
    """Some of a picture's regions; the grid's are the last `cells`."""
    found = len(regions) - cells
    detections, grid = np.arange(found), np.arange(found, len(regions))
    if choice == "grid" or (choice == "detections" and not found):
        return regions.select(grid)
    if choice == "detections":
        return regions.select(detections)
    if choice == "both":
        return regions
    count = int(choice.removesuffix("+grid"))
    return regions.select(np.concatenate([detections[:count], grid]))


def text_vectors(corpus: Corpus, texts: list[int]) -> Tensor:
    """float32 [K, H], of length 1: the mean of a frozen BERT's states."""
    folder = find_bert("minilm")
    model = InterBert(bert_config(folder, replace(preset("small"), independence_layers=0))).eval()
    start_from_bert(model, folder)
    found = []
    with torch.inference_mode():
        for start in range(0, len(texts), BATCH):
            words = [corpus.words(text).tolist() for text in texts[start : start + BATCH]]
            batch = make_batch([""] * len(words), words, None)
            weight = batch.words_valid[..., None].float()
            found.append(normalize((model(batch).text_states * weight).sum(1) / weight.sum(1), dim=-1))
    return torch.cat(found).clone()


class Reader(nn.Module):
    """A picture's regions to one vector beside its texts'."""

    def __init__(self, features: int, width: int = 256, text: int = 384) -> None:
        super().__init__()
        self.features, self.locations, self.norm = nn.Linear(features, width), nn.Linear(6, width), nn.LayerNorm(width)
        self.layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.2, batch_first=True)
        self.out, self.shift, self.scale = (
            nn.Linear(width, text),
            nn.Linear(text, text),
            nn.Parameter(torch.tensor(2.5)),
        )

    def picture(self, features: Tensor, locations: Tensor, valid: Tensor) -> Tensor:
        states = self.layer(self.norm(self.features(features) + self.locations(locations)), src_key_padding_mask=~valid)
        return normalize(self.out(states[:, 0]), dim=-1)

    def text(self, vectors: Tensor) -> Tensor:
        return normalize(vectors + 0.5 * self.shift(vectors), dim=-1)


def inputs(regions: list[Regions], mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Padded, standardised features, locations with confidence, and what is valid."""
    batch = make_batch([""] * len(regions), None, regions)
    return (
        (batch.features - mean) * scale,
        torch.cat([batch.locations, batch.confidence[..., None]], -1),
        batch.regions_valid,
    )


def recall_of(corpus: Corpus, choice: str, cells: int, epochs: int, vectors: dict[str, Tensor]) -> dict[str, float]:
    """Trains on the training pictures, ranks the validation pictures."""
    torch.manual_seed(0)
    pictures = {split: np.unique(corpus.images_of[corpus.split(split)]) for split in ("train", "validation")}
    read = {s: [chosen(corpus.regions(int(i)), choice, cells) for i in found] for s, found in pictures.items()}
    sample = torch.from_numpy(np.concatenate([r.features for r in read["train"][:1500]]).astype(np.float32))
    mean, scale = sample.mean(0), 1 / sample.std(0).clamp(min=1e-3)
    model = Reader(sample.shape[1])
    steps = epochs * (len(read["train"]) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-4, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    texts_of = [np.flatnonzero(corpus.images_of[corpus.split("train")] == i) for i in pictures["train"]]
    draw = np.random.default_rng(0)
    for step in range(steps):
        if step % (steps // epochs) == 0:
            order = draw.permutation(len(texts_of))
        at = order[(step % (steps // epochs)) * BATCH :][:BATCH]
        images = model.picture(*inputs([read["train"][i] for i in at], mean, scale))
        texts = model.text(vectors["train"][[int(draw.choice(texts_of[i])) for i in at]])
        scores, wanted = images @ texts.T * model.scale.exp(), torch.arange(len(at))
        loss = (cross_entropy(scores, wanted) + cross_entropy(scores.T, wanted)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    with torch.inference_mode():
        images = model.picture(*inputs(read["validation"], mean, scale))
        scores = (model.text(vectors["validation"]) @ images.T).numpy()
    own = corpus.images_of[corpus.split("validation")]
    place = ranks(scores, own[:, None] == pictures["validation"][None])
    regions = float(np.mean([len(r) for r in read["train"]]))
    return {f"recall_at_{k}": round(recall_at(place, k), 3) for k in (1, 5, 10)} | {"regions": round(regions, 1)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--choices", default="detections,grid,4+grid,both")
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = Corpus(options.corpus)
    cells = int(corpus.extractor.settings["grid"]) ** 2
    vectors = {split: text_vectors(corpus, corpus.split(split).tolist()) for split in ("train", "validation")}
    found = {c: recall_of(corpus, c, cells, options.epochs, vectors) for c in options.choices.split(",")}
    print(json.dumps({"pictures": corpus.images, "epochs": options.epochs, "choices": found}))


if __name__ == "__main__":
    main()
