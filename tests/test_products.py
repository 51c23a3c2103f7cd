"""From a catalogue to captions: cleaning, categories, copies, limits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus_helpers import make_store, tiny_tokenizer

from interbert.batch import Regions
from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.catalogue import Catalogue
from interbert.corpus.corpus import Corpus
from interbert.corpus.products import ProductCaptions, ProductOptions, product_build_options
from interbert.corpus.report import CorpusReport
from interbert.errors import UsageError
from interbert.text.segmenting import load_segmenter
from interbert.text.spam import SpamFilter, WordList
from interbert.text.titles import TitleCleaner
from interbert.vision.store import RegionStore

CHARACTERS = tuple("红蓝裙鞋帽包男女新款运动夏季韩版")
ONE_REGION = BuildOptions(min_regions=1, validation_share=0)


def products(folder: Path, rows: Sequence[dict[str, Any]], **options: Any) -> ProductCaptions:
    path = folder / "shop.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    judge = SpamFilter(WordList({"色情": "pornography"}))
    cleaner = TitleCleaner("zh", segmenter=load_segmenter("rjieba"), spam=judge)
    return ProductCaptions(Catalogue(path), cleaner, ProductOptions(**options))


def row(at: int, title: str, **others: Any) -> dict[str, Any]:
    return {"id": f"p{at}", "image": f"{at}.jpg", "title": title, **others}


def read(captions: ProductCaptions) -> tuple[list[tuple[str, str]], CorpusReport]:
    """(picture, title) of what is left, and the report; nothing is lost between them."""
    kept = [(at.image, at.text) for at in captions]
    report = CorpusReport()
    report.captions["read"] = len(kept)
    captions.account(report)
    assert report.captions["read"] == len(kept) + sum(report.dropped.values())
    return kept, report


def test_titles_are_cleaned_and_every_dropped_product_has_a_reason(tmp_path: Path) -> None:
    rows = [row(0, "红裙★"), row(1, "Nike Air"), row(2, "色情图片"), row(3, " "), {"id": "p4", "title": "鞋"}]
    kept, report = read(products(tmp_path, rows))
    assert kept == [("0.jpg", "红裙")]
    assert report.captions["read"] == 5
    assert report.dropped == {
        "its title was dropped in cleaning": 2, "it has no title": 1, "it has no picture": 1,
    }  # fmt: skip
    steps = {step["name"]: (step["before"], step["dropped"]) for step in report.steps}
    assert steps["no Chinese character"] == (3, 1)
    assert steps["spam"] == (2, 1)
    assert any(line.startswith("  spam") and "pornography" in line for line in report.lines())


def test_columns_make_further_texts_of_a_picture(tmp_path: Path) -> None:
    rows = [
        row(0, "红裙", 颜色="红", category="女装"),
        row(1, "蓝鞋", 颜色="", category="色情"),
        row(2, "男帽", category="帽"),
    ]
    kept, report = read(products(tmp_path, rows, topics=("{颜色}色{category}", "{category}")))
    assert kept == [
        ("0.jpg", "红裙"),
        ("0.jpg", "红色女装"),
        ("0.jpg", "女装"),
        ("1.jpg", "蓝鞋"),
        ("2.jpg", "男帽"),
        ("2.jpg", "帽"),
    ]
    assert report.dropped == {"what its columns say was dropped in cleaning": 1}
    assert report.steps[0]["before"] == 7


def test_topics_name_known_columns_by_their_own_names_too_and_none_that_is_not_there(tmp_path: Path) -> None:
    rows = [row(0, "红裙", master_category="女装")]
    kept, _ = read(products(tmp_path, rows, topics=("{master_category}新款", "{category}")))
    assert kept == [("0.jpg", "红裙"), ("0.jpg", "女装新款"), ("0.jpg", "女装")]
    with pytest.raises(UsageError, match="no column 'colour'"):
        list(products(tmp_path, rows, topics=("{colour}",)))


def test_a_product_that_is_left_out_leaves_with_all_its_texts(tmp_path: Path) -> None:
    rows = [row(0, "红裙", 颜色="红"), row(1, "红裙", 颜色="蓝"), row(2, "Nike", 颜色="绿")]
    kept, _ = read(products(tmp_path, rows, topics=("{颜色}色",), per_title=1))
    assert kept == [("0.jpg", "红裙"), ("0.jpg", "红色")]


def test_two_categories_share_no_product_and_no_picture(tmp_path: Path) -> None:
    rows = [
        row(0, "红裙", category="女装"),
        row(1, "蓝鞋", category="女鞋"),
        row(0, "红裙配鞋", category="女鞋"),  # the first one again
        {"id": "p9", "image": "1.jpg", "title": "蓝鞋女", "category": "女装"},  # another product, the same picture
        row(2, "男帽", category="配饰"),
    ]
    clothes, _ = read(products(tmp_path, rows, categories=("女装",)))
    shoes, report = read(products(tmp_path, rows, categories=("女鞋",)))
    assert clothes == [("0.jpg", "红裙"), ("0.jpg", "红裙配鞋")]
    assert shoes == [("1.jpg", "蓝鞋"), ("1.jpg", "蓝鞋女")]
    assert report.notes["products of two categories, which belong to the first"] == 2


def test_a_category_that_no_product_has_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no category '女装裙'; did you mean '女装'"):
        read(products(tmp_path, [row(0, "红裙", category="女装")], categories=("女装裙",)))


def test_the_same_product_with_another_picture_is_kept_and_counted(tmp_path: Path) -> None:
    rows = [row(0, "红裙"), {"id": "p0", "image": "other.jpg", "title": "红裙"}, row(1, "鞋", image=["a.jpg", "b.jpg"])]
    kept, report = read(products(tmp_path, rows))
    assert [image for image, _ in kept] == ["0.jpg", "other.jpg", "a.jpg"]
    assert report.notes["products that come again with another picture, both kept"] == 1
    assert report.notes["further pictures of a product: only the main one is used"] == 1


def test_limits_count_in_the_catalogues_order(tmp_path: Path) -> None:
    rows = [row(at, title, seller=seller) for at, (title, seller) in enumerate(
        [("红裙", "甲"), ("红 裙!", "乙"), ("蓝鞋", "甲"), ("新款帽", "甲"), ("男包", ""), ("女包", "")]
    )]  # fmt: skip
    kept, report = read(products(tmp_path, rows, per_title=1, per_seller=2))
    assert [image for image, _ in kept] == ["0.jpg", "2.jpg", "4.jpg", "5.jpg"]
    assert report.dropped == {"1 earlier products have its title": 1, "its seller has 2 products already": 1}


def test_near_copies_are_dropped_where_it_is_asked_for(tmp_path: Path) -> None:
    title = "夏季新款韩版收腰显瘦雪纺连衣裙女中长款"
    rows = [row(0, title), row(1, "男士真皮运动鞋"), row(2, title + "裙")]
    assert len(read(products(tmp_path, rows))[0]) == 3
    kept, report = read(products(tmp_path, rows, alike=0.8))
    assert [image for image, _ in kept] == ["0.jpg", "1.jpg"]
    assert report.dropped == {"its title is nearly that of an earlier product": 1}


def test_a_catalogue_in_gb18030_is_said_so(tmp_path: Path) -> None:
    captions = products(tmp_path, [])
    captions.path.write_bytes('{"title": "红裙", "image": "a.jpg"}\n'.encode("gb18030"))
    kept, report = read(ProductCaptions(Catalogue(captions.path), captions.cleaner))
    assert kept == [("a.jpg", "红裙")]
    assert report.notes == {"products read as GB18030": 1}


def test_a_picture_at_an_address_is_found_under_the_id_it_was_extracted_as(tmp_path: Path) -> None:
    rows = [{"title": "红裙", "image": "https://h.example/a.jpg"}]
    assert read(products(tmp_path, rows))[0] == [("h.example/a.jpg", "红裙")]


def test_a_split_of_the_catalogue_is_kept_under_our_name_and_an_unknown_one_is_counted(tmp_path: Path) -> None:
    captions = products(tmp_path, [row(0, "红裙", split="dev"), row(1, "鞋", split="maybe"), row(2, "帽")])
    assert [(at.image, at.split) for at in captions] == [("0.jpg", "validation"), ("2.jpg", None)]
    assert read(captions)[1].dropped == {"its split is not known": 1}


def test_reading_again_gives_and_counts_the_same(tmp_path: Path) -> None:
    captions = products(tmp_path, [row(0, "红裙"), row(1, "Nike")])
    assert read(captions)[0] == read(captions)[0]
    assert read(captions)[1].dropped == {"its title was dropped in cleaning": 1}


def test_the_corpus_has_at_most_16_regions_of_a_confidence_over_a_tenth(tmp_path: Path) -> None:
    captions = products(tmp_path, [row(0, "红裙"), row(1, "蓝鞋"), row(2, "帽")])
    confidences = {"0": [0.9] * 20, "1": [0.9, 0.1000001, 0.1, 0.05], "2": [0.1]}
    with RegionStore.writer(tmp_path / "store", make_store(tmp_path / "any", {"x": 1}).extractor) as writer:
        for id, confidence in confidences.items():
            count = len(confidence)
            writer.append(id, Regions(
                np.zeros((count, 4), np.float16), np.tile(np.array([[0, 0, 5, 5]], np.float32), (count, 1)), (10, 10),
                np.zeros(count, np.int64), np.array(confidence, np.float32),
            ))  # fmt: skip
    options = product_build_options("zh")
    report = build_corpus(
        captions, RegionStore(tmp_path / "store"), tiny_tokenizer(CHARACTERS), tmp_path / "corpus", options,
        segmenter=captions.cleaner.segmenter,
    )  # fmt: skip
    corpus = Corpus(tmp_path / "corpus")
    assert {corpus.image_id(at): corpus.region_count(at) for at in range(corpus.images)} == {"0": 16, "1": 2}
    assert report.dropped == {"its picture has fewer than 1 regions of a confidence over 0.1": 1}
    assert corpus.description["segmenter"]["name"] == "rjieba"
    assert corpus.description["report"]["steps"][0]["before"] == 3


def test_the_corpus_knows_the_category_that_each_product_belongs_to(tmp_path: Path) -> None:
    rows = [row(0, "红裙", category="裙"), row(1, "蓝鞋", category="鞋"), row(2, "帽"), row(3, "男鞋", category="鞋")]
    store = make_store(tmp_path / "store", {"0": 2, "1": 2, "2": 2, "3": 2})
    build_corpus(products(tmp_path, rows), store, tiny_tokenizer(CHARACTERS), tmp_path / "corpus", ONE_REGION)
    corpus = Corpus(tmp_path / "corpus")
    names = [*corpus.category_names, ""]
    assert [names[at] for at in corpus.image_categories.tolist()] == ["裙", "鞋", "", "鞋"]


def test_a_corpus_of_a_catalogue_without_categories_has_none(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", {"0": 2})
    captions = products(tmp_path, [row(0, "红裙")])
    build_corpus(captions, store, tiny_tokenizer(CHARACTERS), tmp_path / "corpus", ONE_REGION)
    corpus = Corpus(tmp_path / "corpus")
    assert corpus.category_names == []
    assert corpus.image_categories.tolist() == [-1]
    assert not (tmp_path / "corpus" / "category.bin").exists()


def test_a_picture_of_two_categories_keeps_the_first_and_is_counted(tmp_path: Path) -> None:
    rows = [row(0, "红裙", category="裙"), row(0, "红裙新款", category="女装")]
    store = make_store(tmp_path / "store", {"0": 2})
    captions = products(tmp_path, rows)
    report = build_corpus(captions, store, tiny_tokenizer(CHARACTERS), tmp_path / "corpus", ONE_REGION)
    corpus = Corpus(tmp_path / "corpus")
    assert corpus.category_names[corpus.image_categories[0]] == "裙"
    assert report.notes["pictures of two categories, which keep the first"] == 1
