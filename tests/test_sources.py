from __future__ import annotations

from pathlib import Path

import pytest

from interbert.errors import InterbertError
from interbert.vision.sources import image_sources


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_a_folder_gives_its_pictures_in_order_with_ids_without_suffix(tmp_path: Path):
    folder = touched(tmp_path, "b.jpg", "a.PNG", "dogs/big.one.webp", "notes.txt", ".hidden.jpg", ".cache/c.jpg")
    sources = image_sources(folder)
    assert [source.id for source in sources] == ["a", "b", "dogs/big.one"]
    assert sources[2].path == folder / "dogs" / "big.one.webp"


def test_a_list_has_a_path_a_line(tmp_path: Path):
    (tmp_path / "list.txt").write_text("x/one.jpg\n\n  two.png\n", "utf-8")
    assert [(s.id, s.path) for s in image_sources(tmp_path / "list.txt")] == [
        ("x/one", tmp_path / "x" / "one.jpg"),
        ("two", tmp_path / "two.png"),
    ]


def test_a_csv_catalogue_has_image_and_perhaps_id(tmp_path: Path):
    (tmp_path / "shop.csv").write_text("id,title,image\n17,红鞋,a.jpg\n,,b.jpg\n", "utf-8")
    assert [source.id for source in image_sources(tmp_path / "shop.csv")] == ["17", "b"]


def test_a_jsonl_catalogue_has_image_and_perhaps_id(tmp_path: Path):
    (tmp_path / "shop.jsonl").write_text(
        '{"id": 17, "image": "a.jpg"}\n{"image": "b.jpg", "title": "a\u2028b"}\n', "utf-8"
    )
    assert [source.id for source in image_sources(tmp_path / "shop.jsonl")] == ["17", "b"]


def test_one_picture_is_a_source(tmp_path: Path):
    touched(tmp_path, "dogs.jpg")
    assert [source.id for source in image_sources(tmp_path / "dogs.jpg")] == ["dogs"]


def test_a_file_with_a_line_for_each_caption_names_a_picture_often(tmp_path: Path):
    rows = "".join(f'{{"image": "{name}.jpg", "caption": "{text}"}}\n' for name, text in ("ax", "ay", "bz"))
    (tmp_path / "captions.jsonl").write_text(rows, "utf-8")
    assert [source.id for source in image_sources(tmp_path / "captions.jsonl")] == ["a", "b"]


def test_two_pictures_with_one_id_are_both_named(tmp_path: Path):
    touched(tmp_path, "a.jpg", "a.png")
    with pytest.raises(InterbertError, match=r"id 'a': '.*a\.jpg' and '.*a\.png'"):
        image_sources(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("shop.csv", "title\nshoe\n", "line 2: there is no 'image'"),
        ("shop.jsonl", '{"image": "a.jpg"}\n{"image": ', "cannot be read"),
        ("shop.jsonl", '{"image": "a.jpg"}\n[1]\n', "line 2: there is no 'image'"),
        ("list.txt", "", "has no paths of pictures"),
        ("list.xml", "<a/>", "no folder"),
    ],
)
def test_a_bad_list_says_what_is_wrong(tmp_path: Path, name: str, content: str, sentence: str):
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(InterbertError, match=sentence):
        image_sources(tmp_path / name)


def test_a_missing_folder_and_one_without_pictures_are_errors(tmp_path: Path):
    with pytest.raises(InterbertError, match="does not exist"):
        image_sources(tmp_path / "nowhere")
    with pytest.raises(InterbertError, match="has no pictures"):
        image_sources(tmp_path)


def test_a_csv_whose_quote_does_not_close_is_refused_at_its_lines(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text('image,title\na.jpg,dress\nb.jpg,"shoe\nc.jpg,hat\n')
    with pytest.raises(InterbertError, match="lines 3 to 4: unexpected end of data; mend it"):
        image_sources(tmp_path / "list.csv")


def test_an_id_may_be_nought_and_half_a_character_is_stored_as_unreadable(tmp_path: Path) -> None:
    (tmp_path / "list.jsonl").write_text('{"image": "a.jpg", "id": 0}\n{"image": "b.jpg", "id": "b\\ud83d"}\n')
    assert [source.id for source in image_sources(tmp_path / "list.jsonl")] == ["0", "b\ufffd"]


def test_files_without_a_pictures_suffix_are_counted_by_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.jpg", "b.jfif", "c.heic", "d.HEIC", "e", "titles.csv", ".hidden.xyz"):
        (tmp_path / name).touch()
    assert [source.id for source in image_sources(tmp_path)] == ["a", "b"]
    assert "3 files were not looked at (.heic 2, without a suffix 1)" in caplog.text


def test_what_is_no_pictures_suffix_stays_in_the_id(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("image;note\nb/v1.5 red.jpg;x\nb/v1.5 blue;y\n")
    assert [source.id for source in image_sources(tmp_path / "list.csv")] == ["b/v1.5 red", "b/v1.5 blue"]
