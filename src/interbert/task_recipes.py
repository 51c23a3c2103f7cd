"""The finetunings of the paper, and ours, as plain functions: what a recipe is for, what it gives, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from interbert.errors import UsageError, unknown_name
from interbert.pretraining.batches import Augmentation
from interbert.recipes import by_the_clock
from interbert.tasks.finetuning import Finetuning
from interbert.tasks.glue import GlueOptions
from interbert.tasks.matching import MatchingOptions
from interbert.tasks.prefilter import PrefilterOptions
from interbert.tasks.products import ProductsOptions
from interbert.tasks.retrieval import RetrievalOptions
from interbert.tasks.vcr import VcrOptions
from interbert.tasks.vqa import VqaOptions
from interbert.training.settings import Training

in_seconds = partial(Training, log_every=1, checkpoint_every=20, ema=0.999)  # to see that everything works


def retrieval_paper() -> Finetuning:
    """Table 3, caption-based image retrieval: R@1 61.9, R@5 87.1, R@10 92.7 (Flickr30K).  4.4 and A.2."""
    return Finetuning(
        task="retrieval",
        options=RetrievalOptions(),
        epochs=20,
        batch_size=32,
        min_regions=90,
        max_regions=100,
        training=Training(learning_rate=4e-5, warmup_steps=10_000, ema=0.9999),
    )


def retrieval_released() -> Finetuning:
    """The authors' release: four pairs a caption, each match or not, with two negative captions, one of them hard."""
    return replace(retrieval_paper(), options=RetrievalOptions(form="pairs"))


def retrieval_small() -> Finetuning:
    """For some thousand pictures of one's own on a CPU, from a run of the recipe `small`; docs/log.md has figures."""
    return Finetuning(
        task="retrieval",
        options=RetrievalOptions(augmentation=Augmentation(mirror=True, region_dropout=0.3)),
        epochs=5,
        batch_size=32,
        max_regions=36,
        training=by_the_clock(learning_rate=4e-5, warmup_share=0.1, ema=0.9999),
    )


def retrieval_tiny() -> Finetuning:
    """To see that everything works: seconds an epoch of a few hundred captions."""
    return Finetuning(
        task="retrieval",
        options=RetrievalOptions(validation_queries=50, validation_pool=50),
        epochs=2,
        batch_size=8,
        max_regions=36,
        training=in_seconds(learning_rate=3e-4),
    )


def products_paper() -> Finetuning:
    """Figure 3: P@5 after 10K, 100K, 200K pairs of shoes; pretraining brings +12.0, +2.7, +0.9 %.  5.2 and A.1.

    The paper has no more numbers of it; batch, rate and epochs are those of image retrieval (4.4 and A.2).
    """
    return replace(retrieval_paper(), task="products", options=ProductsOptions(), min_regions=1, max_regions=16)


def products_small() -> Finetuning:
    """For some hundred to thousand products of one's own on a CPU, from a run of the recipe `chinese`."""
    options = ProductsOptions(augmentation=Augmentation(mirror=True, region_dropout=0.3))
    training = replace(retrieval_small().training, learning_rate=1e-4)  # few steps, which may start from nothing
    plan = replace(retrieval_small(), task="products", options=options, training=training)
    return replace(plan, epochs=10, batch_size=16, max_regions=16)


def products_tiny() -> Finetuning:
    """To see that everything works: seconds an epoch of a few hundred titles."""
    options = ProductsOptions(validation_queries=50, validation_pool=50)
    return replace(retrieval_tiny(), task="products", options=options, max_regions=16)


def matching_small() -> Finetuning:
    """For some thousand labelled pairs of one's own on a CPU, from a run that has learned to match."""
    training = replace(retrieval_small().training, learning_rate=1e-4)
    return Finetuning(
        task="matching", options=MatchingOptions(), epochs=5, batch_size=64, max_regions=36, training=training
    )


def matching_tiny() -> Finetuning:
    """To see that everything works, with a few dozen pairs."""
    return replace(retrieval_tiny(), task="matching", options=MatchingOptions())


def vqa_paper() -> Finetuning:
    """Table 3, VQA 2.0: 70.3 test-dev, 70.6 test-std.  4.4 and A.2.  8 V100; 444K questions make 34,680 steps."""
    return Finetuning(
        task="vqa",
        options=VqaOptions(),
        epochs=20,
        batch_size=256,
        min_regions=10,
        max_regions=100,
        training=Training(learning_rate=1e-4, warmup_steps=10_000, ema=0.9999),
    )


def vqa_small() -> Finetuning:
    """For some thousand questions of one's own on a CPU; an answer must be common to three of them."""
    return Finetuning(
        task="vqa",
        options=VqaOptions(min_occurrences=3),
        epochs=5,
        batch_size=64,
        max_regions=36,
        training=by_the_clock(learning_rate=1e-4, faster=("head",), faster_by=5.0, ema=0.9999),
    )


def vqa_tiny() -> Finetuning:
    """To see that everything works, with a few dozen questions."""
    options, training = VqaOptions(min_occurrences=1), in_seconds(learning_rate=1e-3)
    return replace(retrieval_tiny(), task="vqa", options=options, epochs=4, training=training)


def vcr_paper() -> Finetuning:
    """Table 3, VCR: Q->A 73.1, QA->R 74.8, Q->AR 54.9.  4.4 and A.2.  213K questions, two choices each, 5 epochs."""
    return Finetuning(
        task="vcr",
        options=VcrOptions(),
        epochs=5,
        batch_size=32,
        min_regions=10,
        max_regions=100,
        training=Training(learning_rate=2e-5, warmup_steps=10_000, ema=0.9999),
    )


def vcr_small() -> Finetuning:
    """For some thousand questions of one's own on a CPU."""
    training = replace(vqa_small().training, learning_rate=5e-5)
    return replace(vqa_small(), task="vcr", options=VcrOptions(max_tokens=64), batch_size=16, training=training)


def vcr_tiny() -> Finetuning:
    """To see that everything works, with a few dozen questions."""
    return replace(retrieval_tiny(), task="vcr", options=VcrOptions(max_tokens=64))


def glue_paper(task: str) -> Finetuning:
    """Table 5, of CoLA 57.3, SST-2 91.7, STS-B 88.9, RTE 64.3 (mean 75.6); BERT-base 75.6, single stream 73.0.  A.3.

    The paper gives no warm-up here, so BERT's tenth of the run stands; pretraining's 10,000 steps are more than it has.
    """
    return Finetuning(
        task=task,
        options=GlueOptions(),
        epochs=3,
        batch_size=128,
        training=Training(learning_rate=2e-5, warmup_share=0.1, ema=0.9999),
    )


def glue_small(task: str) -> Finetuning:
    """The same for models 384 wide, on a CPU: more and larger steps; once through SST-2, which is eight times CoLA."""
    return replace(
        glue_paper(task),
        epochs=1 if task == "sst2" else 3,
        batch_size=32,
        training=by_the_clock(learning_rate=1e-4, warmup_share=0.1, ema=0.9999),
    )


def glue_tiny(task: str) -> Finetuning:
    """To see that everything works, with a few dozen sentences."""
    return replace(
        glue_paper(task),
        batch_size=8,
        training=in_seconds(learning_rate=1e-3),
    )


def prefilter_small() -> Finetuning:
    """For some thousand pictures of one's own on a CPU: 192,000 pairs are scored once, then projections are trained.

    Rate and temperature were chosen on 16 validation texts of a Flickr8k run, learning from 256 texts: few, so a first
    guess for yours.
    """
    return Finetuning(
        task="prefilter",
        options=PrefilterOptions(),
        epochs=20,
        batch_size=32,
        max_regions=36,
        training=by_the_clock(learning_rate=3e-4, warmup_share=0.05, ema=0.99),
    )


def prefilter_tiny() -> Finetuning:
    """To see that everything works: a few dozen texts, seconds."""
    return Finetuning(
        task="prefilter",
        options=PrefilterOptions(pool=100, texts=64, listed=16, validation_queries=16, validation_pool=50),
        epochs=3,
        batch_size=16,
        max_regions=36,
        training=in_seconds(learning_rate=1e-3, ema=0.99),
    )


GLUE_TASKS = ("cola", "sst2", "stsb", "rte")
FINETUNING: dict[tuple[str, str], Callable[[], Finetuning]] = {
    ("retrieval", "paper"): retrieval_paper,
    ("retrieval", "released"): retrieval_released,
    ("retrieval", "small"): retrieval_small,
    ("retrieval", "tiny"): retrieval_tiny,
    ("products", "paper"): products_paper,
    ("products", "small"): products_small,
    ("products", "tiny"): products_tiny,
    ("matching", "small"): matching_small,
    ("matching", "tiny"): matching_tiny,
    ("vqa", "paper"): vqa_paper,
    ("vqa", "small"): vqa_small,
    ("vqa", "tiny"): vqa_tiny,
    ("vcr", "paper"): vcr_paper,
    ("vcr", "small"): vcr_small,
    ("vcr", "tiny"): vcr_tiny,
    ("prefilter", "small"): prefilter_small,
    ("prefilter", "tiny"): prefilter_tiny,
    **{(task, "paper"): partial(glue_paper, task) for task in GLUE_TASKS},
    **{(task, "small"): partial(glue_small, task) for task in GLUE_TASKS},
    **{(task, "tiny"): partial(glue_tiny, task) for task in GLUE_TASKS},
}


def finetuning_recipe(task: str, name: str) -> Finetuning:
    """The task's recipe of that name. Raises UsageError with the nearest task or name."""
    tasks = list(dict.fromkeys(known for known, _ in FINETUNING))
    if task not in tasks:
        raise UsageError(unknown_name("task", task, tasks))
    names = [recipe for known, recipe in FINETUNING if known == task]
    if name not in names:
        raise UsageError(unknown_name(f"recipe of {task}", name, names))
    return FINETUNING[task, name]()
