"""What a finetuning begins with: the model of a run, or a new one that nothing was pretrained into (the baseline).

`runs/mine` is a run's folder. `new:PRESET` has random weights, `new:PRESET+bert:FOLDER_OR_ID` a BERT's in text
embedding and interaction layers: the "without pretraining" of Figure 3. `new:PRESET,KEY=VALUE…` changes sizes:
`new:small,independence_layers=0+bert:minilm` is that BERT itself, a contestant of Table 5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from interbert.config import ModelConfig, preset, with_settings
from interbert.corpus.corpus import Corpus
from interbert.draws import generator_for
from interbert.errors import InterbertError, UsageError
from interbert.files import sha256_of
from interbert.model.interbert import InterBert
from interbert.settings import read_pairs
from interbert.text.tokenizer import Tokenizer
from interbert.vision.provenance import NO_PICTURES, UNKNOWN, ExtractorInfo
from interbert.vision.store import RegionStore
from interbert.weights.bert import bert_config, find_bert, start_from_bert

NEW = "new:"
STANDARDISING_PICTURES = 2000  # as many pictures fix the mean and scale of a new model's region features


@dataclass(frozen=True)
class Start:
    """A model before its finetuning. identity: equal where the weights are."""

    model: InterBert
    tokenizer: Tokenizer
    extractor: ExtractorInfo
    identity: str


def start_from(name: str, seed: int, data: Path, store: Path | None, dropout: float | None = None) -> Start:
    """The model that `name` says (see above), with this dropout where it is given.

    data, store: a corpus or a region store among them tells a new model what its regions are.
    Raises UsageError where the name is neither a folder nor a new model, InterbertError where its files do not fit.
    """
    if name.startswith(NEW):
        return _new(name, seed, data, store, dropout)
    run = Path(name)
    if not (run / "config.json").is_file():
        raise UsageError(f"--from: got '{name}', wanted the folder of a run, or {NEW}PRESET[+bert:FOLDER_OR_ID]")
    before = InterBert.from_pretrained(run)
    model = before
    if dropout is not None:
        model = InterBert(_with_dropout(before.config, dropout))
        model.load_state_dict(before.state_dict())
    tokenizer, extractor = Tokenizer.load(run / "tokenizer.json"), ExtractorInfo.load(run / "extractor.json")
    here = _extractor(data, store)
    if extractor.name == UNKNOWN and here is not None and here.difference(extractor) is None:
        extractor = here  # a converted model's was not known; from here on it is the data's
    return Start(model, tokenizer, extractor, sha256_of(run / "model.safetensors"))


def _new(name: str, seed: int, data: Path, store: Path | None, dropout: float | None) -> Start:
    sizes, _, bert = name.removeprefix(NEW).partition("+")
    if bert and not bert.startswith("bert:"):
        raise UsageError(f"--from: got '{name}', wanted {NEW}PRESET or {NEW}PRESET+bert:FOLDER_OR_ID")
    named, *changes = sizes.split(",")
    config = with_settings(preset(named), read_pairs(changes))
    extractor = _extractor(data, store) or ExtractorInfo(NO_PICTURES, config.region_feature_size)
    folder = find_bert(bert.removeprefix("bert:")) if bert else None
    config = config if folder is None else bert_config(folder, config)
    tokenizer = Tokenizer.load(folder or _vocabulary(name, data))
    config = replace(
        config,
        vocabulary_size=tokenizer.vocabulary_size if folder is None else config.vocabulary_size,
        region_feature_size=extractor.feature_size,
        region_classes=max(1, len(extractor.classes)),
    )
    config = config if dropout is None else _with_dropout(config, dropout)
    torch.manual_seed(seed)
    model = InterBert(config)
    if folder is not None:
        start_from_bert(model, folder)
    if config.region_standardised and extractor.name != NO_PICTURES:
        model.image_embedding.standardise(_feature_sample(data, store, seed))
    return Start(model, tokenizer, extractor, f"{name}, seed {seed}")


def _with_dropout(config: ModelConfig, dropout: float) -> ModelConfig:
    return replace(config, dropout=dropout, attention_dropout=dropout, image_dropout=None)


def _extractor(data: Path, store: Path | None) -> ExtractorInfo | None:
    """Of the region store, or of the corpus that the data is; None where there are no pictures."""
    for folder in (store, data):
        if folder is not None and (folder / "extractor.json").is_file():
            return ExtractorInfo.load(folder / "extractor.json")
    return None


def _vocabulary(name: str, data: Path) -> Path:
    if not (data / "tokenizer.json").is_file():
        raise InterbertError(
            f"--from {name}: a new model takes its vocabulary from a BERT or a corpus, and '{data}' is no corpus; "
            f"give {name}+bert:FOLDER_OR_ID"
        )
    return data / "tokenizer.json"


def _feature_sample(data: Path, store: Path | None, seed: int) -> torch.Tensor:
    """Region features of random pictures, of a corpus its training pictures: float32 [K, D]."""
    generator = generator_for(seed, "standardise")
    if store is None:
        corpus = Corpus(data)
        pictures = np.unique(corpus.images_of[corpus.split("train")])
        regions, ids = corpus.store, [corpus.image_id(int(image)) for image in pictures]
    else:
        regions = RegionStore(store)
        ids = list(regions)
    chosen = torch.randperm(len(ids), generator=generator)[:STANDARDISING_PICTURES].tolist()
    features = [regions[ids[at]].features.astype(np.float32) for at in chosen]
    return torch.from_numpy(np.concatenate(features))
