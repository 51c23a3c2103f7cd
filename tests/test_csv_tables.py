"""Rows of csv tables, and quotes that swallow them."""

from __future__ import annotations

from interbert.text.csv_tables import TableRow, csv_reader, table_rows


def rows_of(*lines: str, delimiter: str = ",") -> list[TableRow]:
    rows = csv_reader((line + "\n" for line in lines), delimiter)
    return list(table_rows(rows, next(rows)))


def test_a_row_knows_its_lines_and_blank_lines_are_none() -> None:
    found = rows_of("title,image", "a,1.jpg", "", '"b', 'c",2.jpg')
    assert [(row.place, row.cells) for row in found] == [
        ("line 2", ["a", "1.jpg"]),
        ("lines 4 to 5", ["b\nc", "2.jpg"]),
    ]


def test_all_lines_behind_a_quote_that_never_closes_are_broken() -> None:
    *good, broken = rows_of("title,image", "a,1.jpg", '"b,2.jpg', "c,3.jpg", "d,4.jpg")
    assert [row.cells for row in good] == [["a", "1.jpg"]]
    assert (broken.place, broken.lines, broken.broken) == ("lines 3 to 5", 3, "unexpected end of data")


def test_rows_inside_a_cell_are_found_and_prose_of_many_lines_is_none() -> None:
    rows = [f"t{number},{number}.jpg" for number in range(5)]
    (swallowed,) = rows_of("title,image", '"x', *rows, 'y",z.jpg')
    assert (swallowed.lines, swallowed.broken) == (7, "a quote closes lines after the row that it began in")
    (prose,) = rows_of("text,image", '"<p>', *["soft, warm, and light"] * 5, '</p>",z.jpg')
    assert not prose.broken


def test_a_row_of_other_columns_is_broken() -> None:
    (found,) = rows_of("title;image", "a;b;c", delimiter=";")
    assert found.broken == "got 3 columns, wanted 2: title, image"
