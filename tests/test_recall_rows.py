"""Rows of a catalogue: what their cells are, and which cannot be taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interbert.corpus.catalogue import Catalogue, Columns
from interbert.errors import UsageError
from interbert.recall.rows import Failure, ProductRows, write_failures

CSV = """sku,picture,name,价格,weight,code,colour
1,a.jpg,Red shoes,299,1.5,007,red
2,b.jpg|c.jpg,"Hat, blue",15,,12,
"""


def csv_rows(folder: Path, text: str = CSV) -> ProductRows:
    path = folder / "shop.csv"
    path.write_text(text, encoding="utf-8")
    return ProductRows(Catalogue(path), {})


def test_columns_hold_numbers_where_every_cell_is_one(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path)
    assert rows.kinds == {"price": "number", "weight": "number", "code": "text", "colour": "text"}  # 007 is a name
    first, second = rows
    assert (first.id, first.image, first.title) == ("1", "a.jpg", "Red shoes")
    assert first.cells == {"price": 299, "weight": 1.5, "code": "007", "colour": "red"}
    assert (second.image, second.cells) == ("b.jpg", {"price": 15, "code": "12"})


def test_prices_with_one_currency_are_numbers_and_the_currency_is_kept(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path, 'id,image,title,price\n1,a.jpg,x,"$1,299.00"\n2,b.jpg,y,$5\n3,c.jpg,z,\n')
    assert rows.kinds == {"price": "number", "currency": "text"}
    assert [row.cells for row in rows] == [{"price": 1299, "currency": "$"}, {"price": 5, "currency": "$"}, {}]


@pytest.mark.parametrize("other", ["€5", "ask us"])
def test_prices_of_several_currencies_or_none_stay_as_they_are(tmp_path: Path, other: str) -> None:
    rows = csv_rows(tmp_path, f"id,image,title,price\n1,a.jpg,x,$9\n2,b.jpg,y,{other}\n")
    assert rows.kinds == {"price": "text"}
    assert [row.cells["price"] for row in rows] == ["$9", other]


def test_the_rows_can_be_read_again(tmp_path: Path) -> None:
    rows = csv_rows(tmp_path)
    assert list(rows) == list(rows)


def test_what_the_index_holds_already_decides(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("id,image,title,size\n1,a.jpg,x,41\n2,b.jpg,y,L\n", encoding="utf-8")
    assert [row.cells for row in ProductRows(Catalogue(path), {"size": "text"})] == [{"size": "41"}, {"size": "L"}]
    rows = ProductRows(Catalogue(path), {"size": "number"})
    assert [row.cells for row in rows] == [{"size": 41}]
    assert rows.failures == [Failure("line 3", "2", "b.jpg", "column 'size' holds numbers; got 'L'")]


def test_json_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "shop.jsonl"
    entry = {"id": 7, "image": "a.jpg", "title": "x", "code": "12", "new": True, "tags": ["a", "b"], "stock": 3}
    path.write_text(json.dumps(entry), encoding="utf-8")
    rows = ProductRows(Catalogue(path), {})
    (row,) = rows
    assert row.id == "7"
    assert rows.kinds == {"code": "text", "new": "number", "tags": "text", "stock": "number"}
    assert row.cells == {"code": "12", "new": 1, "tags": '["a", "b"]', "stock": 3}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": "p", "title": "x", "image": "b.jpg"}', "its id is that of the product of line 1"),
        ('{"id": "q", "title": "x", "image": ""}', "it has no picture"),
        ('{"id": "q\\u0000", "title": "x", "image": "b.jpg"}', "without NUL"),
        ('{"id": "q", "title": "\\ud800", "image": "b.jpg"}', "its title has a NUL, or half of a character"),
        ('{"id": "%s", "title": "x", "image": "b.jpg"}' % ("q" * 501), "wanted 1 to 500 characters"),
        ('{"id": "q", "title": "x", "image": "b.jpg", "size": NaN}', "column 'size' holds numbers; got nan"),
    ],
)
def test_a_row_that_cannot_be_taken_has_a_reason(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "shop.jsonl"
    path.write_text('{"id": "p", "title": "x", "image": "a.jpg", "size": 1}\n' + line, encoding="utf-8")
    rows = ProductRows(Catalogue(path), {"size": "number"})
    assert [row.id for row in rows] == ["p"]
    (failure,) = rows.failures
    assert reason in failure.reason
    assert failure.place == "line 2"


def test_a_product_without_an_id_is_called_as_its_picture(tmp_path: Path) -> None:
    assert [row.id for row in csv_rows(tmp_path, "image,title\nfolder/a.jpg,x\n")] == ["folder/a"]


def test_a_column_that_is_called_title_and_is_not_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("id,image,name,title\n1,a.jpg,x,Dr.\n", encoding="utf-8")

    with pytest.raises(UsageError, match="its column 'title' is not the product's title"):
        ProductRows(Catalogue(path, Columns(title="name")), {})


def test_failures_are_lines_of_json_and_no_file_where_there_are_none(tmp_path: Path) -> None:
    path = tmp_path / "failures.jsonl"
    write_failures(path, [Failure("line 2", "q\n", "b.jpg", "no")])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"place": "line 2", "id": "q\n", "image": "b.jpg", "reason": "no"}
    ]
    write_failures(path, [])
    assert not path.exists()


def test_a_price_that_is_none_does_not_make_texts_of_all(tmp_path: Path) -> None:
    rows = ["id;title;image;price", "a;x;a.jpg;1.299", "b;x;b.jpg;VB", "c;x;c.jpg;999,50", "d;x;d.jpg;1.444,00 €"]
    (tmp_path / "shop.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = ProductRows(Catalogue(tmp_path / "shop.csv"), {})
    assert {row.id: row.cells["price"] for row in found} == {"a": 1299.0, "c": 999.5, "d": 1444.0}
    assert [(one.id, one.reason) for one in found.failures] == [("b", "column 'price' holds numbers; got 'VB'")]
