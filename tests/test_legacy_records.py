from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from legacy_writers import base64_of, mmf_info, picture, row, uniter_arrays

from interbert.errors import InterbertError, UsageError
from interbert.vision.extractor import Extractor
from interbert.vision.legacy_records import Found, Naming, Unusable, found_in, names_of, regions_of
from interbert.vision.provenance import ExtractorInfo

PLAIN = Naming(objects=("yolk", "goal", "dog", "cat", "road"), attributes=("gray", "red", "blue", "tall"))


def found(**changes: Any) -> Found:
    """Three regions of eight features in a picture of 640 x 480."""
    of = picture()
    return replace(found_in({"features": of.features, "boxes": of.boxes, "image_w": 640, "image_h": 480}), **changes)


def info(of: Found, naming: Naming = PLAIN) -> ExtractorInfo:
    return naming.identity("bottom-up-tsv", of)


def why(of: Found, identity: ExtractorInfo | None = None) -> str:
    with pytest.raises(Unusable) as error:
        regions_of(of, identity or info(found()))
    return str(error.value)


def test_base64_and_arrays_give_the_same_numbers() -> None:
    of = picture()
    for record in (row(of, 13), {**row(of, 13), "boxes": of.boxes, "features": of.features}):
        got = found_in(record)
        assert got.image_size == (640, 480)
        np.testing.assert_array_equal(got.features, of.features)
        np.testing.assert_array_equal(got.boxes, of.boxes)
        assert got.probabilities is not None
        assert got.probabilities[:, 1:].argmax(1).tolist() == [0, 1, 2]
        assert got.labels is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": None}, "no features"),
        ({"boxes": "!!!!"}, "boxes: not base64"),
        ({"features": base64_of(picture().features)[:-6]}, "features: not base64"),
        ({"features": base64_of(picture().features)[:-4]}, "features: 93 bytes do not fit 3 boxes"),
        ({"num_boxes": 2}, "48 bytes do not fit 2 boxes"),
        ({"num_boxes": "many"}, "num_boxes is 'many'"),
        ({"num_boxes": None}, "no num_boxes"),
        ({"num_boxes": 0}, "no boxes"),
        ({"num_boxes": -3}, "num_boxes is -3"),
        ({"img_w": 0}, "0 x 480 pixels"),
        ({"img_w": None}, "no size of the picture"),
        ({"boxes": {}}, "boxes: got dict"),
        ({"objects_id": np.array(["a", "b", "c"])}, "labels: got ndarray, wanted an array of numbers"),
        ({"objects_id": base64_of(np.arange(3))[:-4]}, "labels: 21 bytes do not fit 3 boxes"),
        ({"objects_id": np.arange(2)}, "labels: 2 of them for 3 boxes"),
        ({"boxes": np.zeros((3, 5))}, r"boxes \(3, 5\)"),
        ({"features": np.zeros(24)}, r"features \(24,\)"),
        ({"features": np.zeros((3, 0))}, r"features \(3, 0\)"),
    ],
)
def test_what_does_not_fit_is_unusable_and_says_why(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Unusable, match=words):
        found_in({**row(picture(), 10), **change})


def test_bytes_that_a_csv_wrote_with_their_quotes_are_read() -> None:
    of = picture()
    quoted = {name: f"b'{value}'" for name, value in row(of, 10).items() if isinstance(value, str) and name != "img_id"}
    np.testing.assert_array_equal(found_in({**row(of, 10), **quoted}).features, of.features)


def test_more_rows_than_boxes_are_padding() -> None:
    of = picture(count=5)
    assert len(found_in({**mmf_info(of), "features": of.features, "num_boxes": 3}).features) == 3
    assert len(found_in({**mmf_info(of), "features": of.features, "num_boxes": 100}).features) == 5


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_probability_a_region_is_its_confidence(shape: tuple[int, ...]) -> None:
    of = picture()
    got = found_in({**mmf_info(of), "features": of.features, "cls_prob": of.confidence.reshape(shape)})
    assert got.probabilities is None
    np.testing.assert_array_equal(got.confidence, of.confidence)


def test_fractions_become_pixels_where_the_size_is_known_and_thousandths_where_not() -> None:
    of = picture()
    unknown = found_in(uniter_arrays(of))
    assert unknown.image_size is None
    made = regions_of(unknown, info(unknown))
    assert made.regions.image_size == (1000, 1000)
    np.testing.assert_allclose(made.regions.boxes, of.boxes / [0.64, 0.48, 0.64, 0.48], atol=0.3)
    known = found_in({**uniter_arrays(of), "image_w": 640, "image_h": 480})
    np.testing.assert_allclose(regions_of(known, info(known)).regions.boxes, of.boxes, atol=0.2)


def test_regions_come_best_first_and_at_most_so_many() -> None:
    of = found(confidence=np.array([0.2, 0.9, 0.5], np.float32), labels=np.array([0, 1, 2]))
    regions = regions_of(of, info(of), most=2).regions
    assert regions.labels.tolist() == [1, 2]
    assert regions.features[:, 0].tolist() == [1.5, 2.5]


def test_without_a_confidence_the_order_stays_and_all_are_sure() -> None:
    regions = regions_of(found(), info(found())).regions
    assert regions.features[:, 0].tolist() == [0.5, 1.5, 2.5]
    assert regions.confidence.tolist() == [1, 1, 1]
    assert info(found()).classes == ()


def test_labels_are_the_best_of_the_probabilities_and_the_background_stays_a_class() -> None:
    of = found(probabilities=picture().probabilities, background=True)
    identity = info(of)
    assert identity.classes == ("background", *PLAIN.objects)
    regions = regions_of(of, identity).regions
    assert [identity.classes[label] for label in regions.labels] == ["yolk", "goal", "dog"]
    np.testing.assert_allclose(regions.confidence, [0.9, 0.8, 0.7])
    assert regions.probabilities is not None
    assert regions.probabilities.shape == (3, 6)


@pytest.mark.parametrize(("columns", "background"), [(6, True), (5, False)])
def test_a_column_more_than_there_are_names_is_the_background(columns: int, background: bool) -> None:
    of = found(probabilities=picture().probabilities[:, 6 - columns :])
    assert (info(of).classes[0] == "background") is background
    assert len(info(of).classes) == columns


@pytest.mark.parametrize("columns", [5, 6])
@pytest.mark.parametrize("classes", [PLAIN.objects, ("__background__", *PLAIN.objects)])
def test_another_extractors_identity_decides_about_the_background(columns: int, classes: tuple[str, ...]) -> None:
    theirs = ExtractorInfo("bottom-up:bu", 8, classes, "abc")
    of = found(probabilities=picture().probabilities[:, 6 - columns :])
    assert info(of, Naming(extractor=theirs)) == theirs
    regions = regions_of(of, theirs).regions
    assert regions.probabilities is not None
    assert regions.probabilities.shape[1] == len(classes)
    assert [classes[label] for label in regions.labels] == ["yolk", "goal", "dog"]


def test_labels_alone_are_shifted_where_the_extractor_counts_the_background() -> None:
    theirs = ExtractorInfo("bottom-up:bu", 8, ("background", *PLAIN.objects))
    assert regions_of(found(labels=np.arange(3)), theirs).regions.labels.tolist() == [1, 2, 3]


def test_names_default_to_numbers_of_visual_genome() -> None:
    of = found_in(row(picture(), 10))
    identity = Naming(made_by="caffe, 10 to 100").identity("bottom-up-tsv", of)
    assert identity.name == "imported:caffe, 10 to 100"
    assert (len(identity.classes), identity.classes[17]) == (1600, "object 17")
    assert (len(identity.attributes), identity.attributes[3]) == (400, "attribute 3")
    assert Naming().identity("bottom-up-tsv", of).name == "imported:bottom-up-tsv"


def test_names_of_another_number_than_the_columns_are_an_error() -> None:
    with pytest.raises(InterbertError, match="got 4 names of objects, the features have 5"):
        info(found(probabilities=picture().probabilities, background=True), Naming(objects=("a", "b", "c", "d")))


def test_what_contradicts_itself_is_unusable() -> None:
    features = picture().features.copy()
    features[1, 3] = np.nan
    assert "not finite in region 1" in why(found(features=features))
    assert "beyond 65504" in why(found(features=picture().features * 1e5))
    assert "4 features a region, the others have 8" in why(found(features=picture().features[:, :4]))
    of = found(probabilities=picture().probabilities * 30, background=True)
    assert "class probabilities from 0.3 to 27" in why(of, info(of))
    assert "confidence from 0 to 37" in why(found(confidence=np.array([0, 1, 37])))
    of = found(labels=np.array([0, 5, 1]))
    assert "object 5, wanted one of 0..4" in why(of, info(of))
    red = found(attributes=np.array([0, 1, -1]), attribute_confidence=np.ones(3))
    assert "attribute -1, wanted one of 0..3" in why(red, info(red))
    assert "does not say what its regions are" in why(found(), info(of))
    assert "it names objects, the others do not" in why(of)
    of = found(probabilities=picture().probabilities, background=True)
    assert "probabilities of 3 classes" in why(replace(of, probabilities=np.ones((3, 3))), info(of))


def test_float32_holds_what_float16_does_not() -> None:
    of = found(features=picture().features * 1e5)
    assert regions_of(of, info(of), "float32").regions.features.max() == 2.5e5


def test_boxes_that_stick_out_a_little_are_cut_and_counted() -> None:
    boxes = np.array([[-1.5, 0, 100, 100], [0, 0, 650, 480], [5, 5, 9, 9]], np.float32)
    made = regions_of(found(boxes=boxes), info(found()))
    assert made.clipped == 2
    assert made.regions.boxes.tolist() == [[0, 0, 100, 100], [0, 0, 640, 480], [5, 5, 9, 9]]


def test_boxes_far_outside_or_turned_inside_out_make_their_picture_unusable() -> None:
    boxes = picture().boxes.copy()
    boxes[2] = [0, 0, 480, 640]
    assert "box 2 is 0.0, 0.0 to 480.0, 640.0 in a picture of 640 x 480" in why(found(boxes=boxes))
    boxes[2] = [9, 0, 5, 5]
    assert "box 2 is 9.0" in why(found(boxes=boxes))


def test_boxes_without_an_area_are_dropped_and_counted() -> None:
    boxes = picture().boxes.copy()
    boxes[0, 2] = boxes[0, 0]
    made = regions_of(found(boxes=boxes), info(found()))
    assert (len(made.regions), made.dropped) == (2, 1)
    assert "no box of it has an area" in why(found(boxes=np.zeros((3, 4), np.float32)))


def test_pictures_of_a_model_of_imported_regions_are_an_error_that_says_what_to_do() -> None:
    with pytest.raises(
        InterbertError, match="were imported .'imported:caffe'.*give regions of a store.*--extractor-json"
    ):
        Extractor.from_info(ExtractorInfo("imported:caffe", 8))


def test_names_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "objects.txt").write_text("yolk\ngray,grey\n\n")
    assert names_of(tmp_path / "objects.txt") == ("yolk", "gray,grey")
    with pytest.raises(UsageError, match="cannot be read"):
        names_of(tmp_path / "nowhere.txt")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(UsageError, match="no names"):
        names_of(tmp_path / "empty.txt")
