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
from faults.append_forever import EXTRACTOR, picture
from faults.files import flip_bit, random_flips
from hypothesis import given, settings
from hypothesis import strategies as st
from store_helpers import CLASSED, filled, same

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.vision import shards
from interbert.vision.provenance import ExtractorInfo, ImageInfo
from interbert.vision.store import RegionStore, StoreCorrupt, UnknownId, describe, merge

FORKS = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the children touch no thread of ours


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


def test_what_is_read_cannot_be_changed_by_accident(tmp_path: Path) -> None:
    regions = RegionStore(filled(tmp_path / "s"))["picture 1"]
    with pytest.raises(ValueError, match="read-only"):
        regions.features[0] = 1


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


def test_a_store_of_a_newer_format_says_update(tmp_path: Path) -> None:
    folder = filled(tmp_path / "s")
    connection = sqlite3.connect(folder / "manifest.sqlite")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    for open_it in (RegionStore, lambda f: RegionStore.writer(f, EXTRACTOR)):
        with pytest.raises(InterbertError, match="format 2.*update"):
            open_it(folder)


def test_a_manifest_of_something_else_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "manifest.sqlite")
    connection.execute("CREATE TABLE records (number INTEGER)")
    connection.close()
    with pytest.raises(InterbertError, match="not the manifest of a region store"):
        RegionStore(tmp_path)
    (tmp_path / "manifest.sqlite").write_bytes(b"no database at all, but long enough to be read as one" * 40)
    with pytest.raises(StoreCorrupt, match="damaged"):
        RegionStore(tmp_path)


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


def test_every_damage_is_told_of_rows_and_of_shards(tmp_path: Path) -> None:
    folder = filled(tmp_path / "s", 6)
    with sqlite3.connect(folder / "manifest.sqlite") as manifest:
        manifest.execute("UPDATE records SET regions = 99 WHERE number IN (1, 3)")
    flip_bit(folder / "shard-000000.regions", (folder / "shard-000000.regions").stat().st_size - 70, 3)
    told = [str(damage) for damage in RegionStore(folder).damages()]
    assert ["the row (1" in told[0], "the row (3" in told[1], "picture 5" in told[2]] == [True] * 3
    assert len(told) == 3
