"""The writer of a region store: one at a time, whole pictures only, and a failure costs what was not committed."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import random
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults.append_forever import EXTRACTOR, append_forever, picture
from faults.files import failing
from store_helpers import CLASSED, filled, same

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.vision import writer
from interbert.vision.provenance import ExtractorInfo, ImageInfo
from interbert.vision.store import RegionStore, StoreCorrupt, describe

FORKS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the children touch no thread of ours


def test_a_feature_beyond_float16_is_refused_and_float32_advised(tmp_path: Path) -> None:
    large = replace(picture(0), features=np.full((1, 8), 65520, np.float32))
    with RegionStore.writer(tmp_path / "s", EXTRACTOR) as store, pytest.raises(InterbertError, match="float32"):
        store.append("a", large)
    assert len(RegionStore(tmp_path / "s")) == 0


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    wrong = picture(0)
    wrong.confidence[0] = np.nan
    with RegionStore.writer(tmp_path / "s", EXTRACTOR) as store, pytest.raises(InterbertError, match="confidence"):
        store.append("a", wrong)


def test_regions_of_another_shape_than_the_extractors_are_refused(tmp_path: Path) -> None:
    shares = np.ones((1, 3), np.float32)
    with RegionStore.writer(tmp_path / "s", CLASSED) as store:
        with pytest.raises(InterbertError, match="8 features, the extractor has 3"):
            store.append("a", picture(0))
        with pytest.raises(InterbertError, match="3 classes, the extractor has 2"):
            store.append("a", replace(picture(0), features=np.ones((1, 3), np.float32), probabilities=shares))


@pytest.mark.parametrize("id", ["", "a\0b", "half \ud83d"])
def test_an_id_that_cannot_come_back_is_refused(tmp_path: Path, id: str) -> None:
    with RegionStore.writer(tmp_path / "s", EXTRACTOR) as store, pytest.raises(InterbertError, match="id must be"):
        store.append(id, picture(0))
    assert id not in RegionStore(tmp_path / "s")


def test_an_id_is_given_once(tmp_path: Path) -> None:
    with RegionStore.writer(filled(tmp_path / "s"), EXTRACTOR) as store:
        store.append("new", picture(9))
        for id in ("picture 1", "new"):
            assert id in store
            with pytest.raises(InterbertError, match=f"'{id}' is in .* already"):
                store.append(id, picture(1))
    assert len(RegionStore(tmp_path / "s")) == 5


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    with RegionStore.writer(tmp_path / "s", EXTRACTOR):
        with pytest.raises(InterbertError, match=f"process {os.getpid()} is writing"):
            RegionStore.writer(tmp_path / "s", EXTRACTOR)
        assert describe(tmp_path / "s")["writer_process"] == os.getpid()
    assert describe(filled(tmp_path / "s"))["writer_process"] is None


@FORKS
def test_a_worker_that_outlives_its_writer_keeps_nobody_out(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    with RegionStore.writer(tmp_path / "s", EXTRACTOR) as store:
        store.append("a", picture(1))
        end, worker = context.Event(), context.Process(target=lambda: (end.wait(), store.close()))
        worker.start()
    with RegionStore.writer(tmp_path / "s", EXTRACTOR) as store:
        store.append("b", picture(2))
        end.set()
        worker.join()
        assert worker.exitcode == 0
    assert RegionStore(tmp_path / "s").verify() == 2


@pytest.mark.parametrize(("part", "wrong"), [("labels", [0, 2]), ("attributes", [-1, 0])])
def test_a_number_that_the_extractor_has_no_name_for_is_refused(tmp_path: Path, part: str, wrong: list[int]) -> None:
    info = ExtractorInfo("e", 3, ("cat", "dog"), attributes=("red",))
    ones = {"attributes": np.zeros(2, np.int64), "attribute_confidence": np.ones(2, np.float32)}
    boxes = np.array([[0, 0, 1, 1]] * 2, np.float32)
    regions = Regions(np.ones((2, 3)), boxes, (9, 9), np.zeros(2, np.int64), np.ones(2, np.float32), **ones)
    with RegionStore.writer(tmp_path / "s", info) as store:
        store.append("a", regions)
        with pytest.raises(InterbertError, match=f"got {part} outside"):
            store.append("b", dataclasses.replace(regions, **{part: np.array(wrong)}))


def test_a_picture_that_cannot_be_named_costs_itself_alone(tmp_path: Path) -> None:
    with RegionStore.writer(tmp_path / "s", EXTRACTOR) as store:
        store.append("a", picture(1))
        for info in (ImageInfo("half \ud83d", "", 0), ImageInfo("a.jpg", "", 1 << 64), ImageInfo("a.jpg", "", -1)):
            with pytest.raises(InterbertError, match="rename"):
                store.append("b", picture(2), info)
    assert list(RegionStore(tmp_path / "s")) == ["a"]


def test_an_error_in_the_block_keeps_what_was_appended(tmp_path: Path) -> None:
    def stopped() -> None:
        with RegionStore.writer(tmp_path / "s", EXTRACTOR) as store:
            store.append("a", picture(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(RegionStore(tmp_path / "s")) == ["a"]


def test_a_long_store_has_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SHARD_BYTES", 1000)
    for first in (0, 10):
        filled(tmp_path / "s", 10, first)
    store = RegionStore(tmp_path / "s")
    assert describe(tmp_path / "s")["shards"] == len(list((tmp_path / "s").glob("shard-*"))) > 3
    assert store.verify() == 20
    assert all(same(store[f"picture {n}"], picture(n)) for n in range(20))


@FORKS
def test_a_killed_writer_leaves_whole_pictures_only(tmp_path: Path) -> None:
    draws, context = random.Random(5), multiprocessing.get_context("fork")
    for _ in range(8):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=append_forever, args=(tmp_path / "s", theirs))
        process.start()
        for _ in range(draws.randrange(1, 4)):
            promised = ours.recv()
        threading.Event().wait(draws.random() / 100)  # somewhere inside an append or a commit
        process.kill()
        process.join()
        store = RegionStore(tmp_path / "s")
        assert len(store) >= promised
        assert store.verify() == len(store)
        assert all(same(store[id], picture(n)) for n, id in enumerate(store))


def test_the_next_writer_cuts_what_was_not_committed(tmp_path: Path) -> None:
    folder = filled(tmp_path / "s", 2)
    whole = (folder / "shard-000000.regions").read_bytes()
    (folder / "shard-000000.regions").write_bytes(whole + b"half a record")
    (folder / "shard-000001.regions").write_bytes(b"a shard that nobody committed")
    assert describe(folder)["bytes_not_committed"] > 0
    filled(folder, 1, first=2)
    assert (folder / "shard-000000.regions").read_bytes()[: len(whole)] == whole
    assert describe(folder)["bytes_not_committed"] == 0
    assert RegionStore(folder).verify() == 3


def test_a_writer_killed_before_it_had_begun_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "writer.lock").write_text("1\n")
    (tmp_path / "s" / "manifest.sqlite").touch()
    with pytest.raises(InterbertError, match="holds nothing yet"):
        RegionStore(tmp_path / "s")
    assert len(RegionStore(filled(tmp_path / "s"))) == 4


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_full_disk_costs_only_what_was_not_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    folder = filled(tmp_path / "s", 2)
    with failing(monkeypatch, call, after=1, half=call == "write"), pytest.raises(InterbertError, match="make room"):
        filled(folder, 3, first=2)
    left = RegionStore(folder).verify()
    assert 2 <= left < 5
    filled(folder, 2, first=20)
    assert RegionStore(folder).verify() == left + 2


def test_a_write_that_failed_leaves_room_for_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with RegionStore.writer(tmp_path / "s", EXTRACTOR) as store:
        store.append("a", picture(1))
        with failing(monkeypatch, "write", after=0, half=True), pytest.raises(InterbertError, match="No space left"):
            store.append("b", picture(2))
        store.append("b", picture(2))
    assert RegionStore(tmp_path / "s").verify() == 2


def test_after_a_failed_flush_the_writer_refuses_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RegionStore.writer(filled(tmp_path / "s", 2), EXTRACTOR)
    store.append("a", picture(1))
    with (
        failing(monkeypatch, "fsync", after=0),
        pytest.raises(InterbertError, match="its 2 committed pictures are safe"),
    ):
        store.commit()
    for go_on in (store.commit, lambda: store.append("b", picture(2))):
        with pytest.raises(InterbertError, match="failed before.*open it again"):
            go_on()
    store.close()
    assert list(RegionStore(filled(tmp_path / "s", 1, first=2))) == ["picture 0", "picture 1", "picture 2"]


def test_a_folder_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InterbertError, match="is not a region store"):
        RegionStore(tmp_path)
    with pytest.raises(InterbertError, match="not empty and not a region store"):
        RegionStore.writer(tmp_path, EXTRACTOR)
    with pytest.raises(InterbertError, match="cannot be a region store"):
        RegionStore.writer(tmp_path / "letter.txt", EXTRACTOR)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("change", "words"),
    [({"name": "other"}, "name"), ({"feature_size": 9}, "feature_size 8 and 9"), ({"settings": {"a": 1}}, "settings")],
)
def test_regions_of_two_extractors_never_mix(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(InterbertError, match=f"another extractor.*{words}"):
        RegionStore.writer(filled(tmp_path / "s"), replace(EXTRACTOR, **change))


def test_a_store_keeps_its_feature_type(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="float16 features, not float32"):
        RegionStore.writer(filled(tmp_path / "s"), EXTRACTOR, feature_type="float32")


def test_an_emptied_manifest_is_damage_and_its_shards_stay(tmp_path: Path) -> None:
    folder = filled(tmp_path / "s", 2)
    (folder / "manifest.sqlite").write_bytes(b"")
    with pytest.raises(StoreCorrupt, match=r"manifest.sqlite' is empty or gone, and .*shard-000000.regions' is there"):
        filled(folder, 1, first=2)
    assert (folder / "shard-000000.regions").stat().st_size > 0
