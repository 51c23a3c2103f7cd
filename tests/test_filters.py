"""Filters: what parses, what it means, and where an error points. SQLite itself is the judge of what is selected."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interbert.errors import UsageError
from interbert.recall.filters import Column, Compare, Every, In, Not, parse, to_sql

KINDS = {"category": "text", "price": "number", "old price": "number", "价格": "number", "title": "text"}
PLACES = {"category": "c0", "price": "c1", "old price": "c2", "价格": "c3", "title": "title"}
ROWS = [  # id, category, price, old price, 价格, title
    (1, "shoes", 100, 200, 5, "Red Shoes"),
    (2, "shoes", 300, 250, None, "blue shoes"),
    (3, "hats", 50.5, None, 7, "it's a hat"),
    (4, None, 20, 20, 1, "100% wool"),
]


@pytest.fixture(scope="module")
def table() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute("CREATE TABLE p (id, c0, c1, c2, c3, title)")
    connection.executemany("INSERT INTO p VALUES (?, ?, ?, ?, ?, ?)", ROWS)
    return connection


def selected(table: sqlite3.Connection, text: str) -> list[int]:
    condition, values = to_sql(parse(text, KINDS), PLACES)
    return [row[0] for row in table.execute(f"SELECT id FROM p WHERE {condition} ORDER BY id", values)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("category = 'shoes' and price < 300", [1]),
        ("category = 'shoes' AND (price < 150 OR price >= 300)", [1, 2]),
        ("category = 'hats' or category = 'shoes' and price > 200", [2, 3]),  # and binds first
        ("not category = 'shoes'", [3]),  # what is null is neither
        ("category != 'shoes'", [3]),
        ("category is null", [4]),
        ("category is not null and not (price > 60)", [3]),
        ("category in ('hats', 'coats')", [3]),
        ("price not in (100, 20)", [2, 3]),
        ("title like '%shoes'", [1, 2]),  # capitals or not
        ("title not like '%s%'", [4]),
        ("title = 'it''s a hat'", [3]),
        ('"old price" > price', [1]),
        ("价格 <= 5", [1, 4]),
        ("price = 50.5 or price == 2e1", [3, 4]),
        ("not not price < 30", [4]),
    ],
)
def test_a_filter_selects_what_it_says(table: sqlite3.Connection, text: str, wanted: list[int]) -> None:
    assert selected(table, text) == wanted


def test_a_filter_is_parsed_into_parts() -> None:
    found = parse("not category in ('a') and price <> 3", KINDS)
    assert found == Every((Not(In(Column("category"), ("a",))), Compare(Column("price"), "<>", 3)))


def test_no_value_stands_in_the_sql() -> None:
    condition, values = to_sql(parse("title = '''; drop table p --' and price < 7", KINDS), PLACES, mark="%s")
    assert condition == "(title = %s AND c1 < %s)"
    assert values == ["'; drop table p --", 7]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "filter, its end: wanted a column's name"),
        ("prise < 3", "character 1, at \"prise < 3\": there is no column 'prise'; did you mean 'price'?"),
        ("price < 3 and catgory = 'a'", "character 15, at \"catgory = 'a'\": there is no column 'catgory'"),
        ("price < 'cheap'", "character 9, at \"'cheap'\": column 'price' holds numbers; got 'cheap', wanted a number"),
        ("category = 3", "column 'category' holds texts; got 3, wanted a text: '3'"),
        ("category = shoes", "a text stands in quotes: 'shoes'"),
        ("price = null", "write  is null"),
        ("price < 3 category", 'character 11, at "category": wanted and, or, or the end'),
        ("(price < 3", "its end: wanted ')'"),
        ("price", "its end: wanted = != <"),
        ("category = 'shoes", 'character 12, at "\'shoes": this quote does not close'),
        ("price < 3; drop table p", 'character 10, at "; drop table p": this is no part of a filter'),
        ("price like '%3'", "'price' holds numbers, which have no like"),
        ("price < title", "hold different things"),
        ("price in ()", "wanted a number, or a text in ' '"),
        ("price < 1e999", "between -2^63 and 2^63"),
        ("3 < price", "wanted a column's name"),
        ("(" * 60 + "price < 3" + ")" * 60, "more than 20 brackets"),
        ("not " * 60 + "price < 3", "more than 20 brackets"),
        (f"price < {'9' * 5000}", "a number has at most 40 digits"),
        (" and ".join(["price < 3"] * 201), "more than 200 comparisons"),
        ("price < 3 or " * 2000, "wanted at most 10,000"),
    ],
)
def test_an_error_points_at_its_place(text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text, KINDS)
    assert said in str(raised.value)


@given(st.text(alphabet="price tle'\"()<>=andornotilk%_,0123.e-+;价格\0\ud800", max_size=60))
def test_whatever_is_written_is_a_filter_or_one_clear_error(text: str) -> None:
    try:
        found = parse(text, KINDS)
    except UsageError:
        return
    condition, values = to_sql(found, PLACES)
    assert condition.count("?") == len(values)
