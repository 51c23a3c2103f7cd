"""`interbert pretrain`: corpora and a recipe in, a run folder out, going on where it stopped (section 4.1 and A.2)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from interbert.config import ModelConfig
from interbert.corpus.corpus import Corpora, Corpus
from interbert.draws import generator_for
from interbert.errors import InterbertError, UsageError
from interbert.model.interbert import InterBert
from interbert.model.pretrained import NOT_STATED
from interbert.pretraining.batches import AnyCorpus
from interbert.pretraining.card import about
from interbert.pretraining.evaluation import recentre
from interbert.pretraining.from_run import NEW_WORDS, from_run
from interbert.pretraining.job import Pretraining, PretrainingJob
from interbert.text.tokenizer import Tokenizer
from interbert.training.loop import Summary, train
from interbert.training.parallel import processes, whole_weights
from interbert.training.report import example_pairs, write_report
from interbert.weights.bert import bert_config, find_bert, start_from_bert

log = logging.getLogger(__name__)

STANDARDISING_PICTURES = 2000  # as many pictures fix the mean and scale of region features


def pretrain(
    corpora: Sequence[Path],
    out: Path,
    plan: Pretraining,
    init: str | None = None,
    progress: bool = True,
    parallel: Literal["auto", "ddp", "fsdp"] = "auto",
    licence: str = NOT_STATED,
) -> Summary:
    """Trains an InterBERT on corpora and leaves a run folder that `interbert.load` takes.

    init: `bert:FOLDER_OR_ID` starts text embedding and interaction layers from a BERT, or a run's folder goes on from
    its weights, `new-words:FOLDER` also with another vocabulary; None starts at random. Given the same folder again, an
    unfinished run goes on exactly. Under torchrun, its processes share the work by DDP, or with "fsdp" the weights too.
    licence: of the weights, for their model card.
    """
    refuse_finished_run(out)
    corpus = Corpus(corpora[0]) if len(corpora) == 1 else Corpora([Corpus(folder) for folder in corpora])
    if isinstance(corpus, Corpora) and len(corpus.held_out_elsewhere):
        log.info("%d training pictures left out: another corpus holds them out", len(corpus.held_out_elsewhere))
    tokenizer = corpus.tokenizer()
    refuse_without_pictures(corpus, plan, corpora[0])
    if not corpus.extractor.classes and any(stage.regions != "none" for stage in plan.stages):
        raise InterbertError(
            f"the regions of '{corpora[0]}' have no classes, so hidden regions have no target; "
            "hide none, with  --set stages.regions=none , or give regions with classes"
        )
    plan = replace(plan, model=fitted(plan.model, corpus, tokenizer))
    seed = plan.training.seed
    torch.manual_seed(seed)
    model, plan = started(plan, init, corpus, tokenizer)
    job = PretrainingJob(corpus, tokenizer, plan, init)
    standardises = model.config.region_standardised and not corpus.text_alone
    if standardises and not model.image_embedding.is_standardised:
        model.image_embedding.standardise(feature_sample(corpus, seed))
    out.mkdir(parents=True, exist_ok=True)
    with processes(parallel) as joined:
        summary = train(model, job, plan.training, out, parallel=joined, progress=progress)
        weights = whole_weights(model)
        if joined.leads:  # and only now: a run that `train` refuses to go on with stays whole
            tokenizer.save(out / "tokenizer.json")
            corpus.extractor.save(out / "extractor.json")
            trained = InterBert(model.config).eval()
            trained.load_state_dict(weights)
            if job.pool is not None and any(stage.hard_negatives for stage in plan.stages):
                shift = recentre(trained, job.pool)
                log.info("matching margins shifted by %.2f, fitted on held-out pairs with random negatives", shift)
            parts = corpus.corpora if isinstance(corpus, Corpora) else [corpus]
            if not trained.write_card(out, about(parts, plan, init, summary), licence):
                log.info("'%s' is not interbert's any more; it stays as it is", out / "README.md")
            trained.save_pretrained(out)
            write_report(out, [] if corpus.text_alone else example_pairs(trained, corpus, seed=seed))
    return summary


def is_without_checkpoints(run: Path) -> bool:
    """Whether a folder has the weights of a finished run and no checkpoint to go on from."""
    return (run / "config.json").is_file() and not (run / "checkpoints").is_dir()


def refuse_finished_run(out: Path) -> None:
    """Raises InterbertError where training in `out` would write over what `is_without_checkpoints`."""
    if is_without_checkpoints(out):
        raise InterbertError(f"--out: '{out}' holds a finished run, without checkpoints to go on from; give another")


def refuse_without_pictures(corpus: AnyCorpus, plan: Pretraining, folder: Path) -> None:
    """Raises UsageError where a stage needs pictures and the corpus has texts alone."""
    stage = next((stage for stage in plan.stages if stage.needs_pictures), None)
    if corpus.text_alone and stage is not None:
        raise UsageError(
            f"stages: '{folder}' has texts alone, and the stage '{stage.name}' hides regions or matches pictures. Give "
            "--recipe chinese-texts , or  --set stages.regions=none --set stages.matching=none , or regions"
        )


def fitted(config: ModelConfig, corpus: AnyCorpus, tokenizer: Tokenizer) -> ModelConfig:
    """The configuration with the corpus's vocabulary size, feature size and detector classes."""
    extractor = corpus.extractor
    return replace(
        config,
        vocabulary_size=tokenizer.vocabulary_size,
        region_feature_size=extractor.feature_size,
        region_classes=max(1, len(extractor.classes)),
    )


def init_kind(init: str | None) -> str:
    """ "random", "bert" or "run"."""
    if init is None:
        return "random"
    return "bert" if init.startswith("bert:") else "run"


def init_folder(init: str) -> Path:
    """Where the weights are that `--init` names. Raises UsageError or InterbertError where there are none."""
    if init_kind(init) == "bert":
        return find_bert(init.removeprefix("bert:"))
    run = Path(init.removeprefix(NEW_WORDS))
    if init == NEW_WORDS or not run.is_dir():
        raise UsageError(f"--init: got '{init}', wanted bert:FOLDER_OR_ID, the folder of a run or {NEW_WORDS}FOLDER")
    return run


def started(
    plan: Pretraining, init: str | None, corpus: AnyCorpus, tokenizer: Tokenizer
) -> tuple[InterBert, Pretraining]:
    """A model with its first weights, and the plan with the configuration that it has."""
    if init is None:
        return InterBert(plan.model), plan
    folder = init_folder(init)
    if init_kind(init) == "run":
        model = from_run(folder, plan.model, corpus, new_words=init.startswith(NEW_WORDS))
        return model, replace(plan, model=model.config)
    theirs = Tokenizer.load(folder)
    if theirs.digest != tokenizer.digest:
        raise InterbertError(
            f"the corpus was built with another vocabulary than that of '{folder}'; "
            f"build it again with  interbert corpus … --tokenizer {init}"
        )
    config = bert_config(folder, plan.model)
    if config.vocabulary_size < tokenizer.vocabulary_size:
        raise InterbertError(
            f"'{folder}' has weights for {config.vocabulary_size} word pieces and a vocabulary of "
            f"{tokenizer.vocabulary_size}; give a BERT whose two fit"
        )
    model = InterBert(config)
    start = start_from_bert(model, folder)
    log.info("started from %s: %d tensors, layers %s", folder, len(start.filled), ", ".join(map(str, start.layers)))
    return model, replace(plan, model=config)


def feature_sample(corpus: AnyCorpus, seed: int) -> torch.Tensor:
    """Region features of random training pictures, float32 [K, D]."""
    images = np.unique([corpus.image_of(int(text)) for text in corpus.split("train")])
    chosen = torch.randperm(len(images), generator=generator_for(seed, "standardise"))[:STANDARDISING_PICTURES]
    features = [corpus.regions(int(images[i])).features.astype(np.float32) for i in chosen.tolist()]
    return torch.from_numpy(np.concatenate(features))
