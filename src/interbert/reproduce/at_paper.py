"""The scale `paper`: the paper's own model, recipes and data (section 4, A.2, A.3); wants them, and GPUs."""

from __future__ import annotations

from pathlib import Path

from interbert.reproduce.cost import Cost, Machine
from interbert.reproduce.places import Place, pictures_of
from interbert.reproduce.setting import Pairs, Setting, Shop, Source
from interbert.reproduce.shop import BuildProducts
from interbert.reproduce.steps import Build, Extract, Step, Stored

MACHINE = Machine("8 GPUs that reach 50 TFLOP/s each, pictures read by 48 cores of 50 GFLOP/s", 4e14)
CORES = Machine("48 cores", 2.4e12)
PICTURE_OPERATIONS = 2e12  # of the bottom-up detector, which works on cores
CORPUS_SECONDS = 0.0006  # a picture with its captions: 3.3 seconds of processor time for Flickr8k's 5,378
PICTURES = {"cc": 3_300_000, "sbu": 890_000, "coco": 204_000, "flickr30k": 31_000, "vcr": 110_000, "shop": 3_300_000}
LAYOUT = (
    "cc/, sbu/, coco/ and flickr30k/, each with captions and images/ or regions/; vqa/ with the challenge's files; "
    "vcr/ with train.jsonl, val.jsonl and vcr1images/; glue/CoLA, SST-2, STS-B and RTE; bert-base-uncased/; "
    "bottom-up/, which interbert convert bottom-up makes; for Figure 3 shop/products.jsonl, whose column category has "
    "女装 and 女鞋, shop/images/ or shop/regions/, and bert-base-chinese/"
)


def paper(root: Path, data: Path | None, seeds: int) -> Setting:
    """Conceptual Captions, SBU and COCO; Flickr30K, VQA 2.0, VCR, GLUE."""
    place = Place(data)
    coco = _regions(root, place, "coco", most=100)
    flickr = _flickr(root, place)
    corpora = tuple(
        _corpus(place, store, settings, leave_out=(flickr,))
        for store, settings in (
            (_regions(root, place, "cc"), ()),
            (_regions(root, place, "sbu"), ()),
            (coco, ('leave_out_ids=["*val2014*"]',)),  # on which VQA is judged
        )
    )
    bert = place / "bert-base-uncased"
    files = [path for corpus in (*corpora, flickr) for path in (corpus.captions, pictures_of(corpus.store))]
    detector = [place / "bottom-up"] if any(isinstance(one.store, Extract) for one in (*corpora, flickr)) else []
    missing = place.missing(bert, *files, *detector)
    shop, products = _shop(root, place)
    return Setting(
        scale="paper",
        about="the paper's own model, recipe and data",
        root=root,
        seeds=seeds,
        machine=MACHINE,
        pairs=Pairs("Conceptual Captions, SBU and COCO", corpora, examples=4_777_000, words=14, regions=37),
        ablation_pairs=Pairs("Conceptual Captions and SBU", corpora[:2], examples=4_190_000, words=14, regions=37),
        recipe="paper",
        ablation="",
        finetuning="paper",
        start=f"new:paper+bert:{bert}",
        bert=f"new:paper,independence_layers=0,text_position=table+bert:{bert}",
        tasks={"retrieval": _retrieval(flickr), "vqa": _vqa(place, coco), "vcr": _vcr(root, place)}
        | place.glue()
        | {"products": products},
        init=f"bert:{bert}",
        beside="The paper's figures of VQA and VCR are of test parts whose answers are not public, ours of validation; "
        "so COCO's pictures with val2014 in their name are left out of pretraining (names of 2017 do not tell).",
        shop=shop,
        missing=f"{missing}; --data wants {LAYOUT}" if missing else "",
    )


def _regions(
    root: Path,
    place: Place,
    name: str,
    least: int = 10,
    most: int = 36,
    confidence: float = 0.2,
    images: str = "images",
) -> Extract | Stored:
    wanted = Extract(
        name=f"regions/{name}",
        root=root,
        images=place / name / images,
        extractor=f"bottom-up:{place / 'bottom-up'}",
        min_regions=least,
        max_regions=most,
        min_confidence=confidence,
        cost=CORES.passes(PICTURES[name] * PICTURE_OPERATIONS),
    )
    return place.regions(wanted)


def _corpus(place: Place, store: Step, settings: tuple[str, ...] = (), leave_out: tuple[Build, ...] = ()) -> Build:
    name = store.name.removeprefix("regions/")
    captions, kind = place.captions(name)
    return Build(
        name=f"corpora/{name}",
        root=store.root,
        needs=(store, *leave_out),
        captions=captions,
        format=kind,
        store=store,
        bert=str(place / "bert-base-uncased"),
        settings=settings,
        leave_out=leave_out,
        cost=Cost(seconds=CORPUS_SECONDS * PICTURES[name]),
    )


def _shop(root: Path, place: Place) -> tuple[Shop, Source]:
    """A.1: clothes for pretraining, shoes for finetuning, of women; at most 16 regions of a confidence over 0.1."""
    products, bert = place / "shop" / "products.jsonl", place / "bert-base-chinese"
    store = _regions(root, place, "shop", least=1, most=16, confidence=0.1)
    clothes, shoes = (
        BuildProducts(
            name=f"corpora/shop-{name}",
            root=root,
            needs=(store,),
            captions=products,
            format="products",
            store=store,
            bert="",
            vocabulary=bert / "vocab.txt",
            categories=(category,),
            settings=settings,
            cost=Cost(seconds=CORPUS_SECONDS * PICTURES["shop"]),  # all are read, whatever their category
        )
        for name, category, settings in (
            ("clothes", "女装", ()),
            ("shoes", "女鞋", ("test_share=0.1",)),
        )
    )
    detector = [place / "bottom-up"] if isinstance(store, Extract) else []
    missing = place.missing(products, pictures_of(store), bert, *detector)
    source = Source(
        "women's shoes, pools of 30 pictures",
        shoes.folder,
        (shoes,),
        split="test",
        settings=("options.pool=30",),
        missing=missing,
        examples=200_000,
        pairs=4,
        tested=22_000 * 30,
        words=24,
        regions=17,
    )
    pairs = Pairs("women's clothes", (clothes,), examples=3_100_000, words=24, regions=17)
    start, init, about = f"new:paper+bert:{bert}", f"bert:{bert}", "the paper's model and recipe"
    return Shop(about, pairs, "paper", start, epochs=20, init=init, missing=missing), source


def _flickr(root: Path, place: Place) -> Build:
    """A.2: of 90 to 100 regions."""
    store = _regions(root, place, "flickr30k", least=90, most=100)
    return _corpus(place, store, ("min_regions=90", "max_regions=100"))


def _retrieval(flickr: Build) -> Source:
    return Source(
        "Flickr30K's test pictures",
        flickr.folder,
        (flickr,),
        split="test",
        examples=145_000,
        pairs=4,
        tested=5_000_000,
        regions=98,
    )


def _vqa(place: Place, coco: Step) -> Source:
    return Source(
        "VQA 2.0's validation questions (test-dev is scored by the challenge alone)",
        place / "vqa",
        (coco,),
        coco.folder,
        missing=place.missing(place / "vqa"),
        examples=444_000,
        tested=214_000,
        words=9,
        regions=60,
    )


def _vcr(root: Path, place: Place) -> Source:
    store = _regions(root, place, "vcr", most=100, images="vcr1images")
    return Source(
        "VCR's validation questions",
        place / "vcr",
        (store,),
        store.folder,
        missing=place.missing(place / "vcr" / "train.jsonl", pictures_of(store)),
        examples=426_000,
        pairs=4,
        tested=212_000,
        words=45,
        regions=60,
    )
