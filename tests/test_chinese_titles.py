"""Chinese titles made by rule, word by word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interbert.errors import InterbertError
from interbert.reproduce.chinese_titles import COLUMNS, chinese_title


def product(**changes: str) -> dict[str, str]:
    return {"gender": "Men", "colour": "Navy Blue", "usage": "Casual", "article_type": "Shirts"} | changes


def test_a_title_says_for_whom_which_colour_which_use_and_what() -> None:
    assert chinese_title(product()) == "男士藏青色休闲衬衫"
    assert chinese_title(product(gender="Girls", usage="Ethnic", article_type="Kurtas")) == "女童藏青色民族风库尔塔长衫"


def test_a_use_that_the_thing_says_already_is_not_said_twice() -> None:
    assert chinese_title(product(usage="Sports", article_type="Sports Shoes")) == "男士藏青色运动鞋"
    assert chinese_title(product(usage="Casual", article_type="Casual Shoes")) == "男士藏青色休闲鞋"


def test_a_colour_that_is_not_known_to_the_shop_is_left_out() -> None:
    assert chinese_title(product(colour="NA")) == "男士休闲衬衫"


def test_what_no_picture_shows_is_not_in_it() -> None:
    assert chinese_title(product(season="Summer", year="2011", title="Nike Men Shirt")) == chinese_title(product())


def test_a_word_without_a_chinese_one_is_named() -> None:
    with pytest.raises(InterbertError, match="column 'colour' has 'Octarine', for which there is no Chinese word"):
        chinese_title(product(colour="Octarine"))


def test_no_two_things_or_genders_have_one_word() -> None:
    for column in ("gender", "article_type"):
        assert len(set(COLUMNS[column].values())) == len(COLUMNS[column])


@pytest.mark.shared_data
def test_every_product_of_the_real_catalogue_has_a_title(shared: Path) -> None:
    lines = (shared / "data/fashion_en/products.jsonl").read_text(encoding="utf-8").splitlines()
    titles = [chinese_title(json.loads(line)) for line in lines]
    assert len(titles) == 3041
    assert all("\u4e00" <= character <= "\u9fff" or character == "T" for title in titles for character in title)
    assert max(map(len, titles)) <= 36
