"""What the model card of a run says of its data, recipe and results; `Pretrained.write_card` adds the rest.

Places on this machine's disk are left out: of a corpus, a run or a BERT's folder the card has the name alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from interbert.corpus.corpus import SPLITS, Corpus
from interbert.settings import to_toml
from interbert.training.loop import Summary
from interbert.vision.provenance import NO_PICTURES, ExtractorInfo


def about(corpora: Sequence[Corpus], plan: object, init: str | None, summary: Summary) -> str:
    """Markdown: data, recipe, results.

    plan: the run's `Pretraining`, whole.  init: as `pretrain` takes it.  summary: with the last validation.
    """
    return "\n\n".join([_data(corpora), _recipe(plan, init, summary), _results(summary.validation)])


def about_finetuning(
    plan: object, start: str, extractor: ExtractorInfo, summary: Summary, best: int | None, found: Mapping[str, float]
) -> str:
    """Markdown of a finetuned run: its regions, its recipe, its results.

    plan: the `Finetuning`, whole.  start: as `finetune` takes it.  best, found: the step and figures of the validation
    whose weights the run has.
    """
    data = f"## Data\n\n{extractor_sentence(extractor)}"
    when = "after the last step" if best is None else f"after step {best:,}, the best"
    return "\n\n".join([data, _recipe(plan, start, summary), _results(found, when)])


def _data(corpora: Sequence[Corpus]) -> str:
    lines = ["## Data", "", "| corpus | made of | pictures | texts | of them held out |", "|---|---|---|---|---|"]
    for corpus in corpora:
        held_out = sum(len(corpus.split(split)) for split in SPLITS if split != "train")
        source = corpus.description.get("source", "")
        pictures = 0 if corpus.text_alone else corpus.images
        lines.append(f"| {corpus.folder.name} | {source} | {pictures:,} | {len(corpus):,} | {held_out:,} |")
    vocabulary = corpora[0].description["tokenizer"]["vocabulary_size"]
    return "\n".join([*lines, "", f"Texts in {vocabulary:,} word pieces. {extractor_sentence(corpora[0].extractor)}"])


def extractor_sentence(extractor: ExtractorInfo) -> str:
    """Which extractor made the regions, and with what settings."""
    if extractor.name == NO_PICTURES:
        return "It has read texts alone: it knows no pictures."
    settings = ", ".join(f"{name} {value}" for name, value in extractor.settings.items())
    weights = f", weights with sha256 {extractor.weights_sha256[:16]}…" if extractor.weights_sha256 else ""
    return (
        f"Regions by the extractor `{shown_name(extractor.name)}` ({extractor.feature_size:,} numbers each, "
        f"{len(extractor.classes):,} classes{weights}{f'; {settings}' if settings else ''})."
    )


def shown_name(name: str) -> str:
    """A name as `--extractor` and `--init` take it, where it carries a folder that folder's name alone.

    >>> shown_name("hf:facebook/detr-resnet-50")
    'hf:facebook/detr-resnet-50'
    """
    kind, colon, argument = name.rpartition(":")
    return f"{kind}{colon}{Path(argument).resolve().name}" if Path(argument).exists() else name


def _recipe(plan: object, init: str | None, summary: Summary) -> str:
    began = f"`{shown_name(init)}`" if init else "random weights"
    return "\n".join(
        [
            "## Recipe",
            "",
            f"Started from {began}; {summary.steps:,} steps, {summary.pairs:,} pairs. All settings:",
            "",
            "```toml",
            to_toml(plan).strip(),
            "```",
        ]
    )


def _results(validation: Mapping[str, float], when: str = "after the last step") -> str:
    if not validation:
        return "## Results\n\nNothing was held out to measure on."
    rows = [f"| {name.replace('_', ' ')} | {value:.4g} |" for name, value in validation.items()]
    head = ["## Results", "", f"On what was held out (the split `validation`), {when}:", ""]
    return "\n".join([*head, "| measure | value |", "|---|---|", *rows])
