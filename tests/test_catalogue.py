"""Reading a shop's catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interbert.corpus.catalogue import Catalogue, Columns, Product, is_address, picture_id, titles_of
from interbert.errors import InterbertError, UsageError


def write(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def test_columns_are_found_by_their_usual_names_in_any_case(tmp_path: Path) -> None:
    path = write(tmp_path, "shop.csv", "商品ID,主图,商品标题,类目,品牌,店铺,Price\n7,a.jpg,雪纺裙,女装,Acme,小店,9.9\n")
    assert list(Catalogue(path)) == [Product("line 2", "7", ("a.jpg",), "雪纺裙", "女装", "Acme", "小店", "9.9")]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (
            "id,title,link,image link,price,brand,product type",
            "7,Dress,https://x.example,a.jpg,9.9,Acme,Women",
        ),  # Google
        ("Handle,Title,Vendor,Product Category,Image Src,Variant Price", "7,Dress,Acme,Women,a.jpg,9.9"),  # Shopify
        ("ID,Type,SKU,Name,Regular price,Categories,Images,Brands", "7,simple,s,Dress,9.9,Women,a.jpg,Acme"),  # Woo
    ],
)
def test_exports_of_shop_systems_are_understood(tmp_path: Path, header: str, row: str) -> None:
    (product,) = Catalogue(write(tmp_path, "shop.csv", f"{header}\n{row}\n"))
    assert (product.id, product.images, product.title) == ("7", ("a.jpg",), "Dress")
    assert (product.category, product.brand, product.price) == ("Women", "Acme", "9.9")


def test_the_main_picture_is_the_first(tmp_path: Path) -> None:
    path = write(tmp_path, "shop.csv", 'title,images\n裙,a.jpg|b.jpg\n鞋,"[""c.jpg"", ""d.jpg""]"\n帽,x.jpg; y.jpg\n')
    assert [product.images for product in Catalogue(path)] == [
        ("a.jpg", "b.jpg"),
        ("c.jpg", "d.jpg"),
        ("x.jpg", "y.jpg"),
    ]
    row = json.dumps({"title": "包", "image_urls": ["https://h.example/1.jpg_a,b.jpg", "https://h.example/2.jpg"]})
    assert next(iter(Catalogue(write(tmp_path, "shop.jsonl", row)))).images[0] == "https://h.example/1.jpg_a,b.jpg"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_make_no_difference(tmp_path: Path, encoding: str, end: str) -> None:
    text = "标题,图片" + end + "红色连衣裙,1.jpg\n" + "运动鞋,2.jpg\r\n" + "帽子,3.jpg" + end
    catalogue = Catalogue(write(tmp_path, "shop.csv", text, encoding))
    assert [(at.title, at.images) for at in catalogue] == [
        ("红色连衣裙", ("1.jpg",)), ("运动鞋", ("2.jpg",)), ("帽子", ("3.jpg",)),
    ]  # fmt: skip
    assert catalogue.encoding.name == encoding


def test_semicolons_and_tabs_divide_too_and_titles_may_hold_commas(tmp_path: Path) -> None:
    assert next(iter(Catalogue(write(tmp_path, "a.csv", "title;image\n裙,红;a.jpg\n")))).title == "裙,红"
    assert next(iter(Catalogue(write(tmp_path, "b.tsv", "title\timage\n裙,红\ta.jpg\n")))).title == "裙,红"


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "shop.csv", "编号,商品标题名,图片\n1,裙,a.jpg\n")
    with pytest.raises(
        UsageError, match=r"hold the title; there are 编号, 商品标题名, 图片\. Name it:  --set columns.title=商品标题名"
    ):
        list(Catalogue(path))
    assert next(iter(Catalogue(path, Columns(title="商品标题名")))).title == "裙"
    with pytest.raises(UsageError, match=r"columns\.title: there is no column '商品标题'; did you mean '商品标题名'"):
        list(Catalogue(path, Columns(title="商品标题")))


def test_all_other_cells_are_kept_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, "shop.jsonl", '{"title": "裙", "image": "a.jpg", "season": null, "sizes": [1, 2]}\n')
    assert next(iter(Catalogue(path))).others == {"season": None, "sizes": [1, 2]}


def test_a_row_that_cannot_be_read_is_counted_with_its_place(tmp_path: Path) -> None:
    rows = [f"裙{at},{at}.jpg" for at in range(200)]
    rows[100] += ",too much"
    catalogue = Catalogue(write(tmp_path, "shop.csv", "\n".join(["title,image", *rows])))
    assert len(list(catalogue)) == 199
    assert catalogue.malformed.examples == ["shop.csv, line 102: got 3 columns, wanted 2: title, image"]


def test_a_quote_that_swallows_lines_says_which(tmp_path: Path) -> None:
    rows = ["title,image", *[f"裙{at},{at}.jpg" for at in range(150)], '"裙,a.jpg', "鞋,b.jpg", '帽",c,jpg']
    rows += [f"包{at},{at}.jpg" for at in range(150)]
    catalogue = Catalogue(write(tmp_path, "shop.csv", "\n".join(rows)))
    assert len(list(catalogue)) == 300
    assert catalogue.malformed.examples[0].startswith("shop.csv, lines 152 to 154:")


def test_more_than_one_in_a_hundred_stops_the_reading(tmp_path: Path) -> None:
    path = write(tmp_path, "shop.jsonl", '{"title": "裙", "image": "a.jpg"}\nnot json\n[1]\n')
    with pytest.raises(InterbertError, match="2 of 3 entries cannot be read"):
        list(Catalogue(path))


def test_empty_cells_and_missing_keys_are_empty(tmp_path: Path) -> None:
    path = write(
        tmp_path, "shop.jsonl", '{"title": "裙", "image": "a.jpg"}\n\n{"title": null}\n{"image": ["", "b.jpg"]}\n'
    )
    assert [(at.place, at.title, at.images) for at in Catalogue(path)] == [
        ("line 1", "裙", ("a.jpg",)), ("line 3", "", ()), ("line 4", "", ("b.jpg",)),
    ]  # fmt: skip


def test_a_folder_is_its_one_file_or_pictures_with_their_titles(tmp_path: Path) -> None:
    (tmp_path / "shoes").mkdir()
    for name in ("shoes/a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    write(tmp_path / "shoes", "a.txt", "运动鞋\n", "gb18030")
    assert [(at.id, at.title.strip(), at.category) for at in Catalogue(tmp_path)] == [
        ("b", "", ""), ("shoes/a", "运动鞋", "shoes"),
    ]  # fmt: skip
    write(tmp_path, "list.csv", "title,image\n裙,b.jpg\n")
    assert [at.title for at in Catalogue(tmp_path)] == ["裙"]
    write(tmp_path, "more.csv", "title,image\n")
    with pytest.raises(UsageError, match=r"several files: list\.csv, more\.csv"):
        Catalogue(tmp_path)


def test_what_is_no_catalogue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        Catalogue(tmp_path / "none.csv")
    with pytest.raises(UsageError, match=r"got a \.xlsx file, wanted \.csv"):
        Catalogue(write(tmp_path, "shop.xlsx", ""))
    with pytest.raises(UsageError, match="hold the (title|image); there are none"):
        list(Catalogue(write(tmp_path, "empty.csv", "")))


def test_a_title_of_many_characters_is_read_whole(tmp_path: Path) -> None:
    assert (
        len(next(iter(Catalogue(write(tmp_path, "a.csv", f"title,image\n{'裙' * 200_000},a.jpg\n")))).title) == 200_000
    )


def test_addresses_have_ids_without_their_scheme() -> None:
    assert is_address("HTTPS://h.example/a")
    assert not is_address("http/a.jpg")
    assert picture_id("https://h.example/i/a.jpg?v=1#top") == "h.example/i/a.jpg?v=1"
    assert picture_id("images/10.5.jpg") == "images/10.5"


def test_titles_come_from_a_catalogue_without_pictures_or_from_lines(tmp_path: Path) -> None:
    assert titles_of(write(tmp_path, "a.jsonl", '{"title": "裙"}\n{"title": ""}\n')) == ["裙"]
    assert titles_of(write(tmp_path, "a.txt", "连衣裙\r\n\r\n 运动鞋 \r\n", "gb18030")) == ["连衣裙", "运动鞋"]


def test_a_column_to_keep_stays_beside_what_it_holds_and_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    path = write(tmp_path, "shop.csv", "title,image,master_category,colour\n裙,a.jpg,女装,红\n")
    (product,) = Catalogue(path, kept=("master_category", "category"))
    assert (product.category, product.others) == ("女装", {"master_category": "女装", "colour": "红"})
    with pytest.raises(UsageError, match="no column 'color'; did you mean 'colour'"):
        list(Catalogue(path, kept=("color",)))
    with pytest.raises(UsageError, match="no column 'brand'"):
        list(Catalogue(tmp_path / "pictures", kept=("brand",)))


def test_half_a_character_in_a_title_can_be_shown(tmp_path: Path) -> None:
    (tmp_path / "shop.jsonl").write_text('{"title": "dress \\ud83d", "image": "a.jpg"}\n')
    assert titles_of(tmp_path / "shop.jsonl") == ["dress \ufffd"]


def test_products_that_a_quote_swallowed_are_counted_as_many_as_they_are(tmp_path: Path) -> None:
    rows = [f"dress {at},{at}.jpg" for at in range(200)]
    rows[100:120] = [f'"{rows[100]}', *rows[101:119], 'the end",119.jpg']
    with pytest.raises(InterbertError, match=r"20 of 200 entries cannot be read.*\n.*lines 102 to 121: a quote closes"):
        list(Catalogue(write(tmp_path, "shop.csv", "\n".join(["title,image", *rows]))))


def test_a_json_array_in_place_of_lines_says_what_is_wrong(tmp_path: Path) -> None:
    path = write(tmp_path, "shop.jsonl", '[{"title": "dress", "image": "a.jpg"}]\n')
    with pytest.raises(InterbertError, match=r"1 of 1 entries cannot be read(.|\n)*wanted an object"):
        list(Catalogue(path))
