"""The scale `tiny`: minutes on two cores, from data that it makes itself; it shows that everything runs."""

from __future__ import annotations

from pathlib import Path

from interbert.errors import UsageError
from interbert.reproduce.cost import Cost, Machine
from interbert.reproduce.generated import GLUE, Generate
from interbert.reproduce.setting import Pairs, Setting, Shop, Source
from interbert.reproduce.shop import FINETUNING, PRETRAINING, BuildProducts, Drawn
from interbert.reproduce.steps import Build, Extract

MACHINE = Machine("2 cores", 5e10, ends=0.5)  # as measured: 64 numbers a word are no work for matrix products
DRAWINGS = 850
ABOUT = "drawings of the sample and their names"
QUICK = ("training.checkpoint_every=none", "training.checkpoint_minutes=1")


def tiny(root: Path, data: Path | None, seeds: int) -> Setting:
    """The sample's drawings, 64 numbers a word, weights at random."""
    if data is not None:
        raise UsageError("--data: the scale 'tiny' makes its own data; give none, or another scale")
    made = Generate(name="data", root=root, bert="minilm", cost=Cost(seconds=5))
    captions = made.folder / "captions.jsonl"
    regions = Extract(
        name="regions", root=root, needs=(made,), images=captions, max_regions=10, cost=Cost(seconds=0.1 * DRAWINGS)
    )
    corpus = Build(
        name="corpus",
        root=root,
        needs=(made, regions),
        captions=captions,
        format="jsonl",
        store=regions,
        bert="minilm",
        cost=Cost(seconds=5),
    )
    shop, products = _shop(made, regions)
    pairs = Pairs(ABOUT, (corpus,), examples=1_500, words=6, regions=11)
    return Setting(
        scale="tiny",
        about="a model 64 wide, begun at random, minutes of training: the figures show that it runs, nothing else",
        root=root,
        seeds=seeds,
        machine=MACHINE,
        pairs=pairs,
        ablation_pairs=pairs,
        recipe="tiny",
        ablation="-tiny",
        finetuning="tiny",
        start="new:tiny",
        bert="new:tiny,independence_layers=0",
        tasks=_tasks(made, regions, corpus) | {"products": products},
        settings=("batch_size=64", *QUICK),
        processes=1,
        shop=shop,
    )


def _shop(made: Generate, regions: Extract) -> tuple[Shop, Source]:
    """A third of the sample's kinds for pretraining, the others for finetuning, with their Chinese names."""
    shop = Drawn(name="shop", root=made.root, needs=(made,), sample=made.folder, cost=Cost(seconds=1))
    first, second = (
        BuildProducts(
            name=f"corpora/{category}",
            root=made.root,
            needs=(shop, regions),
            captions=shop.folder / "catalogue.jsonl",
            format="products",
            store=regions,
            bert="",
            vocabulary=shop.folder / "vocab.txt",
            categories=(category,),
            settings=("min_confidence=0",),
            cost=Cost(seconds=5),
        )
        for category in (PRETRAINING, FINETUNING)
    )
    pairs = Pairs("a third of the drawings' kinds", (first,), examples=170, words=6, regions=11)
    source = Source(
        "the other kinds, and their Chinese names",
        second.folder,
        (second,),
        split="test",
        settings=("batch_size=2", "options.negatives=1", "training.validate_every=20", *QUICK),
        examples=340,
        pairs=4,
        tested=13_000,
        words=6,
        regions=11,
    )
    return Shop("a model 64 wide", pairs, "tiny", "new:tiny", epochs=1, settings=("batch_size=8",)), source


def _tasks(made: Generate, regions: Extract, corpus: Build) -> dict[str, Source]:
    needs, store = (made, regions), regions.folder
    retrieval = Source(
        ABOUT,
        corpus.folder,
        (corpus,),
        split="test",
        settings=("batch_size=32", *QUICK),
        queries=100,
        examples=1_500,
        pairs=4,
        tested=17_000,
        regions=11,
    )
    vqa = Source(
        "a question about each drawing",
        made.folder / "vqa",
        needs,
        store,
        split="test",
        settings=("batch_size=16", *QUICK),
        examples=500,
        tested=170,
        regions=11,
    )
    vcr = Source(
        "generated questions about drawings",
        made.folder / "vcr",
        needs,
        store,
        settings=QUICK,
        examples=300,
        pairs=4,
        tested=1_200,
        words=25,
        regions=11,
    )
    sentences = {
        task: Source(
            "generated sentences", made.folder / "glue" / name, (made,), settings=QUICK, examples=120, tested=60
        )
        for task, (name, _, _) in GLUE.items()
    }
    return {"retrieval": retrieval, "vqa": vqa, "vcr": vcr, **sentences}
