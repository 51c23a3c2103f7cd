"""Building an index of a catalogue: what is taken, what is computed once, what is counted, what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pretraining_helpers import EXTRACTOR, random_regions
from recall_helpers import SPREAD, indexed, product, shop, write_catalogue
from task_helpers import saved_run

from interbert.batch import Regions
from interbert.corpus.catalogue import Catalogue
from interbert.errors import InterbertError, UsageError
from interbert.model.interbert import InterBert
from interbert.recall.index import delete_products, index_catalogue, open_index, restore_version, scorer_of
from interbert.scoring.scorer import Scorer
from interbert.vision.extractor import EXTRACTORS, Extractor
from interbert.vision.images import open_image
from interbert.vision.provenance import ExtractorInfo


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return shop(tmp_path, 6)


def contents(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    store = open_index(folder)
    found = store.products(store.select(store.versions()[-1].number, None).rows.tolist())
    return {one.id: (one.title, dict(one.cells)) for one in found}


def test_a_catalogue_becomes_a_version(place: Path) -> None:
    report = indexed(place)
    assert report.version is not None
    assert (report.version.number, report.version.added, report.new_pictures, report.failures) == (1, 6, 6, [])
    title, cells = contents(place / "index")["p3"]
    assert title == product(3)["title"]
    assert cells == {"category": "shoes", "price": 30, "colour": "blue"}
    assert open_index(place / "index").columns()["price"] == "number"


def test_the_vectors_are_those_of_the_model(place: Path) -> None:
    indexed(place)
    store = open_index(place / "index")
    scorer = scorer_of(store, place / "index")
    vectors = scorer.encode_images(store.regions(range(6)))
    query = np.random.default_rng(0).normal(size=SPREAD.fusion_size).astype(np.float32)
    found, scores = store.nearest(1, None, query, 6)
    np.testing.assert_allclose(scores, vectors[found.pictures] @ query, rtol=1e-4, atol=1e-5)


def test_a_picture_is_computed_once_whatever_its_product_is_called(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed(place)
    computed: list[int] = []
    encode = Scorer.encode_images

    def counting(self: Scorer, images: Sequence[Any], *given: Any, **named: Any) -> Any:
        computed.append(len(images))
        return encode(self, images, *given, **named)

    monkeypatch.setattr(Scorer, "encode_images", counting)
    again = [product(number, title="renamed", id=f"q{number}") for number in range(6)]
    write_catalogue(place / "more.jsonl", again)
    report = indexed(place, "more.jsonl")
    assert report.version is not None
    assert (report.version.products, report.new_pictures, computed) == (12, 0, [])


def test_products_are_replaced_kept_and_deleted_by_id(place: Path) -> None:
    indexed(place)
    write_catalogue(place / "more.jsonl", [product(1, price=999), product(2), product(9, 6)])
    report = indexed(place, "more.jsonl", delete=["p5", "nobody"])
    version = report.version
    assert version is not None
    assert (version.added, version.replaced, version.deleted, report.not_there) == (1, 1, 1, ("nobody",))
    assert "1 that were to be deleted are not there: nobody" in list(report.lines(place))
    assert contents(place / "index")["p1"][1]["price"] == 999
    assert delete_products(place / "index", ["p0", "p0"]).version is not None
    assert sorted(contents(place / "index")) == ["p1", "p2", "p3", "p4", "p9"]
    assert restore_version(place / "index", 1).version is not None
    assert len(contents(place / "index")) == 6
    assert contents(place / "index")["p1"][1]["price"] == 10


def test_a_whole_catalogue_that_was_cut_deletes_nothing(place: Path) -> None:
    indexed(place)
    rows = [json.dumps(product(number, id=f"q{number}")) for number in range(200)]
    (place / "all.jsonl").write_text("\n".join([*rows, '{"id": "p0", "titl']) + "\n")
    with pytest.raises(
        UsageError, match="--whole: .* does not say what to take out, since 1 of its rows cannot be read"
    ):
        indexed(place, "all.jsonl", whole=True)
    (place / "none.csv").write_text("id,title,image\n")
    with pytest.raises(UsageError, match="since it has no products"):
        indexed(place, "none.csv", whole=True)
    assert len(contents(place / "index")) == 6


def test_a_whole_catalogue_deletes_what_it_does_not_have_and_keeps_what_it_cannot_read(place: Path) -> None:
    indexed(place)
    write_catalogue(place / "all.jsonl", [product(0), product(1, image="images/gone.jpg"), product(2)])
    report = indexed(place, "all.jsonl", whole=True)
    assert sorted(contents(place / "index")) == ["p0", "p1", "p2"]
    (failure,) = report.failures
    assert (failure.place, failure.id) == ("line 2", "p1")
    assert json.loads((place / "index" / "failures.jsonl").read_text())["reason"] == failure.reason
    assert "not in the region store" in failure.reason


def test_the_same_command_again_goes_on(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interbert.recall.pictures.BLOCK", 2)
    encode, calls = Scorer.encode_images, []

    def stopped(self: Scorer, images: Sequence[Any], *given: Any, **named: Any) -> Any:
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, images, *given, **named)

    monkeypatch.setattr(Scorer, "encode_images", stopped)
    with pytest.raises(KeyboardInterrupt):
        indexed(place)
    assert open_index(place / "index").versions() == []
    report = indexed(place)
    assert calls == [2, 2, 2, 2]
    assert (report.new_pictures, report.seen) == (2, 6)


def test_an_index_of_another_model_is_refused(place: Path) -> None:
    indexed(place)
    other = saved_run(place / "other", replace(SPREAD, initializer_range=0.1))
    with pytest.raises(InterbertError, match="scores of two models do not mix"):
        index_catalogue(Catalogue(place / "catalogue.jsonl"), other, place / "index", regions=place / "regions")
    with pytest.raises(InterbertError, match="scores of two models do not mix"):
        scorer_of(open_index(place / "index"), place / "index", other)


def test_the_model_is_found_where_it_was_and_where_it_is_now(place: Path) -> None:
    indexed(place)
    moved = place / "moved"
    moved.mkdir()
    for name in ("run", "index"):
        (place / name).rename(moved / name)
    assert isinstance(scorer_of(open_index(moved / "index"), moved / "index").model, InterBert)
    (moved / "run").rename(moved / "elsewhere")
    with pytest.raises(InterbertError, match="is not where it was .* say where with --from"):
        scorer_of(open_index(moved / "index"), moved / "index")
    assert scorer_of(open_index(moved / "index"), moved / "index", moved / "elsewhere")


def test_regions_of_another_extractor_are_refused(place: Path) -> None:
    ExtractorInfo("other", 8, EXTRACTOR.classes).save(place / "run" / "extractor.json")
    with pytest.raises(InterbertError, match="extract the pictures with the run's extractor"):
        indexed(place)


def test_an_id_that_is_to_be_deleted_and_put_in_is_refused(place: Path) -> None:
    with pytest.raises(UsageError, match="'p2' is in the catalogue and is to be deleted"):
        indexed(place, delete=["p2"])


class ByColour(Extractor):
    """As many regions as a picture's red says."""

    @property
    def info(self) -> ExtractorInfo:
        return EXTRACTOR

    def extract(self, images: Sequence[Any]) -> list[Regions]:
        reds = [open_image(image).getpixel((0, 0)) for image in images]
        return [random_regions(np.random.default_rng(red), red) for red, *_ in reds]  # type: ignore[arg-type]


def test_pictures_are_read_by_the_runs_extractor_and_broken_ones_are_counted(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXTRACTORS, "random", lambda argument, settings: ByColour())
    (place / "images").mkdir()
    for number, red in enumerate((4, 5, 4)):  # p0 and p2 show the same
        Image.new("RGB", (8, 8), (red, 0, 0)).save(place / "images" / f"{number}.jpg", "PNG")
    (place / "images" / "3.jpg").write_bytes(b"no picture")
    write_catalogue(
        place / "files.jsonl",
        [*(product(number) for number in range(5)), product(7, image="https://shop.example/7.jpg")],
    )
    report = indexed(place, "files.jsonl", regions=None, workers=0)
    assert report.version is not None
    assert (report.version.products, report.new_pictures, report.seen) == (3, 2, 3)
    reasons = {failure.id: failure.reason for failure in report.failures}
    assert "not a picture of a known format" in reasons["p3"]
    assert "does not exist" in reasons["p4"]
    assert "an address on the web" in reasons["p7"]
    assert len(report.failures) == 3
    assert sorted(contents(place / "index")) == ["p0", "p1", "p2"]
