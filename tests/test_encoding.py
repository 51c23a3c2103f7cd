"""The encoding of a text file."""

from __future__ import annotations

from pathlib import Path

import pytest

from interbert.text.encoding import Encoding, decoded, encoding_of

TEXT = "编号,标题\r\n1,雪纺连衣裙\n2,SK-II 神仙水\r\n"


@pytest.mark.parametrize(
    ("codec", "found"),
    [("utf-8", "utf-8"), ("utf-8-sig", "utf-8-sig"), ("gb18030", "gb18030"), ("gbk", "gb18030"), ("utf-16", "utf-16")],
)
def test_a_catalogue_reads_the_same_in_every_encoding(tmp_path: Path, codec: str, found: str) -> None:
    (tmp_path / "shop.csv").write_bytes(TEXT.encode(codec))
    encoding = encoding_of(tmp_path / "shop.csv")
    assert encoding == Encoding(found)
    with decoded(tmp_path / "shop.csv", encoding) as file:
        assert file.read() == TEXT


def test_the_first_chinese_title_may_come_late(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_bytes(b"id,title\n" * 50_000 + "1,雪纺连衣裙".encode("gb18030"))
    assert encoding_of(tmp_path / "shop.csv").name == "gb18030"


def test_a_broken_line_does_not_change_the_encoding_and_is_counted(tmp_path: Path) -> None:
    lines = ["裙".encode(), b"ok", b"\xff\xfe\xff", "鞋".encode(), "帽".encode()]
    (tmp_path / "shop.csv").write_bytes(b"\n".join(lines))
    assert encoding_of(tmp_path / "shop.csv") == Encoding("utf-8", 1, 3)
    with decoded(tmp_path / "shop.csv", Encoding("utf-8", 1, 3)) as file:
        assert file.read().splitlines()[0::3] == ["裙", "鞋"]


def test_one_broken_byte_does_not_make_chinese_of_french_titles(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_bytes("Décor édition\n".encode() * 100 + b"\xe9m\n")
    assert encoding_of(tmp_path / "shop.csv") == Encoding("utf-8", 1, 101)


def test_a_western_excels_umlauts_do_not_become_chinese(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_bytes("title\nKleid für Mädchen in Größe XL\nSchürze grün\n".encode("cp1252"))
    assert encoding_of(tmp_path / "shop.csv") == Encoding("cp1252")
