"""Scale `small`: a night a table on two cores, 384 wide, begun from a BERT that a package ships, for data at hand."""

from __future__ import annotations

from pathlib import Path

from interbert.reproduce.cost import Cost, Machine
from interbert.reproduce.generated import SplitQuestions
from interbert.reproduce.places import Place, pictures_of
from interbert.reproduce.setting import Pairs, Setting, Shop, Source
from interbert.reproduce.shop import BuildProducts, Rendered
from interbert.reproduce.steps import Build, Extract, Step, Stored

MACHINE = Machine("2 cores", 3e11)  # with bf16; measured: 2 to 5, by the processor and what else it did
PICTURE_SECONDS = 0.1  # of the embedded detector on two cores
LAYOUT = (
    "flickr8k/captions.jsonl and flickr8k/images/ (pretraining, retrieval); coco/vqa.jsonl and coco/images/ (VQA); "
    "vcr/train.jsonl and vcr/val.jsonl, or one vcr/*_val.jsonl; glue/CoLA, SST-2, STS-B and RTE, each with train.tsv "
    "and dev.tsv; of Figure 3 fashion_en/products.jsonl, fashion_en/images/ and bert_vocab/bert-base-chinese-vocab.txt"
)
ALL_REGIONS = "min_confidence=0"  # of a COCO detector, which knows no clothes: most shoes have one region over 0.1
CLOTHES = ("Apparel", "Accessories", "Personal Care")  # master categories; what else there is has no shoes either


def small(root: Path, data: Path | None, seeds: int) -> Setting:
    """Flickr8k for pairs; what else is not there is left out of the tables."""
    place = Place(data)
    corpus = _corpus(root, place)
    missing = place.missing(corpus.captions, pictures_of(corpus.store))
    shop, products = _shop(root, place)
    pairs = Pairs("Flickr8k's training pictures", (corpus,), examples=19_928, words=14, regions=21)
    return Setting(
        scale="small",
        about="a model 384 wide, begun from a small BERT; hours on two cores",
        root=root,
        seeds=seeds,
        machine=MACHINE,
        pairs=pairs,
        ablation_pairs=pairs,
        recipe="small",
        ablation="-small",
        finetuning="small",
        start="new:small+bert:minilm",
        bert="new:small,independence_layers=0+bert:minilm",
        tasks={"retrieval": _retrieval(corpus), "vqa": _vqa(root, place), "vcr": _vcr(root, place, corpus.store)}
        | place.glue()
        | {"products": products},
        init="bert:minilm",
        brief=("epochs=3",),
        shop=shop,
        missing=f"{missing}; --data wants {LAYOUT}" if missing else "",
    )


def _regions(root: Path, place: Place, name: str, pictures: int, mirrored: bool = False) -> Extract | Stored:
    wanted = Extract(
        name=f"regions/{name}",
        root=root,
        images=place / name / "images",
        max_regions=20,
        min_confidence=0.1,
        mirrored=mirrored,
        cost=Cost(seconds=pictures * PICTURE_SECONDS * (2 if mirrored else 1)),
    )
    return place.regions(wanted)


def _corpus(root: Path, place: Place) -> Build:
    store = _regions(root, place, "flickr8k", 5_378, mirrored=True)
    captions, kind = place.captions("flickr8k")
    return Build(
        name="corpora/flickr8k",
        root=root,
        needs=(store,),
        captions=captions,
        format=kind,
        store=store,
        bert="minilm",
        cost=Cost(seconds=5),
    )


def _shop(root: Path, place: Place) -> tuple[Shop, Source]:
    """Clothes and accessories for pretraining, shoes for finetuning, with Chinese titles made by rule."""
    products = place / "fashion_en" / "products.jsonl"
    vocabulary = place / "bert_vocab" / "bert-base-chinese-vocab.txt"
    store = _regions(root, place, "fashion_en", 3_041, mirrored=True)
    shop = Rendered(name="shop", root=root, products=products, cost=Cost(seconds=1))
    clothes, shoes = (
        BuildProducts(
            name=f"corpora/{name}",
            root=root,
            needs=(shop, store),
            captions=shop.folder / "catalogue.jsonl",
            format="products",
            store=store,
            bert="",
            vocabulary=vocabulary,
            categories=categories,
            products=("columns.category=master_category",),
            settings=settings,
            cost=Cost(seconds=10),
        )
        for name, categories, settings in (
            ("clothes", CLOTHES, (ALL_REGIONS, "validation_share=0.03")),
            ("shoes", ("Footwear",), (ALL_REGIONS, "validation_share=0.1", "test_share=0.25")),
        )
    )
    pairs = Pairs("2,161 clothes and accessories", (clothes,), examples=2_096, words=10, regions=12)
    made_by_rule = "The Chinese titles are made by rule from gender, colour, use and kind; nobody wrote them."
    missing = place.missing(products, pictures_of(store), vocabulary)
    source = Source(
        "875 shoes, a quarter of them for the test",
        shoes.folder,
        (shoes,),
        split="test",
        settings=("batch_size=8", "training.validate_every=150"),
        missing=missing,
        examples=570,
        pairs=4,
        tested=220 * 220,
        words=10,
        regions=12,
    )
    regions = "Up to 16 regions of any confidence (the paper: over 0.1), since the detector's classes know no clothes."
    about, notes = "a model 384 wide (hours on two cores)", (made_by_rule, regions)
    return Shop(about, pairs, "chinese", "new:small", epochs=8, missing=missing, notes=notes), source


def _retrieval(corpus: Build) -> Source:
    return Source(
        "Flickr8k's test pictures, 400 captions",
        corpus.folder,
        (corpus,),
        split="test",
        queries=400,
        examples=19_928,
        pairs=4,
        tested=400 * 646,
        regions=21,
    )


def _vqa(root: Path, place: Place) -> Source:
    store = _regions(root, place, "coco", 400)
    return Source(
        "those of VQA 2.0's questions whose pictures are there",
        place / "coco" / "vqa.jsonl",
        (store,),
        store.folder,
        settings=("batch_size=8", "options.min_occurrences=1"),
        missing=place.missing(place / "coco" / "vqa.jsonl", pictures_of(store)),
        too_few="too few questions have their pictures here to judge by them",
        examples=53,
        tested=13,
        regions=21,
    )


def _vcr(root: Path, place: Place, pictures: Step) -> Source:
    """VCR's own two files, or one of validation questions, split by picture. Its stills are not public: stand-ins."""
    folder = place / "vcr"
    missing, there = place.missing(folder / "train.jsonl", folder / "val.jsonl"), sorted(folder.glob("*_val.jsonl"))
    split = SplitQuestions(name="vcr", root=root, questions=there[0], cost=Cost(seconds=1)) if there else None
    stand_ins = "regions made of classes and boxes in the place of the stills"
    return Source(
        f"{there[0].name}, a fifth of its pictures held out, {stand_ins}" if missing and there else f"VCR, {stand_ins}",
        split.folder if missing and split else folder,
        (split, pictures) if missing and split else (pictures,),
        pictures.folder,
        settings=("options.stand_ins=true",),
        missing="" if split else missing,
        examples=470,
        pairs=4,
        tested=500,
        words=32,
        regions=6,
    )
