"""The pretrainings of the paper, and ours, as plain functions: what a recipe is for, what it gives, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from interbert.config import preset
from interbert.errors import UsageError, unknown_name
from interbert.pretraining.batches import Augmentation
from interbert.pretraining.job import Pretraining
from interbert.pretraining.stages import Masking, Stage
from interbert.training.settings import Training

by_the_clock = partial(Training, checkpoint_every=None, checkpoint_minutes=5.0)  # on a CPU steps are slow


def paper() -> Pretraining:
    """Section 4.1 and A.2: 12+6+6 layers, MSM+MRM+ITM, batch 512, 20 epochs of 4.777M pairs = 186,600 steps. 8 V100."""
    return Pretraining(
        model=preset("paper"),
        stages=(Stage("msm", "mrm", epochs=20),),
        batch_size=512,
        training=Training(learning_rate=1e-4, warmup_steps=10_000),
    )


def two_stages() -> Pretraining:
    """Table 4, 70.3: MLM+MOM+ITM for 5 epochs, then MSM+MRM+ITM for 10 (section 4.6)."""
    return replace(paper(), stages=(Stage("mlm", "mom", epochs=5), Stage("msm", "mrm", epochs=10)))


def ablation(masking: str, base: Callable[[], Pretraining], epochs: tuple[int, int]) -> Pretraining:
    """Table 4 of a recipe: "mlm-mom", "msm-mrm", or "two-stages", the one and then the other; all as many epochs.

    Hidden at the paper's rates. With the epochs (5, 10) of `paper`: 69.6, 69.0 and 70.3 (section 4.6).
    """
    plan, (easy, hard) = base(), epochs
    stages = {
        "mlm-mom": (Stage("mlm", "mom", epochs=easy + hard),),
        "msm-mrm": (Stage("msm", "mrm", epochs=easy + hard),),
        "two-stages": (Stage("mlm", "mom", epochs=easy), Stage("msm", "mrm", epochs=hard)),
    }
    return replace(plan, stages=stages[masking], masking=Masking(region_targets=plan.masking.region_targets))


def released() -> Pretraining:
    """The authors' release: 6+6+6 layers, soft region targets, anchors of 10 % and neighbours from IoU 0.4 on."""
    return replace(
        paper(),
        model=preset("released"),
        masking=Masking(mrm_rate=0.10, mrm_inclusive=True, region_targets="soft"),
    )


NEW_WEIGHTS = (  # what a BERT does not bring
    *("image_embedding", "text_stream", "image_stream", "fusion"),
    *("match_head", "word_head", "region_head"),
)


def small() -> Pretraining:
    """For some thousand pictures of one's own on a CPU: 384 wide, 6+3+3 layers; start it from a 384-wide BERT.

    Beyond the paper, where data is small: three epochs of each side alone come first, by contrast, at half the cost;
    new weights learn three times as fast as BERT's; half of the words are hidden, so that the rest say less and the
    picture more; pictures are mirrored and regions left out at random. In the last three epochs negatives are hard and
    pictures seen whole, without hidden regions: the words that are hidden can be looked up.
    """
    return Pretraining(
        model=preset("small"),
        stages=(
            Stage("none", "none", epochs=3, matching="alone"),
            Stage("msm", "mrm", epochs=8),
            Stage("msm", "none", epochs=3, hard_negatives=0.5, region_dropout=False),
        ),
        batch_size=128,
        masking=Masking(msm_rate=0.30, region_targets="soft"),
        augmentation=Augmentation(mirror=True, region_dropout=0.3),
        training=by_the_clock(
            learning_rate=2e-4, faster=NEW_WEIGHTS, faster_by=3.0, warmup_share=0.05, validate_every=150
        ),
    )


def flickr8k() -> Pretraining:
    """Flickr8k: 3,987 training pictures, 19,928 captions, 94 minutes on two cores; docs/log.md has what it gives."""
    return small()


def chinese() -> Pretraining:
    """Section 5 and A.1, the Chinese InterBERT of Figure 3, for some thousand products on a CPU: `small`, in Chinese.

    For corpora of `interbert corpus --format products --language zh`, which has A.1's numbers: at most 16 regions of a
    confidence over 0.1, titles of at most 36 characters, bert-base-chinese's vocabulary. Segments begin and end with
    words as the segmenter found them. Weights may begin at random, so all is learned longer than in `small`.
    """
    plan = small()
    return replace(
        plan,
        stages=(
            Stage("none", "none", epochs=6, matching="alone"),
            Stage("msm", "mrm", epochs=12),
            Stage("msm", "none", epochs=4, hard_negatives=0.5, region_dropout=False),
        ),
        batch_size=64,
        masking=replace(plan.masking, whole_words=True),
    )


def chinese_texts() -> Pretraining:
    """Titles without pictures, as a start for `chinese`: hidden segments of words, read by the text side alone.

    For corpora of `interbert corpus … --text-alone`; beyond the paper, whose text side starts from BERT. A second
    pretraining takes the weights with `--init RUN`. 4,060 titles: 5,080 steps, reckoned an hour of one core; the first
    hundreds learn no more than how frequent words are. docs/log.md has the figures of a smaller model.
    """
    return replace(
        small(),
        stages=(Stage("msm", "none", epochs=40, matching="none"),),
        batch_size=32,
        masking=Masking(whole_words=True),
        augmentation=Augmentation(),
        training=by_the_clock(learning_rate=5e-4, warmup_share=0.05, validate_every=500),
    )


def demo() -> Pretraining:
    """`scripts/demo`: 690 drawn pictures of 10 regions, a few short texts each; about four minutes on two cores."""
    return replace(
        small(),
        stages=(
            Stage("none", "none", epochs=5, matching="alone"),
            Stage("msm", "mrm", epochs=5),
            Stage("msm", "mrm", epochs=2, hard_negatives=0.5),
        ),
        batch_size=64,
        augmentation=Augmentation(mirror=True, region_dropout=0.3),
        training=replace(small().training, validate_every=None, checkpoint_minutes=1.0),
    )


def tiny() -> Pretraining:
    """To see that everything works: 64 wide, 2+1+1 layers, seconds an epoch of a few hundred pairs."""
    return Pretraining(
        model=preset("tiny"),
        stages=(Stage("msm", "mrm", epochs=2),),
        batch_size=16,
        training=Training(learning_rate=1e-3, log_every=1, checkpoint_every=20),
    )


MASKINGS = ("mlm-mom", "msm-mrm", "two-stages")  # the rows of Table 4
PRETRAINING: dict[str, Callable[[], Pretraining]] = {
    "paper": paper,
    "two-stages": two_stages,
    "released": released,
    "small": small,
    "flickr8k": flickr8k,
    "chinese": chinese,
    "chinese-texts": chinese_texts,
    "demo": demo,
    "tiny": tiny,
    "mlm-mom": partial(ablation, "mlm-mom", paper, (5, 10)),
    "msm-mrm": partial(ablation, "msm-mrm", paper, (5, 10)),
    **{f"{masking}-small": partial(ablation, masking, small, (4, 8)) for masking in MASKINGS},
    **{f"{masking}-tiny": partial(ablation, masking, tiny, (1, 2)) for masking in MASKINGS},
}


def pretraining_recipe(name: str) -> Pretraining:
    """The recipe of that name. Raises UsageError with the nearest name."""
    if name not in PRETRAINING:
        raise UsageError(unknown_name("recipe", name, PRETRAINING))
    return PRETRAINING[name]()
