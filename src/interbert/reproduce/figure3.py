"""Figure 3 (5.2): P@5 of pictures for titles, finetuned with and without pretraining, on three sizes of data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from interbert.errors import UsageError
from interbert.reproduce.cells import Cell, Exhibit, Reading, Row
from interbert.reproduce.setting import Setting, Shop
from interbert.reproduce.steps import Step

METRIC = "precision_at_5"


@dataclass(frozen=True)
class Size:
    """A size of the finetuning data. share: of the training texts.  gain: by pretraining, as the paper prints it."""

    name: str
    share: float
    gain: float


SIZES = (Size("10K, or 1/20", 0.05, 12.0), Size("100K, or half", 0.5, 2.7), Size("200K, or all", 1.0, 0.9))
WITH, WITHOUT, GAIN, CHANCE = "with pretraining", "without pretraining", "gain by pretraining", "by chance"


def figure3(of: Setting) -> Exhibit:
    """Figure 3: every size takes as many steps, so what differs is how much there is to see."""
    shop = of.shop
    if shop is None:
        raise UsageError(f"figure3: the scale '{of.scale}' has no shop")
    cells = [cell for size in SIZES for cell in _cells(of, shop, size)]
    goods = of.source("products").about
    begun = "Begun at random" if shop.init is None else f"Begun with {shop.init}"
    return Exhibit(
        name="figure3",
        title="Figure 3: pretraining, and how much there is to finetune on",
        columns=tuple(size.name for size in SIZES),
        rows=(Row(WITH), Row(WITHOUT), Row(GAIN, "InterBERT", plotted=False), Row(CHANCE, plotted=False)),
        cells=tuple(cells),
        published={"InterBERT": {size.name: size.gain for size in SIZES}},
        here=f"{shop.about}. {begun}, pretrained on {shop.pairs.about}; finetuned and tested on {goods}",
        there="TaoMultimodal, 3.1 million women's clothes and 200K women's shoes; about 22K test texts",
        seeds=of.seeds,
        plot="P@5, by the number of pairs that are finetuned on",
        notes=(
            "P@5: of the first five pictures of a title's pool, the share that is its own or has an equal title.",
            "Our gains are in points of P@5. The paper prints +12.0 %, +2.7 %, 0.9 %, and not of what, nor P@5 itself.",
            "Half and a twentieth of the training texts are drawn by the seed; each size takes as many steps. One "
            "pretrained run; seeds are of finetuning. The gain has an interval from two seeds on.",
            *shop.notes,
        ),
    )


def _cells(of: Setting, shop: Shop, size: Size) -> list[Cell]:
    if shop.missing:
        return [Cell(row, size.name, missing=shop.missing) for row in (WITH, WITHOUT, GAIN)]
    pretrained = replace(of, init=shop.init).pretrained("chinese", shop.settings, recipe=shop.recipe, pairs=shop.pairs)
    ours = _over_seeds(of, shop, "pretrained", pretrained, size)
    without = _over_seeds(of, shop, "not-pretrained", shop.start, size)
    return [
        Cell(WITH, size.name, tuple((one,) for one in ours)),
        Cell(WITHOUT, size.name, tuple((one,) for one in without)),
        Cell(GAIN, size.name, tuple(zip(ours, without, strict=True)), "difference"),
        Cell(CHANCE, size.name, ((Reading(ours[0].step, METRIC, "chance"),),)),
    ]


def _over_seeds(of: Setting, shop: Shop, contestant: str, start: Step | str, size: Size) -> list[Reading]:
    settings = (f"options.share={size.share}", f"epochs={round(shop.epochs / size.share)}")
    name = f"{contestant}-{size.share}"
    runs = (of.finetuned("products", name, start, seed, settings, size.share) for seed in range(of.seeds))
    return [Reading(of.measured(run, "products"), METRIC) for run in runs]
