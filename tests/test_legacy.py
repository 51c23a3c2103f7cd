"""Imports as a whole: what is stored, what is skipped, how a stopped one goes on, and the ten real pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from legacy_writers import (
    Picture,
    base64_of,
    picture,
    row,
    write_bua_npz,
    write_mmf_lmdb,
    write_mmf_npy,
    write_tensorpack_lmdb,
    write_tsv,
    write_uniter_lmdb,
    write_uniter_npz,
    write_vilbert_lmdb,
)
from PIL import Image
from pretraining_helpers import few_steps, random_tokenizer

from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.corpus import Corpus
from interbert.corpus.readers import Caption
from interbert.errors import InterbertError, UsageError
from interbert.model.interbert import InterBert
from interbert.pretraining.job import PretrainingJob
from interbert.pretraining.run import fitted
from interbert.pretraining.stages import Masking, Stage
from interbert.vision import legacy
from interbert.vision.legacy import FORMATS, ImportOptions, ImportReport, import_features
from interbert.vision.legacy_records import Naming, names_of
from interbert.vision.lmdb_file import LmdbFile
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore

OBJECTS, ATTRIBUTES = ("yolk", "goal", "dog", "cat", "road"), ("gray", "red", "blue", "tall")
NAMED = ImportOptions(Naming(OBJECTS, ATTRIBUTES))


def tsv(folder: Path, *ids: str, **changes: dict[str, Any]) -> Path:
    """A TSV of 10 columns. changes: by id, what is other than it should be."""
    rows = [{**row(picture(id), 10), **changes.get(id, {})} for id in ids]
    return write_tsv(folder / "features.tsv", rows)


def bring(path: Path, out: Path, options: ImportOptions = NAMED, format: str = "bottom-up-tsv") -> ImportReport:
    return import_features(path, format, out, options)


def ids(out: Path) -> list[str]:
    return list(RegionStore(out))


def failures(out: Path) -> list[dict[str, Any]]:
    path = out / "failures.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def test_regions_are_stored_with_their_words(tmp_path: Path) -> None:
    report = bring(tsv(tmp_path, "a", "b"), tmp_path / "out")
    assert (report.done, report.already_there, report.skipped) == (2, 0, 0)
    store = RegionStore(tmp_path / "out")
    regions = store["b"]
    assert regions.image_size == (640, 480)
    assert regions.features.dtype == np.float16
    assert [store.extractor.classes[label] for label in regions.labels] == ["yolk", "goal", "dog"]
    assert regions.attributes is not None
    assert [store.extractor.attributes[number] for number in regions.attributes] == ["tall", "blue", "red"]
    assert store.extractor == ExtractorInfo("imported:bottom-up-tsv", 8, OBJECTS, attributes=ATTRIBUTES)


WRITERS: dict[str, Callable[[Path, Sequence[Picture]], Path]] = {
    "bottom-up-tsv": lambda path, pictures: write_tsv(path, [row(of, 13) for of in pictures]),
    "uniter-npz": write_uniter_npz,
    "uniter-lmdb": write_uniter_lmdb,
    "vilbert-lmdb": write_vilbert_lmdb,
    "tensorpack-lmdb": write_tensorpack_lmdb,
    "mmf-npy": write_mmf_npy,
    "mmf-lmdb": write_mmf_lmdb,
    "bua-npz": write_bua_npz,
}


@pytest.mark.parametrize("format", FORMATS)
def test_a_second_start_goes_on_in_every_format(tmp_path: Path, format: str) -> None:
    if format.endswith("lmdb"):
        pytest.importorskip("lmdb")
    source = WRITERS[format](tmp_path / "source", [picture(f"{number}") for number in range(5)])
    first = bring(source, tmp_path / "out", NAMED, format)
    second = bring(source, tmp_path / "out", NAMED, format)
    assert (first.done, first.already_there) == (5, 0)
    assert (second.done, second.already_there, second.skipped) == (0, 5, 0)
    store = RegionStore(tmp_path / "out")
    for id in store:
        assert [store.extractor.classes[label] for label in store[id].labels] == ["yolk", "goal", "dog"]
        np.testing.assert_allclose(store[id].features[:, 0], [0.5, 1.5, 2.5])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"boxes": "not base64!"}, "boxes: not base64"),
        ({"features": base64_of(np.full((3, 8), np.nan, np.float32))}, "features: a number that is not finite"),
        ({"features": base64_of(np.zeros((3, 4), np.float32))}, "4 features a region, the others have 8"),
        ({"num_boxes": 0}, "it has no boxes"),
        ({"num_boxes": 4}, "do not fit 4 boxes"),
        ({"img_w": 200, "img_h": 100}, "box 0 is 10.0, 20.0 to 110.0, 220.0 in a picture of 200 x 100"),
        ({"img_id": "a"}, "its id was there before in the same file"),
        ({"img_id": ""}, "its id '' cannot be kept"),
    ],
)
def test_what_cannot_be_used_is_skipped_with_its_line_and_its_reason(
    tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    report = bring(tsv(tmp_path, "a", "bad", "c", bad=wrong), tmp_path / "out")
    assert (report.done, report.skipped) == (2, 1)
    assert ids(tmp_path / "out") == ["a", "c"]
    (failure,) = failures(tmp_path / "out")
    assert (failure["place"], failure["line"], failure["path"]) == ("line 2", 2, str(tmp_path / "features.tsv"))
    assert words in failure["reason"]
    assert report.examples == [f"line 2 ('{failure['id']}'): {failure['reason']}"]


def test_what_is_cut_at_the_end_costs_the_last_picture(tmp_path: Path) -> None:
    path = tsv(tmp_path, "a", "b", "c")
    path.write_bytes(path.read_bytes()[:-60])
    assert bring(path, tmp_path / "out").skipped == 1
    assert ids(tmp_path / "out") == ["a", "b"]
    tsv(tmp_path, "a", "b", "c")  # fetched again: another file, read from its beginning
    report = bring(path, tmp_path / "out")
    assert (report.done, report.already_there, report.skipped) == (1, 2, 0)
    assert failures(tmp_path / "out") == []


def test_skipped_pictures_are_counted_once_however_often_it_is_started(tmp_path: Path) -> None:
    path = tsv(tmp_path, "a", "bad", "c", bad={"num_boxes": 0})
    for _ in range(3):
        assert bring(path, tmp_path / "out").skipped == 1
        assert len(failures(tmp_path / "out")) == 1
    folder = write_mmf_npy(tmp_path / "npy", [picture("a"), picture("b")])
    (folder / "b_info.npy").unlink()
    for _ in range(2):
        assert bring(folder, tmp_path / "npys", NAMED, "mmf-npy").skipped == 1
        assert [failure["id"] for failure in failures(tmp_path / "npys")] == ["b"]


def test_another_format_is_an_error_that_shows_the_first_lines(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("id\tname\n1\tdog\n")
    with pytest.raises(InterbertError, match=r"none of the first 2 can be used as bottom-up-tsv:\n  line 1: 2 columns"):
        bring(tmp_path / "a.tsv", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "a.tsv").write_text("")
    with pytest.raises(InterbertError, match="holds nothing"):
        bring(tmp_path / "a.tsv", tmp_path / "out")
    with pytest.raises(UsageError, match="there is no format 'bottom-up'; did you mean 'bottom-up-tsv'"):
        import_features(tmp_path / "a.tsv", "bottom-up", tmp_path / "out")
    with pytest.raises(UsageError, match="does not exist"):
        bring(tmp_path / "b.tsv", tmp_path / "out")


def test_ctrl_c_keeps_what_was_imported_and_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tsv(tmp_path, "a", "bad", "c", "d", bad={"num_boxes": 0}), legacy.regions_of
    seen = []

    def stopping(*given: Any) -> Any:
        seen.append(given)
        if len(seen) == 3:  # the first one of all says what the features are
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(legacy, "regions_of", stopping)
    with pytest.raises(KeyboardInterrupt):
        bring(path, tmp_path / "out")
    assert ids(tmp_path / "out") == ["a"]
    assert [failure["line"] for failure in failures(tmp_path / "out")] == [2]
    (place,) = json.loads((tmp_path / "out" / "imports.json").read_text()).values()
    assert place["place"][0] == 2
    report = bring(path, tmp_path / "out")
    assert (report.done, report.already_there, report.skipped) == (2, 1, 1)


def test_what_nobody_foresaw_costs_its_picture_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = legacy.regions_of

    def failing(found: Any, *given: Any) -> Any:
        if found.image_size == (7, 7):
            raise RuntimeError("odd")
        return real(found, *given)

    monkeypatch.setattr(legacy, "regions_of", failing)
    report = bring(tsv(tmp_path, "a", "b", "c", b={"img_w": 7, "img_h": 7}), tmp_path / "out")
    assert (report.done, report.examples) == (2, ["line 2 ('b'): RuntimeError: odd"])


def test_what_was_committed_after_the_last_place_is_no_repeated_id(tmp_path: Path) -> None:
    path = tsv(tmp_path, "a", "b", "c")
    bring(path, tmp_path / "out")
    places = json.loads((tmp_path / "out" / "imports.json").read_text())
    first = path.read_bytes().index(b"\n") + 1
    places[str(path)] |= {"place": [1, first], "records": 1}  # as if it had been killed before it wrote the last one
    (tmp_path / "out" / "imports.json").write_text(json.dumps(places))
    report = bring(path, tmp_path / "out")
    assert (report.done, report.already_there, report.skipped) == (0, 3, 0)


def test_an_id_that_comes_again_after_a_stop_is_still_repeated(tmp_path: Path) -> None:
    path = tsv(tmp_path, "a", "b", "c", c={"img_id": "a"})
    bring(path, tmp_path / "out")
    places = json.loads((tmp_path / "out" / "imports.json").read_text())
    places[str(path)] |= {"place": [2, path.read_bytes().rindex(b"a\t")], "records": 2}
    (tmp_path / "out" / "imports.json").write_text(json.dumps(places))
    assert bring(path, tmp_path / "out").skipped == 1


def test_a_second_file_goes_into_the_same_store(tmp_path: Path) -> None:
    first = tsv(tmp_path, "a", "b")
    bring(first, tmp_path / "out")
    second = first.rename(tmp_path / "second.tsv")
    report = bring(write_tsv(second, [row(picture(id), 10) for id in ("b", "c")]), tmp_path / "out")
    assert (report.done, report.already_there, report.skipped) == (1, 1, 0)
    assert ids(tmp_path / "out") == ["a", "b", "c"]


def test_a_store_of_other_features_is_an_error_and_stays(tmp_path: Path) -> None:
    bring(tsv(tmp_path, "a"), tmp_path / "out")
    for naming in (Naming(OBJECTS, ATTRIBUTES, made_by="someone"), Naming(OBJECTS)):
        with pytest.raises(InterbertError, match="was made by another extractor"):
            bring(tmp_path / "features.tsv", tmp_path / "out", ImportOptions(naming))
    assert ids(tmp_path / "out") == ["a"]


def test_features_of_our_own_extractors_kind_go_into_its_store(tmp_path: Path) -> None:
    own = ExtractorInfo("bottom-up:bu", 8, OBJECTS, "ab" * 32, {"max_regions": 36}, ATTRIBUTES)
    bring(tsv(tmp_path, "a"), tmp_path / "out", ImportOptions(Naming(extractor=own)))
    assert RegionStore(tmp_path / "out").extractor == own
    with pytest.raises(InterbertError, match="none of the first 1 can be used"):
        bring(tsv(tmp_path, "a"), tmp_path / "other", ImportOptions(Naming(extractor=replace(own, feature_size=9))))


def test_numbers_become_the_names_that_captions_use(tmp_path: Path) -> None:
    options = replace(NAMED, ids="COCO_train2014_{:012d}")
    (tmp_path / "in").mkdir()
    for number in (84002, 42):
        Image.new("RGB", (640, 480)).save(tmp_path / "in" / f"COCO_train2014_{number:012d}.png")
    bring(tsv(tmp_path, "84002", "val_000000000042"), tmp_path / "out", replace(options, images=tmp_path / "in"))
    assert ids(tmp_path / "out") == ["COCO_train2014_000000084002", "COCO_train2014_000000000042"]
    for pattern in ("COCO", "{} {}", "{name}", "{:x", "{0.x}"):
        with pytest.raises(UsageError, match="wanted a name with one number"):
            bring(tmp_path / "features.tsv", tmp_path / "no", replace(NAMED, ids=pattern))


def test_pictures_give_sizes_and_fingerprints_and_find_mistakes(tmp_path: Path) -> None:
    (tmp_path / "in" / "train").mkdir(parents=True)
    for name, size in (("a", (640, 480)), ("train/b", (64, 48)), ("c", (640, 480))):
        Image.new("RGB", size).save(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / "c.png").write_bytes(b"no picture")
    options = replace(NAMED, images=tmp_path / "in")
    report = bring(tsv(tmp_path, "a", "b", "c", "d"), tmp_path / "out", options)
    assert report.done == 1
    info = RegionStore(tmp_path / "out").info("a")
    assert info is not None
    assert info.source == str(tmp_path / "in" / "a.png")
    assert [failure["reason"].partition("'")[0].strip() for failure in failures(tmp_path / "out")] == [
        "it says its picture has 640 x 480 pixels,",
        "its picture",
        "the folder of pictures has none of its name, or several",
    ]


def test_uniter_has_pixels_with_its_pictures_and_thousandths_without(tmp_path: Path) -> None:
    folder = write_uniter_npz(tmp_path / "npz", [picture("a")])
    report = bring(folder, tmp_path / "without", NAMED, "uniter-npz")
    assert (report.done, report.without_size) == (1, 1)
    assert RegionStore(tmp_path / "without")["a"].image_size == (1000, 1000)
    (tmp_path / "in").mkdir()
    Image.new("RGB", (640, 480)).save(tmp_path / "in" / "a.png")
    report = bring(folder, tmp_path / "with", replace(NAMED, images=tmp_path / "in"), "uniter-npz")
    assert (report.done, report.without_size) == (1, 0)
    np.testing.assert_allclose(RegionStore(tmp_path / "with")["a"].boxes, picture().boxes, atol=0.3)


def test_an_lmdb_that_breaks_in_the_middle_keeps_what_came_before(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    folder = write_mmf_lmdb(tmp_path / "a.lmdb", [picture(f"{number}", features=600) for number in range(4)])
    with LmdbFile(folder) as file:
        *_, last = (entry.value() for entry in file)
    content = bytearray((folder / "data.mdb").read_bytes())
    content[content.rindex(last) - 16] ^= 255  # the number of its first page
    (folder / "data.mdb").write_bytes(content)
    with pytest.raises(InterbertError, match=r"has a wrong page.*imported before is kept"):
        bring(folder, tmp_path / "out", NAMED, "mmf-lmdb")
    assert len(ids(tmp_path / "out")) == 3


def test_an_lmdb_that_has_fewer_entries_than_it_says_is_damaged(tmp_path: Path) -> None:
    pytest.importorskip("lmdb")
    folder = write_mmf_lmdb(tmp_path / "a.lmdb", [picture("a"), picture("b")])
    with LmdbFile(folder) as file:
        assert len(list(file)) == file.entries
        file.entries += 1
        with pytest.raises(InterbertError, match=f"has {file.entries - 1} entries of its {file.entries}"):
            list(file)


def test_damaged_notes_of_an_import_say_what_to_do(tmp_path: Path) -> None:
    path = tsv(tmp_path, "a")
    bring(path, tmp_path / "out")
    for name in ("imports.json", "failures.jsonl"):
        (tmp_path / "out" / name).write_text("{")
        with pytest.raises(InterbertError, match=rf"{name}' is damaged .*delete it"):
            bring(path, tmp_path / "out")
        (tmp_path / "out" / name).unlink()


@pytest.mark.shared_data
def test_ten_real_pictures_pass_through_corpus_masking_batch_and_a_step(tmp_path: Path, shared: Path) -> None:
    data, names = shared / "data" / "region_features", shared / "data" / "vg_vocab"
    naming = Naming(
        names_of(names / "objects_vocab.txt"), names_of(names / "attributes_vocab.txt"), "bottom-up attention"
    )
    report = bring(data / "train2014_obj36.tsv", tmp_path / "out", ImportOptions(naming, images=data / "images"))
    assert (report.done, report.skipped, report.clipped, report.dropped) == (10, 0, 0, 0)
    store = RegionStore(tmp_path / "out")
    for id in store:
        regions = store[id]
        with Image.open(data / "images" / f"{id}.jpg") as image:
            assert regions.image_size == image.size
        assert len(regions) == 36
        assert (regions.boxes >= 0).all()
        assert (regions.boxes <= [*regions.image_size, *regions.image_size]).all()
        assert (np.diff(regions.confidence) <= 0).all()

    words = ("dog", "cat", "tree", "road", "big", "old", "two", "red", "playing", "plays")  # made up
    captions = [
        Caption(f"{id}.jpg", f"{article} {word} on the road", None, f"{id} {article}")
        for id, word in zip(store, words, strict=True)
        for article in ("a", "the")
    ]
    options = BuildOptions(validation_share=0.2)
    build_corpus(captions, store, random_tokenizer(), tmp_path / "corpus", options)
    corpus = Corpus(tmp_path / "corpus")
    plan = replace(few_steps(), stages=(Stage("msm", "mrm"),), batch_size=4, masking=Masking(mrm_rate=0.5))
    job = PretrainingJob(corpus, corpus.tokenizer(), plan)
    (batch,) = job.batches(0, 0, 1)
    assert batch.features is not None
    assert batch.features.shape == (4, 37, 2048)
    assert batch.masked_regions is not None
    assert (batch.features[batch.masked_regions] == 0).all()
    torch.manual_seed(0)
    model = InterBert(fitted(plan.model, corpus, corpus.tokenizer()))
    before = [weights.detach().clone() for weights in model.parameters()]
    losses = job.losses(model, batch)
    torch.stack(list(losses.values())).sum().backward()
    torch.optim.SGD(model.parameters(), 0.01).step()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert losses["regions"] > 0
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
