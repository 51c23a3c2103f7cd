"""RegionStore: what comes back is what went in, and damage is seen."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import pickle
import random
import re
import sqlite3
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults.append_forever import EXTRACTOR, append_forever, picture
from faults.files import failing, flip_bit, random_flips
from hypothesis import given, settings
from hypothesis import strategies as st

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.vision import shards, writer
from interbert.vision.provenance import ExtractorInfo, ImageInfo
from interbert.vision.store import RegionStore, StoreCorrupt, UnknownId, describe, merge

FORKS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the children touch no thread of ours
CLASSED = ExtractorInfo("classed", 3, ("cat", "dog"), "ab" * 32, {"size": 448})


def filled(folder: Path, count: int = 4, first: int = 0) -> Path:
    """A store of `count` pictures named `picture 0`, `picture 1`, …"""
    with RegionStore.writer(folder, EXTRACTOR) as store:
        for number in range(first, first + count):
            info = ImageInfo(f"p/{number}.jpg", f"{number:064x}", (1 << 64) - 1 - number)
            store.append(f"picture {number}", picture(number), info)
    return folder


def same(ours: Regions, theirs: Regions) -> bool:
    """Equal in every field, after rounding to float16 where the store does so."""
    fields = [field.name for field in dataclasses.fields(Regions) if field.name != "image_size"]
    rounded = {"features": np.float16, "probabilities": np.float16}
    pairs = [(getattr(ours, name), getattr(theirs, name), rounded.get(name)) for name in fields]
    return ours.image_size == theirs.image_size and all(
        (a is None) == (b is None) and (a is None or np.array_equal(a, b.astype(kind or b.dtype)))
        for a, b, kind in pairs
    )


@st.composite
def some_regions(draw: st.DrawFn) -> Regions:
    count, seed = draw(st.integers(0, 5)), draw(st.integers(0, 2**32 - 1))
    generator = np.random.default_rng(seed)
    corners = generator.uniform(0, 50, (count, 4)).astype(np.float32)
    corners[:, 2:] += corners[:, :2] + 1
    shares = generator.random((count, 2), np.float32) if draw(st.booleans()) else None
    numbers = generator.normal(0, draw(st.sampled_from([1e-6, 1.0, 9e3])), (count, 3)).astype(np.float32)
    labels, confidence = generator.integers(0, 2, count), generator.random(count, np.float32)
    regions = Regions(numbers, corners, (draw(st.integers(1, 60000)), 7), labels, confidence, shares)
    if not draw(st.booleans()):
        return regions
    certain = generator.random(count, np.float32)
    return dataclasses.replace(regions, attributes=generator.integers(0, 9, count), attribute_confidence=certain)


ids = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=40)
infos = st.none() | st.builds(ImageInfo, ids, st.text("0123456789abcdef", max_size=64), st.integers(0, 2**64 - 1))


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(ids, st.tuples(some_regions(), infos), max_size=6))
def test_what_goes_in_comes_back(pictures: dict[str, tuple[Regions, ImageInfo | None]]) -> None:
    with tempfile.TemporaryDirectory() as base:
        with RegionStore.writer(Path(base, "s"), CLASSED) as appending:
            for id, (regions, info) in pictures.items():
                appending.append(id, regions, info)
        store = RegionStore(Path(base, "s"))
        assert list(store) == list(pictures)
        assert len(store) == store.verify() == len(pictures)
        assert store.counts().tolist() == [len(regions) for regions, _ in pictures.values()]
        for id, (regions, info) in pictures.items():
            assert same(store[id], regions)
            assert store.info(id) == info
            assert store.region_count(id) == len(regions)
        assert dict(store.fingerprints()) == {id: info for id, (_, info) in pictures.items() if info}


def test_features_are_float16_unless_float32_is_asked_for(tmp_path: Path) -> None:
    thirds = replace(picture(0), features=np.full((1, 8), 1 / 3, np.float32))
    for name, kind, wanted in (("half", None, np.float16(1 / 3)), ("full", "float32", np.float32(1 / 3))):
        with RegionStore.writer(tmp_path / name, EXTRACTOR, feature_type=kind) as store:
            store.append("a", thirds)
        got = RegionStore(tmp_path / name)["a"].features
        assert got.dtype == wanted.dtype
        assert (got == wanted).all()


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


def test_what_is_read_cannot_be_changed_by_accident(tmp_path: Path) -> None:
    regions = RegionStore(filled(tmp_path / "s"))["picture 1"]
    with pytest.raises(ValueError, match="read-only"):
        regions.features[0] = 1


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


def test_an_unknown_id_is_a_key_error_that_says_what_to_do(tmp_path: Path) -> None:
    store = RegionStore(filled(tmp_path / "s"))
    for ask in (store.__getitem__, store.info, store.region_count):
        with pytest.raises(KeyError, match="'nobody'.*extract"):
            ask("nobody")
    assert isinstance(UnknownId("x"), InterbertError)


def test_a_reader_sees_what_was_committed_when_it_opened(tmp_path: Path) -> None:
    with RegionStore.writer(filled(tmp_path / "s", 2), EXTRACTOR) as store:
        store.append("later", picture(7))
        early = RegionStore(tmp_path / "s")
        store.commit()
        assert "later" not in early
        assert list(early) == ["picture 0", "picture 1"]
        assert len(early.counts()) == len(list(early.fingerprints())) == early.verify() == 2
        assert len(RegionStore(tmp_path / "s")) == 3


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


@pytest.mark.parametrize("verify", ["first", "every"])
def test_every_flipped_bit_of_a_shard_is_seen(tmp_path: Path, verify: Any) -> None:
    shard = filled(tmp_path / "s") / "shard-000000.regions"
    for byte, bit in random_flips(shard, 400, seed=1):
        with RegionStore(tmp_path / "s", verify=verify) as store:
            with pytest.raises(StoreCorrupt) as caught:
                [store[id] for id in store]
            assert caught.value.shard == shard.name
            assert caught.value.offset <= byte, f"byte {byte}, bit {bit}"
            with pytest.raises(StoreCorrupt):
                store.verify()
    assert RegionStore(tmp_path / "s").verify() == 4


def test_a_flipped_bit_of_the_manifest_never_gives_wrong_regions(tmp_path: Path) -> None:
    folder = filled(tmp_path / "s")
    for byte, bit in random_flips(folder / "manifest.sqlite", 400, seed=2):
        try:
            with RegionStore(folder) as store:
                for number in range(4):
                    assert same(store[f"picture {number}"], picture(number)), f"byte {byte}, bit {bit}"
                    assert store.info(f"picture {number}") == ImageInfo(
                        f"p/{number}.jpg", f"{number:064x}", (1 << 64) - 1 - number
                    )
        except InterbertError:
            pass


def test_a_bit_that_flips_later_is_seen_at_every_read_and_by_verify(tmp_path: Path) -> None:
    folder = filled(tmp_path / "s")
    readers = {kind: RegionStore(folder, verify=kind) for kind in ("every", "first", "never")}
    for store in readers.values():
        assert len(store["picture 3"]) == 4
    flip_bit(folder / "shard-000000.regions", (folder / "shard-000000.regions").stat().st_size - 70, 3)
    assert len(readers["first"]["picture 3"]) == len(readers["never"]["picture 3"]) == 4
    for ask in (lambda: readers["every"]["picture 3"], readers["first"].verify, readers["never"].verify):
        with pytest.raises(StoreCorrupt, match="picture 3") as caught:
            ask()
        assert (caught.value.id, caught.value.shard) == ("picture 3", "shard-000000.regions")


def test_a_cut_shard_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    shard = filled(tmp_path / "s", 40) / "shard-000000.regions"
    opened = RegionStore(tmp_path / "s")
    assert len(opened["picture 1"]) == 2
    size = shard.stat().st_size
    for length in (size - 1, size // 2, 100, 0):
        os.truncate(shard, length)
        with pytest.raises(StoreCorrupt, match="cut"):
            opened["picture 39"]
        with pytest.raises(StoreCorrupt, match="cut"):
            RegionStore(tmp_path / "s")
        with pytest.raises(StoreCorrupt, match="cut"):
            RegionStore.writer(tmp_path / "s", EXTRACTOR)
    shard.unlink()
    with pytest.raises(StoreCorrupt, match="missing"):
        RegionStore(tmp_path / "s")


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


def test_a_store_of_a_newer_format_says_update(tmp_path: Path) -> None:
    folder = filled(tmp_path / "s")
    connection = sqlite3.connect(folder / "manifest.sqlite")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    for open_it in (RegionStore, lambda f: RegionStore.writer(f, EXTRACTOR)):
        with pytest.raises(InterbertError, match="format 2.*update"):
            open_it(folder)


def test_a_folder_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InterbertError, match="is not a region store"):
        RegionStore(tmp_path)
    with pytest.raises(InterbertError, match="not empty and not a region store"):
        RegionStore.writer(tmp_path, EXTRACTOR)
    with pytest.raises(InterbertError, match="cannot be a region store"):
        RegionStore.writer(tmp_path / "letter.txt", EXTRACTOR)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_a_manifest_of_something_else_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "manifest.sqlite")
    connection.execute("CREATE TABLE records (number INTEGER)")
    connection.close()
    with pytest.raises(InterbertError, match="not the manifest of a region store"):
        RegionStore(tmp_path)
    (tmp_path / "manifest.sqlite").write_bytes(b"no database at all, but long enough to be read as one" * 40)
    with pytest.raises(StoreCorrupt, match="damaged"):
        RegionStore(tmp_path)


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


def test_merging_gives_the_pictures_of_all_in_order(tmp_path: Path) -> None:
    first, second = filled(tmp_path / "a", 2), filled(tmp_path / "b", 3, first=2)
    assert merge([first, RegionStore(second)], tmp_path / "all") == 5
    filled(tmp_path / "at once", 5)
    for name in ("shard-000000.regions", "README.md", "extractor.json"):
        assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "at once" / name).read_bytes()
    store = RegionStore(tmp_path / "all")
    assert store.info("picture 4") == RegionStore(second).info("picture 4")
    assert store.verify() == 5


def test_merging_refuses_what_does_not_fit_and_leaves_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path / "a")
    with (
        RegionStore.writer(tmp_path / "other", replace(EXTRACTOR, name="other")),
        pytest.raises(InterbertError, match="do not mix.*name"),
    ):
        merge([store, tmp_path / "other"], tmp_path / "all")
    with pytest.raises(InterbertError, match="'picture 3'"):
        merge([store, filled(tmp_path / "b", 2, first=3)], tmp_path / "all")
    with pytest.raises(InterbertError, match="exists already"):
        merge([store], tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "other"]


def test_merging_refuses_damaged_records(tmp_path: Path) -> None:
    flip_bit(filled(tmp_path / "a") / "shard-000000.regions", 300, 0)
    with pytest.raises(StoreCorrupt):
        merge([tmp_path / "a"], tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_a_store_says_what_it_is(tmp_path: Path) -> None:
    facts = describe(filled(tmp_path / "s"))
    assert facts["pictures"] == 4
    assert facts["regions_per_picture"] == {"min": 1, "mean": 2.5, "max": 4}
    assert facts["bytes"] == (tmp_path / "s" / "shard-000000.regions").stat().st_size
    assert json.loads(json.dumps(facts))["extractor"]["name"] == "faults"
    text = (tmp_path / "s" / "README.md").read_text()
    assert re.search(r"format 1\n.*`faults`.*8 features \(float16\)", text, re.DOTALL)
    assert ExtractorInfo.load(tmp_path / "s" / "extractor.json") == RegionStore(tmp_path / "s").extractor == EXTRACTOR


@FORKS
def test_an_open_store_works_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    store, context = RegionStore(filled(tmp_path / "s")), multiprocessing.get_context("fork")
    assert store["picture 1"].features[0, 0] == 1
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=lambda: theirs.send([store[id].features[0, 0] for id in store]))
    child.start()
    assert ours.recv() == [store[id].features[0, 0] for id in store] == [0, 1, 2, 3]
    child.join()
    assert child.exitcode == 0


def test_a_pickled_store_sees_the_pictures_of_the_first(tmp_path: Path) -> None:
    store = RegionStore(filled(tmp_path / "s", 2), verify="every")
    filled(tmp_path / "s", 2, first=2)
    copy = pickle.loads(pickle.dumps(store))
    assert list(copy) == ["picture 0", "picture 1"]


def test_many_threads_read_while_one_process_writes(tmp_path: Path) -> None:
    store, wrong = RegionStore(filled(tmp_path / "s", 30)), []

    def read(seed: int) -> None:
        for number in random.Random(seed).choices(range(30), k=60):
            if not same(store[f"picture {number}"], picture(number)):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for first in range(30, 60, 3):
        filled(tmp_path / "s", 3, first)
    for thread in threads:
        thread.join()
    assert wrong == []
    assert RegionStore(tmp_path / "s").verify() == 60


def test_arrays_outlive_the_store_they_came_from(tmp_path: Path) -> None:
    with RegionStore(filled(tmp_path / "s")) as store:
        regions = store["picture 2"]
    del store
    assert same(regions, picture(2))


def test_the_checksum_is_the_crc32_of_zlib() -> None:
    assert shards.crc32(b"123456789") == 0xCBF43926
