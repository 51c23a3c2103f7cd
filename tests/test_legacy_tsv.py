from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from legacy_writers import Picture, picture, row, write_tsv

from interbert.vision import legacy_tsv
from interbert.vision.legacy_records import Unusable
from interbert.vision.legacy_sources import Item, Place
from interbert.vision.legacy_tsv import BottomUpTsv


def items(path: Path, start: Place | None = None) -> list[Item]:
    return list(BottomUpTsv(path).items(start or Place()))


def two(tmp_path: Path, columns: int = 10) -> Path:
    return write_tsv(tmp_path / "a.tsv", [row(picture("first"), columns), row(picture("second", 5), columns)])


@pytest.mark.parametrize("columns", [6, 7, 10, 13])
def test_every_form_is_read(tmp_path: Path, columns: int) -> None:
    of: Picture = picture()
    (item,) = items(write_tsv(tmp_path / "a.tsv", [row(of, columns)]))
    found = item.read()
    assert (item.id, item.name, found.image_size) == ("84002", "line 1", (640, 480))
    np.testing.assert_array_equal(found.features, of.features)
    np.testing.assert_array_equal(found.boxes, of.boxes)
    assert (found.labels is not None) is (columns == 10)
    assert (found.probabilities is not None) is (columns in (7, 13))
    assert (found.attributes is not None) is (columns >= 10)


def test_places_lead_on_from_where_they_were_met(tmp_path: Path) -> None:
    path = two(tmp_path)
    first, second = items(path)
    assert second.after == Place(2, path.stat().st_size) == Place(2, first.size + second.size)
    assert [item.name for item in items(path, first.after)] == ["line 2"]
    assert items(path, second.after) == []


def test_a_line_that_was_cut_says_so(tmp_path: Path) -> None:
    path = two(tmp_path)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end, words in ((first + 40, "columns, wanted 6, 7, 10, 13: was the line cut"), (len(whole) - 9, "not base64")):
        path.write_bytes(whole[:end])
        cut = items(path)[1]
        assert cut.id == "second"
        with pytest.raises(Unusable, match=words):
            cut.read()


def test_empty_lines_are_nothing_and_a_last_line_needs_no_end(tmp_path: Path) -> None:
    path = two(tmp_path)
    path.write_bytes(b"\r\n" + path.read_bytes().rstrip())
    assert [(item.id, item.name) for item in items(path)] == [("first", "line 2"), ("second", "line 3")]
    assert len(items(path)[1].read().boxes) == 5


def test_another_file_is_unusable_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"\x00\xff\xfe" * 100 + b"\nname,size\n")
    for item in items(tmp_path / "a.tsv"):
        with pytest.raises(Unusable, match="1 columns"):
            item.read()


def test_an_endless_line_is_walked_over_and_what_follows_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legacy_tsv, "MAX_LINE_BYTES", 5000)
    path = two(tmp_path)
    path.write_bytes(b"x" * 12_345 + b"\n" + path.read_bytes())
    endless, first, _ = items(path)
    with pytest.raises(Unusable, match="has 12,346 bytes, wanted at most 5,000"):
        endless.read()
    assert (first.id, first.name) == ("first", "line 2")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    of = row(picture(count=36, features=2048), 10)
    path = tmp_path / "a.tsv"
    line = write_tsv(path, [of]).read_bytes()
    with open(path, "wb") as file:
        for _ in range(60_000_000 // len(line)):
            file.write(line)
    tracemalloc.start()
    for item in BottomUpTsv(path).items(Place()):
        item.read()
    assert item.after.offset == path.stat().st_size > 59_000_000
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
