"""A run's weights as the start of another: what the corpus has otherwise (classes, pictures, words) begins anew.

With new words an English run is the start of a Chinese one: layers carry over between languages (Artetxe, Ruder and
Yogatama, "On the Cross-lingual Transferability of Monolingual Representations", ACL 2020).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from interbert.config import ModelConfig
from interbert.corpus.agreement import other_vocabulary
from interbert.errors import InterbertError
from interbert.model.alone import without_projections
from interbert.model.interbert import InterBert
from interbert.pretraining.batches import AnyCorpus
from interbert.text.tokenizer import Tokenizer
from interbert.vision.provenance import NO_PICTURES, UNKNOWN, ExtractorInfo

log = logging.getLogger(__name__)

NEW_WORDS = "new-words:"  # begins an init
NOT_IN_THE_WEIGHTS = ("dropout", "attention_dropout", "image_dropout", "gradient_checkpointing")
OF_PICTURES = ("image_embedding", "image_stream", "fusion", "region_head", "match_head")  # not learned by texts alone
REGION_CLASSES = "region_head.decoder"  # the layer that is as wide as the corpus has classes
WORDS, WORD_BIAS = "text_embedding.words.weight", "word_head.bias"


def from_run(run: Path, wanted: ModelConfig, corpus: AnyCorpus, *, new_words: bool = False) -> InterBert:
    """A model with a run's weights and sizes and the dropout that is wanted.

    Of a run that has read texts alone, what reads pictures is new. A run whose extractor is not known (a converted one)
    takes the corpus's where sizes agree; where it counts other classes than the corpus, the last layer of the region
    head is new. new_words: the corpus may have another vocabulary, see `with_new_words`. All of it is said.
    Raises InterbertError where the corpus has other regions, or another vocabulary that was not asked for.
    """
    extractor = ExtractorInfo.load(run / "extractor.json")
    before = without_projections(InterBert.from_pretrained(run))
    adds_pictures = extractor.name == NO_PICTURES and not corpus.text_alone
    if not adds_pictures:
        _require_regions(run, before.config, extractor, corpus)
    kept = {name: getattr(wanted, name) for name in NOT_IN_THE_WEIGHTS}
    config = replace(before.config, region_classes=max(1, len(corpus.extractor.classes)), **kept)
    weights = before.state_dict()
    theirs, ours = Tokenizer.load(run / "tokenizer.json"), corpus.tokenizer()
    if theirs.digest != ours.digest:
        _require_asked(run, theirs, ours, new_words)
        config = replace(config, vocabulary_size=ours.vocabulary_size)
        weights, known = with_new_words(weights, theirs, ours)
        log.info("run '%s' knows %d of %d word pieces, the others are new", run, known, ours.vocabulary_size)
    if adds_pictures:
        config = replace(config, region_feature_size=corpus.extractor.feature_size)
        weights = _without(weights, OF_PICTURES)
        log.info("run '%s' has read texts alone: what reads pictures is new", run)
    elif config.region_classes != before.config.region_classes:
        weights = _without(weights, REGION_CLASSES)
        counts = f"{before.config.region_classes:,} classes, the corpus {config.region_classes:,}"
        log.info("run '%s' knows %s: %s is new", run, counts, REGION_CLASSES)
    model = InterBert(config)
    model.load_state_dict(weights, strict=len(weights) == len(before.state_dict()))
    if extractor.name == UNKNOWN:
        log.info("the extractor of run '%s' is not known; from here on it is '%s'", run, corpus.extractor.name)
    log.info("started from run '%s': its weights and sizes, this recipe's dropout", run)
    return model


def _require_regions(run: Path, config: ModelConfig, extractor: ExtractorInfo, corpus: AnyCorpus) -> None:
    if not corpus.text_alone and corpus.extractor.feature_size != config.region_feature_size:
        raise InterbertError(
            f"run '{run}' reads regions of {config.region_feature_size} numbers, the corpus has "
            f"{corpus.extractor.feature_size} ('{corpus.extractor.name}'); extract again or start a new run"
        )
    corpus.require(f"run '{run}'", extractor)


def _require_asked(run: Path, theirs: Tokenizer, ours: Tokenizer, new_words: bool) -> None:
    if not new_words:
        said = other_vocabulary(ours.vocabulary_size, f"run '{run}'", theirs.vocabulary_size)
        raise InterbertError(f"the corpus {said}, or let its words be learned anew:  --init {NEW_WORDS}{run}")


def with_new_words(weights: Mapping[str, Tensor], theirs: Tokenizer, ours: Tokenizer) -> tuple[dict[str, Tensor], int]:
    """The weights with a row for each word piece of `ours`, and how many of them are known.

    Pieces that both vocabularies have keep what was learned (digits, Latin letters, `[MASK]`); the others are drawn as
    the known ones are spread, number by number, by torch's own generator.
    """
    count = theirs.vocabulary_size
    place = {piece: at for at, piece in enumerate(theirs.tokens(range(count)))}
    pieces = ours.tokens(range(ours.vocabulary_size))
    known = torch.tensor([(new, place[piece]) for new, piece in enumerate(pieces) if piece in place])
    mine, old = known.unbind(1)
    learned, bias = weights[WORDS][:count], weights[WORD_BIAS][:count]
    words = learned.mean(0) + learned.std(0) * torch.randn(len(pieces), learned.shape[1])
    word_bias = bias.mean().repeat(len(pieces))
    words[mine], word_bias[mine] = learned[old], bias[old]
    return {**weights, WORDS: words, WORD_BIAS: word_bias}, len(known)


def _without(weights: Mapping[str, Tensor], beginnings: str | tuple[str, ...]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith(beginnings)}
