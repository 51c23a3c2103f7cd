"""The verb import-features: what it prints, and its exit status."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from legacy_writers import picture, row, write_lmdb, write_tsv
from test_safe_pickle import Makes

from interbert import cli
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore

NAMES = "yolk\ngoal\ndog\ncat\nroad\n"


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The arguments of an import of three pictures, the second of which cannot be used."""
    monkeypatch.chdir(tmp_path)
    rows = [row(picture(id), 10) for id in ("1", "2", "3")]
    write_tsv(Path("features.tsv"), [rows[0], rows[1] | {"num_boxes": 0}, rows[2]])
    Path("objects.txt").write_text(NAMES)
    return ["import-features", "features.tsv", "--format", "bottom-up-tsv", "--out", "out", "--objects", "objects.txt"]


def test_a_part_that_was_skipped_is_shown_and_the_exit_status_says_so(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(given) == 3
    said = capsys.readouterr()
    assert "2 pictures imported, 0 were there already" in said.out
    assert "1 could not be used; see out/failures.jsonl" in said.out
    assert "line 2 ('2'): it has no boxes" in said.out
    assert "will mix with all others of the format" in said.err
    assert cli.run([*given, "--json", "--quiet"]) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["skipped"] == 1
    assert said.err == ""


def test_all_imported_is_done_and_nothing_imported_is_failed(given: list[str]) -> None:
    lines = Path("features.tsv").read_bytes().splitlines(keepends=True)
    Path("features.tsv").write_bytes(lines[0] + lines[2])
    assert cli.run([*given, "--ids", "COCO_{:06d}", "--max-regions", "2", "--feature-type", "float32"]) == 0
    store = RegionStore("out")
    assert list(store) == ["COCO_000001", "COCO_000003"]
    assert (store.feature_type, len(store["COCO_000001"])) == ("float32", 2)
    Path("features.tsv").write_bytes(lines[1])
    assert cli.run([*given[:4], "--out", "none"]) == 1


def test_the_maker_is_one_that_is_named_or_an_extractor(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*given, "--made-by", "caffe 10-100", "--attributes", "objects.txt"]) == 3
    assert RegionStore("out").extractor.name == "imported:caffe 10-100"
    ExtractorInfo("bottom-up:bu", 8, tuple(NAMES.split()), "", {}, tuple("abcd")).save(Path("extractor.json"))
    of_ours = [*given[:4], "--out", "ours", "--extractor-json", "extractor.json"]
    assert cli.run(of_ours) == 3
    assert RegionStore("ours").extractor.name == "bottom-up:bu"
    assert cli.run([*of_ours, "--made-by", "me"]) == 2
    assert "leave the other options out" in capsys.readouterr().err


def test_a_malicious_file_is_refused_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lmdb")
    monkeypatch.chdir(tmp_path)
    write_lmdb(Path("evil.lmdb"), {b"7": pickle.dumps(Makes(Path("made")))})
    assert cli.run(["import-features", "evil.lmdb", "--format", "vilbert-lmdb", "--out", "out"]) == 1
    assert ".mkdir', which may run code" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.lmdb"]
