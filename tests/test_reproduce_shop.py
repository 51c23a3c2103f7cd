"""The steps of Figure 3: titles made by rule, the sample as a shop, corpora of categories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from corpus_helpers import make_store

from interbert.corpus.corpus import Corpus
from interbert.reproduce.cells import steps_of
from interbert.reproduce.figure3 import SIZES, figure3
from interbert.reproduce.report import figures_of
from interbert.reproduce.reproduction import Wanted
from interbert.reproduce.scales import setting_of
from interbert.reproduce.shop import FINETUNING, PRETRAINING, BuildProducts, Drawn, Rendered
from interbert.reproduce.steps import Extract, Finetune, Pretrain, Stored
from interbert.text.tokenizer import SPECIAL


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def shoe(at: int, **changes: str) -> dict[str, Any]:
    row = {"id": str(at), "image": f"images/{at}.jpg", "title": "Black Shoes", "gender": "Men", "colour": "Black"}
    return row | {"usage": "Casual", "article_type": "Sandals", "master_category": "Footwear"} | changes


def test_a_catalogue_gets_titles_by_rule_and_keeps_its_own(tmp_path: Path) -> None:
    step = Rendered(name="shop", root=tmp_path, products=jsonl(tmp_path / "p.jsonl", shoe(1), shoe(2)))
    assert step.do(False) == {"products": 2, "titles": 1}
    first = json.loads((tmp_path / "shop" / "catalogue.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert (first["title"], first["title_en"]) == ("男士黑色休闲凉鞋", "Black Shoes")


def test_the_corpora_of_two_categories_share_no_picture(tmp_path: Path) -> None:
    clothes = {"article_type": "Shirts", "master_category": "Apparel"}
    products = jsonl(tmp_path / "p.jsonl", shoe(1), shoe(2, **clothes), shoe(3), shoe(4, **clothes))
    Rendered(name="shop", root=tmp_path, products=products).do(False)
    make_store(tmp_path / "store", {"1": 20, "2": 3, "3": 2, "4": 1})
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join([*SPECIAL, *"男士黑色休闲凉鞋衬衫"]), encoding="utf-8")
    ids = []
    for category in ("Footwear", "Apparel"):
        step = BuildProducts(
            name=category, root=tmp_path, captions=tmp_path / "shop" / "catalogue.jsonl", format="products",
            store=Stored(name="store", root=tmp_path, path=tmp_path / "store"), bert="", vocabulary=vocabulary,
            categories=(category,), products=("columns.category=master_category",), settings=("validation_share=0",),
        )  # fmt: skip
        assert step.do(False)["pictures"] == 2
        assert step.command()[-6:-4] == ["--category", category]
        corpus = Corpus(step.folder)
        assert corpus.description["segmenter"]["name"] == "rjieba"
        ids.append({corpus.image_id(at): corpus.region_count(at) for at in range(corpus.images)})
    assert ids == [{"1": 16, "3": 2}, {"2": 3, "4": 1}]


def test_the_sample_is_a_shop_of_two_parts_with_a_vocabulary(tmp_path: Path) -> None:
    rows = [
        {"id": str(at), "image": f"{at}.png", "title_zh": "鸟a" if at else "", "kind": f"kind {at // 2}"}
        for at in range(8)
    ]
    jsonl(tmp_path / "sample" / "catalogue.jsonl", *rows)
    step = Drawn(name="shop", root=tmp_path, sample=tmp_path / "sample")
    assert step.do(False) == {"products": 7, "characters": 2}
    lines = (step.folder / "catalogue.jsonl").read_text(encoding="utf-8").splitlines()
    parts = [json.loads(line)["category"] for line in lines]
    assert parts == [PRETRAINING, *[FINETUNING] * 4, *[PRETRAINING] * 2]
    assert (step.folder / "vocab.txt").read_text(encoding="utf-8").split()[-4:] == ["a", "鸟", "##a", "##鸟"]


def test_a_shop_that_is_not_there_is_missing_in_every_cell(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    exhibit = figure3(setting_of("small", tmp_path / "out", tmp_path / "data", 1))
    reasons = {one.missing for one in figures_of(exhibit, {}).values()}
    assert reasons == {"the data have no fashion_en/products.jsonl"}


@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
def test_every_size_takes_as_many_steps_and_a_share_of_the_data(scale: str) -> None:
    exhibit = figure3(setting_of(scale, Path("DIR"), None, 2))
    plans = [step.plan for step in steps_of(exhibit.cells) if isinstance(step, Finetune)]
    assert len(plans) == 2 * len(SIZES) * 2
    assert {plan.options.share for plan in plans} == {0.05, 0.5, 1.0}
    assert len({plan.epochs * plan.options.share for plan in plans}) == 1
    assert exhibit.published["InterBERT"] == {"10K, or 1/20": 12.0, "100K, or half": 2.7, "200K, or all": 0.9}


def test_the_papers_shop_has_the_regions_of_its_appendix() -> None:
    steps = steps_of(figure3(setting_of("paper", Path("DIR"), None, 1)).cells)
    (found,) = [step for step in steps if isinstance(step, Extract)]
    assert (found.max_regions, found.min_confidence) == (16, 0.1)


@pytest.mark.parametrize(
    ("init", "not_pretrained"),
    [("bert:folder", "new:small+bert:folder"), ("new-words:run", "new:small"), ("run", "new:small")],
)
def test_pretraining_begins_as_it_is_told_and_a_bert_is_in_both(init: str, not_pretrained: str) -> None:
    exhibit = figure3(Wanted("figure3", "small", Path("DIR"), init=init).setting())
    steps = steps_of(exhibit.cells)
    (pretrained,) = [step for step in steps if isinstance(step, Pretrain)]
    assert pretrained.command()[-2:] == ["--init", init]
    assert {step.start for step in steps if isinstance(step, Finetune)} == {pretrained, not_pretrained}
    assert f"Begun with {init}, pretrained on" in exhibit.here
