"""The pictures of a catalogue as sources for extraction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from interbert.corpus.catalogue import Catalogue
from interbert.corpus.catalogue_pictures import picture_sources
from interbert.errors import InterbertError, UsageError
from interbert.vision.download import Downloader, DownloadError
from interbert.vision.sources import ImageSource

ADDRESS = "https://shop.example/a.jpg"


class Pretended(Downloader):
    """Has one picture."""

    def fetch(self, address: str) -> tuple[bytes, str]:
        if address != ADDRESS:
            raise DownloadError("the host says 404 Not Found")
        return b"picture", ".jpg"


def catalogue(folder: Path, *images: object) -> Catalogue:
    path = folder / "shop.jsonl"
    path.write_text("".join(json.dumps({"title": "裙", "image": image}) + "\n" for image in images), encoding="utf-8")
    return Catalogue(path)


def test_files_are_relative_to_the_catalogue_and_each_main_picture_comes_once(tmp_path: Path) -> None:
    sources, failed = picture_sources(catalogue(tmp_path, "i/a.jpg", ["i/b.jpg", "i/c.jpg"], "i/a.jpg", ""))
    assert sources == [ImageSource("i/a", tmp_path / "i/a.jpg"), ImageSource("i/b", tmp_path / "i/b.jpg")]
    assert failed == {}


def test_addresses_need_a_folder_to_be_fetched_into(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="1 pictures are addresses on the web, such as https://shop.example/a.jpg; give"
    ):
        picture_sources(catalogue(tmp_path, "i/a.jpg", ADDRESS))


def test_fetched_pictures_have_the_addresses_as_ids_and_failures_their_reason(tmp_path: Path) -> None:
    made = catalogue(tmp_path, ADDRESS, "https://shop.example/none.jpg")
    sources, failed = picture_sources(made, tmp_path / "pictures", Pretended())
    assert [source.id for source in sources] == ["shop.example/a.jpg"]
    assert sources[0].path.read_bytes() == b"picture"
    assert failed == {"https://shop.example/none.jpg": "the host says 404 Not Found"}


def test_a_catalogue_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no pictures"):
        picture_sources(catalogue(tmp_path, ""))


def test_two_pictures_that_differ_in_their_suffix_alone_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match=r"two pictures have the id 'i/1': '.*i/1.jpg' and '.*i/1.png'"):
        picture_sources(catalogue(tmp_path, "i/1.jpg", "i/1.png", "./i/1.jpg"))


def test_a_name_that_names_no_file_is_no_picture(tmp_path: Path) -> None:
    sources, _ = picture_sources(catalogue(tmp_path, "/", ".", "i/a.jpg"))
    assert [source.id for source in sources] == ["i/a"]
