"""`interbert convert`: other people's weights in, the folder of a run out that `interbert.load` and `pretrain` take.

A checkpoint that is compared with recorded outputs is written only where it agrees with them.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from interbert.config import ModelConfig, preset, with_settings
from interbert.errors import InterbertError, UsageError
from interbert.files import sha256_of
from interbert.model.interbert import InterBert
from interbert.model.pretrained import CARD_FILE, NOT_STATED
from interbert.pretraining.card import extractor_sentence, shown_name
from interbert.pretraining.released_check import Comparison, compare
from interbert.text.tokenizer import Tokenizer
from interbert.vision.extractor import Extractor
from interbert.vision.provenance import UNKNOWN, ExtractorInfo
from interbert.weights.bert import SHIPPED, bert_config, find_bert, start_from_bert
from interbert.weights.released import HEADS, Released, read_released, save_heads

FILES = ("config.json", "model.safetensors", "tokenizer.json", "extractor.json", HEADS, CARD_FILE)  # what is written
UNCASED = 30522  # word pieces of bert-base-uncased, the release's vocabulary; `bert:minilm` has the same
NEW_PARTS = "the image side, both streams of their own, fusion, matching and region heads"


@dataclass(frozen=True)
class Converted:
    """What a conversion did.

    is_written: False where the comparison was above its limits.  notes: what to know, what is missing.
    comparison: with recorded outputs, where they were given.
    """

    out: Path
    is_written: bool
    config: ModelConfig
    parameters: int
    notes: tuple[str, ...]
    comparison: Comparison | None = None

    def lines(self) -> list[str]:
        """For people, without the notes."""
        lines = [] if self.comparison is None else self.comparison.lines()
        if not self.is_written:
            return [*lines, f"{self.out}: not written, since differences are above their limits"]
        config = self.config
        image_layers = config.independence_layers if config.image_layers is None else config.image_layers
        layers = f"{config.interaction_layers} + {config.independence_layers} + {image_layers} layers"
        return [*lines, f"{self.out}: {layers}, {self.parameters / 1e6:,.1f}M parameters"]


def convert_released(
    file: Path,
    config: Path,
    out: Path,
    *,
    tokenizer: str | None = None,
    extractor: str | None = None,
    check: tuple[Path, Path] | None = None,
    licence: str = "mit",
) -> Converted:
    """A checkpoint of the authors' release, pretrained or fine-tuned, as a run.

    tokenizer: a vocabulary's file or folder; None takes the shipped one of bert-base-uncased where sizes agree.
    extractor: a folder with extractor.json, that file, or a name as `--extractor` takes it; None: not known.
    check: recorded inputs and outputs (`released_check.compare`).  licence: their README says MIT.
    """
    _require_room(out)
    released = read_released(file, config)
    comparison = None if check is None else compare(released, *check)
    model, notes = released.model, list(released.config.notes)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if comparison is not None and not comparison.is_within:
        return Converted(out, False, model.config, parameters, tuple(notes), comparison)
    vocabulary = _vocabulary(tokenizer, model.config.vocabulary_size, notes)
    info = _extractor(extractor, model.config, notes)
    if released.heads is not None:
        notes.append(f"{HEADS}: the heads of a fine-tuned model, {released.heads.answer.out_features:,} answers")
    about = _about_released(file, released, info, comparison)
    _write(out, model, vocabulary, info, about, licence, released)
    return Converted(out, True, model.config, parameters, tuple(notes), comparison)


def convert_bert(
    source: str,
    out: Path,
    *,
    preset_name: str = "paper",
    settings: dict[str, Any] | None = None,
    extractor: str | None = None,
    seed: int = 0,
    licence: str = NOT_STATED,
) -> Converted:
    """A new InterBERT started from a BERT, as a run to be pretrained: what BERT does not bring is random.

    source: as `find_bert` takes it.  settings: of the model, in place of the preset's.  seed: of the new weights.
    """
    _require_room(out)
    folder, notes = find_bert(source.removeprefix("bert:")), [f"new, and at random: {NEW_PARTS}; not trained yet"]
    base = with_settings(preset(preset_name), settings or {})
    if extractor is not None:
        info = _info(extractor)
        base = replace(base, region_feature_size=info.feature_size, region_classes=max(1, len(info.classes)))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        model = InterBert(bert_config(folder, base)).eval()
    start = start_from_bert(model, folder)
    notes.append(f"from BERT: {len(start.filled)} tensors, layers {', '.join(map(str, start.layers))}")
    vocabulary = _vocabulary(str(folder), model.config.vocabulary_size, notes)
    info = _extractor(extractor, model.config, notes)
    about = "\n\n".join(
        [
            f"## Data, recipe, results\n\nNot trained: an InterBERT of preset `{preset_name}` whose text embedding and "
            f"interaction layers are those of `{shown_name(source)}`. New, and at random (seed {seed}): {NEW_PARTS}. "
            "Its scores mean nothing before `interbert pretrain CORPUS --init THIS_FOLDER`.",
            extractor_sentence(info),
        ]
    )
    _write(out, model, vocabulary, info, about, licence)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return Converted(out, True, model.config, parameters, tuple(notes))


def _require_room(out: Path) -> None:
    """Raises UsageError where something is in the folder that a conversion did not write."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out: '{out}' is a file; give the name of a new folder")
    if others := sorted(path.name for path in out.glob("*") if path.name not in FILES):
        raise UsageError(f"--out: '{out}' holds {others[0]}, which no conversion wrote; give the name of a new folder")


def _vocabulary(given: str | None, size: int, notes: list[str]) -> Tokenizer | None:
    """The tokenizer of a model of `size` word pieces, or None with a note where nobody named one."""
    if given is None and size == UNCASED and importlib.util.find_spec(SHIPPED["minilm"][0]) is not None:
        given = str(find_bert("minilm"))
        notes.append("vocabulary: that of bert-base-uncased, as the release's; --tokenizer for another")
    if given is None:
        notes.append(f"no vocabulary of {size:,} pieces is known: interbert.load wants one, so give it by --tokenizer")
        return None
    tokenizer = Tokenizer.load(given.removeprefix("bert:"))
    if tokenizer.vocabulary_size > size:
        raise InterbertError(
            f"'{given}' has {tokenizer.vocabulary_size:,} word pieces, the model weights for {size:,}; "
            "give the vocabulary that it was trained with"
        )
    if tokenizer.vocabulary_size < size:
        notes.append(f"'{given}' has {tokenizer.vocabulary_size:,} word pieces, the model weights for {size:,}")
    return tokenizer


def _extractor(given: str | None, config: ModelConfig, notes: list[str]) -> ExtractorInfo:
    """The extractor of a model's regions, or UNKNOWN with a note."""
    if given is None:
        notes.append("which extractor made its regions is not known: it reads Regions, and pictures with --extractor")
        return ExtractorInfo(UNKNOWN, config.region_feature_size)
    info = _info(given)
    if info.feature_size != config.region_feature_size:
        raise InterbertError(
            f"--extractor: '{given}' gives {info.feature_size:,} numbers a region, the model reads "
            f"{config.region_feature_size:,}; give the extractor that it was trained with"
        )
    return info


def _info(given: str) -> ExtractorInfo:
    path = Path(given)
    if path.exists():
        return ExtractorInfo.load(path / "extractor.json" if path.is_dir() else path)
    return Extractor.from_name(given).info


def _about_released(file: Path, released: Released, info: ExtractorInfo, comparison: Comparison | None) -> str:
    kind = "pretrained" if released.heads is None else "fine-tuned"
    about = (
        f"## Data, recipe, results\n\nConverted from `{file.name}` (sha256 `{sha256_of(file)}`), a {kind} checkpoint "
        "of the authors' release, [black4321/InterBERT](https://github.com/black4321/InterBERT), and trained as they "
        "say there. Their paper reports R@1, 5, 10 of 61.9 / 87.1 / 92.7 on Flickr30K image retrieval after "
        "fine-tuning, and 49.2 / 77.6 / 86.0 without. Nothing of that was measured with these files."
    )
    known = info.name != UNKNOWN
    lines = [about, extractor_sentence(info) if known else "It wants 10 to 100 regions of the bottom-up detector."]
    if comparison is not None:
        lines.append(
            "Compared with what the authors' code gave on a recorded batch: largest difference of a tensor "
            f"{comparison.largest('tensor'):.1e}, of a loss {comparison.largest('loss'):.1e}."
        )
    return "\n\n".join(lines)


def _write(
    out: Path,
    model: InterBert,
    tokenizer: Tokenizer | None,
    extractor: ExtractorInfo,
    about: str,
    licence: str,
    released: Released | None = None,
) -> None:
    """The run's files, the model's own last: without them no folder is a run."""
    out.mkdir(parents=True, exist_ok=True)
    for name in FILES[:-1]:  # the card is written over where it is not its reader's own
        (out / name).unlink(missing_ok=True)
    extractor.save(out / "extractor.json")
    if tokenizer is not None:
        tokenizer.save(out / "tokenizer.json")
    if released is not None and released.heads is not None:
        save_heads(released.heads, out)
    model.write_card(out, about, licence)
    model.save_pretrained(out)
