from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.vision import extraction
from interbert.vision.extraction import extract_images
from interbert.vision.extractor import Extractor, Picture
from interbert.vision.images import open_image
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.sources import ImageSource, image_sources
from interbert.vision.store import RegionStore


@dataclass(frozen=True)
class Corner(Extractor):
    """One region a picture; its three features are the colour of the upper left pixel. Reacts to some colours."""

    interrupted_by: tuple[int, int, int] | None = None
    killed_by: tuple[int, int, int] | None = None
    broken: bool = False

    @property
    def info(self) -> ExtractorInfo:
        return ExtractorInfo("corner", 3)

    def extract(self, images: Sequence[Picture]) -> list[Regions]:
        if self.broken:
            raise InterbertError("the weights are missing")
        return [self._extract(open_image(image)) for image in images]

    def _extract(self, image: Image.Image) -> Regions:
        colour = image.getpixel((0, 0))
        if colour == self.interrupted_by:
            raise KeyboardInterrupt
        if colour == self.killed_by:
            os.kill(os.getpid(), signal.SIGKILL)
        if colour == (255, 255, 255):
            raise ValueError("too bright")
        boxes, one = np.array([[0, 0, *image.size]], np.float32), np.ones(1, np.float32)
        return Regions(np.array([colour], np.float32), boxes, image.size, np.zeros(1, np.int64), one)


def pictures(folder: Path, count: int) -> list[ImageSource]:
    """Picture number i has the red value i on the left and 200 on the right."""
    folder.mkdir()
    for i in range(count):
        image = Image.new("RGB", (8, 4), (200, 0, 0))
        image.paste((i, 0, 0), (0, 0, 4, 4))
        image.save(folder / f"{i:03}.png")
    return image_sources(folder)


def reds(out: Path) -> list[float]:
    store = RegionStore(out)
    return [store[id].features[0, 0] for id in store]


def failures(out: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (out / "failures.jsonl").read_text("utf-8").splitlines()]


def test_pictures_are_stored_in_order_with_what_they_were_made_of(tmp_path: Path):
    sources = pictures(tmp_path / "in", 3)
    report = extract_images(sources, Corner(), tmp_path / "out", progress=False)
    assert (report.done, report.already_there, report.failed) == (3, 0, {})
    assert reds(tmp_path / "out") == [0, 1, 2]
    info = RegionStore(tmp_path / "out").info("002")
    assert info.source == str(sources[2].path)
    assert len(info.sha256) == 64


def test_what_is_there_is_skipped(tmp_path: Path):
    sources = pictures(tmp_path / "in", 4)
    extract_images(sources[:2], Corner(), tmp_path / "out", progress=False)
    report = extract_images(sources, Corner(), tmp_path / "out", progress=False)
    assert (report.done, report.already_there) == (2, 2)
    assert reds(tmp_path / "out") == [0, 1, 2, 3]


def test_broken_pictures_cost_themselves_and_are_listed(tmp_path: Path):
    sources = pictures(tmp_path / "in", 4)
    sources[0].path.write_bytes(b"no picture")
    sources[1].path.unlink()
    Image.new("RGB", (4, 4), "white").save(sources[2].path)
    report = extract_images(sources, Corner(), tmp_path / "out", progress=False)
    assert report.done == 1
    assert report.failed == {
        "000": "the picture is not a picture of a known format",
        "001": "the file cannot be read: No such file or directory",
        "002": "ValueError: too bright",
    }
    assert [row["id"] for row in failures(tmp_path / "out")] == ["000", "001", "002"]
    assert failures(tmp_path / "out")[0]["path"] == str(sources[0].path)


def test_names_that_are_not_text_and_pipes_are_no_trouble(tmp_path: Path):
    pictures(tmp_path / "in", 1)[0].path.rename(os.fsdecode(os.fsencode(tmp_path / "in") + b"/caf\xe9.png"))
    os.mkfifo(tmp_path / "in" / "pipe.png")
    report = extract_images(image_sources(tmp_path / "in"), Corner(), tmp_path / "out", progress=False)
    assert list(RegionStore(tmp_path / "out")) == ["caf\N{REPLACEMENT CHARACTER}"]
    assert report.failed == {"pipe": "it is not a file"}


def test_failures_of_other_pictures_stay_listed_and_mended_ones_go(tmp_path: Path):
    sources = pictures(tmp_path / "in", 3)
    for source in sources[:2]:
        source.path.write_bytes(b"no picture")
    extract_images(sources[:1], Corner(), tmp_path / "out", progress=False)
    extract_images(sources[1:], Corner(), tmp_path / "out", progress=False)
    assert [row["id"] for row in failures(tmp_path / "out")] == ["000", "001"]
    for source in sources[:2]:
        Image.new("RGB", (4, 4)).save(source.path)
    assert extract_images(sources, Corner(), tmp_path / "out", progress=False).done == 2
    assert not (tmp_path / "out" / "failures.jsonl").exists()


def test_ctrl_c_keeps_what_is_done(tmp_path: Path):
    sources = pictures(tmp_path / "in", 4)
    with pytest.raises(KeyboardInterrupt):
        extract_images(sources, Corner(interrupted_by=(2, 0, 0)), tmp_path / "out", progress=False)
    assert reds(tmp_path / "out") == [0, 1]
    assert extract_images(sources, Corner(), tmp_path / "out", progress=False).done == 2
    assert reds(tmp_path / "out") == [0, 1, 2, 3]


def test_what_is_done_is_committed_from_time_to_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(extraction, "COMMIT_PICTURES", 2)
    commits = []
    monkeypatch.setattr(extraction.RegionWriter, "commit", lambda writer: commits.append(len(writer)))
    extract_images(pictures(tmp_path / "in", 5), Corner(), tmp_path / "out", progress=False)
    assert commits[:2] == [2, 4]


def test_a_large_picture_which_is_decoded_again_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pictures(tmp_path / "in", 2)
    upright, exif = Image.new("RGB", (4, 8), "red"), Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    upright.save(tmp_path / "in" / "turned.png", exif=exif)
    sources = image_sources(tmp_path / "in")
    extract_images(sources, Corner(), tmp_path / "held", progress=False, mirrored=True)
    monkeypatch.setattr(extraction, "_HELD_PIXELS", 31)
    extract_images(sources, Corner(), tmp_path / "again", progress=False, mirrored=True)
    held, again = RegionStore(tmp_path / "held"), RegionStore(tmp_path / "again")
    assert list(held) == list(again)
    assert all((held[id].features == again[id].features).all() for id in held)
    assert again["turned"].image_size == held["turned"].image_size == (8, 4)
    assert [held.info(id) for id in held] == [again.info(id) for id in again]


def test_mirrored_pictures_are_stored_beside_theirs(tmp_path: Path):
    sources = pictures(tmp_path / "in", 2)
    extract_images(sources[:1], Corner(), tmp_path / "out", progress=False)
    report = extract_images(sources, Corner(), tmp_path / "out", progress=False, mirrored=True)
    assert list(RegionStore(tmp_path / "out")) == ["000", "000@mirrored", "001", "001@mirrored"]
    assert reds(tmp_path / "out") == [0, 200, 1, 200]
    assert report.done == 2


def test_an_extractor_that_cannot_work_stops_the_run(tmp_path: Path):
    with pytest.raises(InterbertError, match="weights are missing"):
        extract_images(pictures(tmp_path / "in", 2), Corner(broken=True), tmp_path / "out", progress=False)


def test_no_pictures_and_duplicate_ids_are_errors(tmp_path: Path):
    with pytest.raises(InterbertError, match="no pictures"):
        extract_images([], Corner(), tmp_path / "out")
    twice = [ImageSource("a", Path("x.jpg")), ImageSource("a", Path("y.jpg"))]
    with pytest.raises(InterbertError, match=r"'x\.jpg' and 'y\.jpg'"):
        extract_images(twice, Corner(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_workers_give_the_same_store_as_one_process(tmp_path: Path):
    sources = pictures(tmp_path / "in", 12)
    sources[7].path.write_bytes(b"no picture")
    alone = extract_images(sources, Corner(), tmp_path / "alone", workers=0, progress=False)
    together = extract_images(sources, Corner(), tmp_path / "together", workers=2, progress=False)
    assert alone == together
    assert list(RegionStore(tmp_path / "alone")) == list(RegionStore(tmp_path / "together"))
    for name in ("shard-000000.regions", "failures.jsonl", "extractor.json"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "together" / name).read_bytes(), name


def test_a_picture_that_kills_its_worker_costs_itself(tmp_path: Path):
    sources = pictures(tmp_path / "in", 3)
    report = extract_images(sources, Corner(killed_by=(2, 0, 0)), tmp_path / "out", workers=1, progress=False)
    assert list(report.failed) == ["002"]
    assert "killed" in report.failed["002"]
    assert reds(tmp_path / "out") == [0, 1]
