"""Detectors of transformers: regions that are what the model says, and folders that are refused."""

from __future__ import annotations

import logging
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detector_helpers import NAMES, TYPES, drawn_picture, edit_json, save_detector
from PIL import Image

from interbert.errors import InterbertError
from interbert.vision.detectors import (
    TransformersExtractor,
    best_regions,
    corners,
    import_transformers,
)
from interbert.vision.extractor import ELSEWHERE, Extractor, Limits
from interbert.vision.images import ImageError


@pytest.fixture(scope="module")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small detector of every type, under its name."""
    folder = tmp_path_factory.mktemp("detectors")
    for kind in TYPES:
        save_detector(kind, folder / kind)
    return folder


@pytest.fixture
def copied(detectors: Path, tmp_path: Path) -> Path:
    """A DETR's folder that a test may change."""
    return Path(shutil.copytree(detectors / "detr", tmp_path / "copied"))


def by_hand(extractor: TransformersExtractor, image: Image.Image) -> tuple[Any, Any]:
    """What transformers' own post-processing finds, and the model's output."""
    model, processor = extractor.detector
    with torch.inference_mode():
        output = model(**processor(images=image, return_tensors="pt"))
    sizes = torch.tensor([image.size[::-1]])
    return processor.post_process_object_detection(output, threshold=0.0, target_sizes=sizes)[0], output


@pytest.mark.parametrize("kind", TYPES)
def test_regions_are_queries_with_the_models_own_boxes_and_scores(detectors: Path, kind: str) -> None:
    extractor, image = TransformersExtractor(str(detectors / kind), Limits(8, 3, 0.0)), drawn_picture()
    (regions,) = extractor.extract([image])
    found, output = by_hand(extractor, image)
    assert len(regions) == 8
    for at in range(8):
        same = found["labels"] == int(regions.labels[at])
        box = found["boxes"].clamp(min=0).minimum(torch.tensor([*image.size, *image.size]))
        distance = (box - torch.tensor(regions.boxes[at])).abs().amax(1) / 100
        distance += (found["scores"] - float(regions.confidence[at])).abs()
        assert distance[same].min() < 1e-5
        states = output.last_hidden_state[0] - torch.tensor(regions.features[at])
        assert states.abs().amax(1).min() < 1e-6


@pytest.mark.parametrize("kind", ["detr", "rt_detr_v2"])
def test_the_models_head_makes_the_probabilities_of_the_features(detectors: Path, kind: str) -> None:
    extractor = TransformersExtractor(str(detectors / kind))
    (regions,) = extractor.extract([drawn_picture()])
    model, features = extractor.detector[0], torch.tensor(regions.features)
    with torch.inference_mode():
        if kind == "detr":
            wanted = model.class_labels_classifier(features).softmax(-1)[:, :-1]
        else:
            wanted = model.class_embed[-1](features).sigmoid()
    np.testing.assert_allclose(regions.probabilities, wanted, atol=1e-6)
    assert (regions.labels == wanted.argmax(1).numpy()).all()


def test_the_best_queries_are_kept_best_first(detectors: Path) -> None:
    extractor, image = TransformersExtractor(str(detectors / "detr"), Limits(20, 1, 0.0)), drawn_picture()
    (regions,) = extractor.extract([image])
    found, _ = by_hand(extractor, image)
    np.testing.assert_allclose(regions.confidence, found["scores"].sort(descending=True).values, atol=1e-6)


@pytest.mark.parametrize("kind", TYPES)
def test_an_identity_names_classes_weights_and_settings(detectors: Path, kind: str) -> None:
    info = Extractor.from_name(f"hf:{detectors / kind}", max_regions=12, min_regions=2).info
    assert info.name == f"hf:{detectors / kind}"
    assert info.classes == NAMES
    assert info.feature_size == (32 if kind == "deformable_detr" else 16)
    assert info.settings | {"max_regions": 12, "min_regions": 2, "model_type": kind} == info.settings
    assert Extractor.from_info(info).info == info


@pytest.mark.shared_data
@pytest.mark.parametrize("kind", ["detr", "rt_detr_v2", "d_fine"])
def test_boxes_of_real_photos_lie_inside_them(detectors: Path, kind: str, shared: Path) -> None:
    photos = sorted((shared / "data" / "coco" / "images").glob("*.jpg"))[:6]
    extractor = TransformersExtractor(str(detectors / kind))
    for photo, regions in zip(photos, extractor.extract(photos), strict=True):
        with Image.open(photo) as image:
            assert regions.image_size == image.size
        assert 10 <= len(regions) <= 36
        assert (regions.boxes >= 0).all()
        assert (regions.boxes <= np.array([*regions.image_size] * 2)).all()


def test_boxes_are_in_pixels_of_the_upright_picture(detectors: Path, tmp_path: Path) -> None:
    upright, exif = drawn_picture(90, 60), Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    extractor = TransformersExtractor(str(detectors / "rt_detr_v2"))
    of_file, of_picture = extractor.extract([tmp_path / "turned.png", upright])
    assert of_file.image_size == (90, 60)
    np.testing.assert_array_equal(of_file.boxes, of_picture.boxes)


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (30, 3), (3, 30)])
@pytest.mark.parametrize("kind", ["detr", "rt_detr_v2"])
def test_a_tiny_picture_is_read_like_its_enlargement(detectors: Path, kind: str, size: tuple[int, int]) -> None:
    """The height of 3 is no number of channels."""
    small = drawn_picture().resize(size)
    large = small.resize((size[0] * 4, size[1] * 4), Image.Resampling.NEAREST)
    of_small, of_large = TransformersExtractor(str(detectors / kind)).extract([small, large])
    assert of_small.image_size == size
    np.testing.assert_allclose(of_small.boxes[0] * 4, of_large.boxes[0], atol=0.3 * max(size))


def test_a_picture_too_thin_to_be_prepared_costs_that_picture(detectors: Path) -> None:
    with pytest.raises(ImageError, match="a picture of 1 x 300 pixels cannot be prepared for the detector"):
        TransformersExtractor(str(detectors / "detr")).extract([Image.new("RGB", (1, 300), "blue")])
    (regions,) = TransformersExtractor(str(detectors / "d_fine")).extract([Image.new("RGB", (1, 300), "blue")])
    assert regions.image_size == (1, 300)


def test_what_is_sent_to_a_worker_has_no_weights_and_gives_the_same(detectors: Path) -> None:
    extractor = TransformersExtractor(str(detectors / "detr"))
    (before,) = extractor.extract([drawn_picture()])
    sent = pickle.dumps(extractor)
    (after,) = pickle.loads(sent).extract([drawn_picture()])
    assert len(sent) < 5000
    np.testing.assert_array_equal(before.features, after.features)


def test_nothing_is_said_where_all_is_well(detectors: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for kind in ("detr", "rt_detr_v2", "d_fine"):
        TransformersExtractor(str(detectors / kind)).extract([drawn_picture()])
    assert capfd.readouterr() == ("", "")


def test_limits_by_hand() -> None:
    """Five candidates of confidence .9 .5 .3 .2 .1, the fourth outside the picture."""
    boxes = torch.tensor([[0.0, 0, 5, 5], [1, 1, 9, 9], [2, 2, 30, 30], [20, 0, 30, 5], [0, 0, 1, 1]])
    probabilities = torch.tensor([[0.3, 0.1], [0.1, 0.9], [0.5, 0.2], [0.2, 0.0], [0.1, 0.0]])

    def kept(limits: Limits) -> list[float]:
        regions = best_regions(torch.arange(5.0)[:, None], boxes, probabilities, (10, 10), limits)
        assert regions.labels[0] == 1
        return regions.features[:, 0].tolist()

    assert kept(Limits(3, 1, 0.25)) == [1, 2, 0]
    assert kept(Limits(2, 1, 0.25)) == [1, 2]
    assert kept(Limits(4, 4, 0.4)) == [1, 2, 0, 4]
    assert kept(Limits(36, 10, 0.4)) == [1, 2, 0, 4]
    assert kept(Limits(36, 1, 0.4)) == [1, 2]


def test_a_box_that_reaches_out_of_the_picture_is_cut() -> None:
    boxes = corners(torch.tensor([[1.0, 0.5, 0.5, 2.0]]), (100, 50))
    assert boxes.tolist() == [[75, -25, 125, 75]]
    regions = best_regions(torch.zeros(1, 2), boxes, torch.ones(1, 1), (100, 50), Limits())
    assert regions.boxes.tolist() == [[75, 0, 100, 50]]


def test_the_boxes_of_a_huge_picture_are_in_its_own_pixels(detectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extractor, image = TransformersExtractor(str(detectors / "detr")), drawn_picture(200, 150)
    (before,) = extractor.extract([image])
    monkeypatch.setattr("interbert.vision.detectors.LARGEST_PIXELS", 10_000)
    (after,) = extractor.extract([image])
    assert after.image_size == before.image_size == (200, 150)
    np.testing.assert_allclose(after.boxes[0], before.boxes[0], atol=10)


def test_a_picture_without_any_box_costs_that_picture() -> None:
    with pytest.raises(ImageError, match="no box in a picture of 10 x 10"):
        best_regions(torch.zeros(1, 2), torch.tensor([[20.0, 0, 30, 5]]), torch.ones(1, 1), (10, 10), Limits())


def test_a_moved_folder_is_found_where_the_environment_says(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = Extractor.from_name(f"hf:{copied}").info
    moved = copied.rename(copied.with_name("moved"))
    with pytest.raises(InterbertError, match=f"there is no folder '{copied}'.*{ELSEWHERE}=hf:PLACE"):
        Extractor.from_info(info)
    monkeypatch.setenv(ELSEWHERE, f"hf:{moved}")
    assert info.difference(Extractor.from_info(info).info) is None


def test_other_weights_and_another_configuration_are_another_extractor(copied: Path, detectors: Path) -> None:
    info = Extractor.from_name(f"hf:{detectors / 'detr'}").info
    edit_json(copied / "config.json", transformers_version="0", architectures=["Other"])
    assert info.difference(Extractor.from_name(f"hf:{copied}").info) is None
    edit_json(copied / "preprocessor_config.json", size={"shortest_edge": 32, "longest_edge": 48})
    assert "config_sha256" in str(info.difference(Extractor.from_name(f"hf:{copied}").info))
    save_detector("detr", copied, seed=1)
    assert "weights_sha256" in str(info.difference(Extractor.from_name(f"hf:{copied}").info))


def test_a_preprocessor_as_the_first_detr_has_it_is_read(copied: Path, detectors: Path) -> None:
    edit_json(
        copied / "preprocessor_config.json",
        image_processor_type=None,
        feature_extractor_type="DetrFeatureExtractor",
        size=64,
        max_size=96,
    )
    (old,), (new,) = (
        TransformersExtractor(str(folder)).extract([drawn_picture()]) for folder in (copied, detectors / "detr")
    )
    np.testing.assert_array_equal(old.features, new.features)


def test_another_type_of_model_is_an_error_that_lists_the_known(copied: Path) -> None:
    edit_json(copied / "config.json", model_type="yolos")
    with pytest.raises(InterbertError, match=r"type 'yolos'; wanted a detector of type detr,.*rt_detr_v2, d_fine"):
        Extractor.from_name(f"hf:{copied}").info  # noqa: B018


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", [None, "", "[1]"])
def test_a_configuration_that_is_none_is_an_error(copied: Path, name: str, content: str | None) -> None:
    (copied / name).unlink()
    if content is not None:
        (copied / name).write_text(content)
    with pytest.raises(InterbertError, match=f"{name}'.*wanted"):
        Extractor.from_name(f"hf:{copied}").info  # noqa: B018


def test_weights_that_are_only_a_pickle_are_not_read(copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    with pytest.raises(InterbertError, match="no weights as safetensors"):
        Extractor.from_name(f"hf:{copied}").info  # noqa: B018


def test_a_program_in_the_folder_is_not_run(copied: Path) -> None:
    (copied / "own.py").write_text(f"open({str(copied / 'was-run')!r}, 'w')\nclass Own: pass\n")
    edit_json(copied / "config.json", auto_map={"AutoConfig": "own.Own", "AutoModelForObjectDetection": "own.Own"})
    (regions,) = TransformersExtractor(str(copied)).extract([drawn_picture()])
    assert len(regions) >= 10
    edit_json(
        copied / "preprocessor_config.json", image_processor_type="Own", auto_map={"AutoImageProcessor": "own.Own"}
    )
    with pytest.raises(InterbertError, match="transformers cannot load"):
        TransformersExtractor(str(copied)).extract([drawn_picture()])
    assert not (copied / "was-run").exists()


def test_weights_cut_in_the_middle_are_an_error(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(InterbertError, match="transformers cannot load"):
        TransformersExtractor(str(copied)).extract([drawn_picture()])


@pytest.mark.parametrize("change", [{"d_model": 32}, {"decoder_layers": 3}])
def test_weights_of_another_configuration_are_an_error(copied: Path, change: dict[str, int]) -> None:
    edit_json(copied / "config.json", **change)
    with pytest.raises(InterbertError, match=r"cannot load|weights are missing or of another size"):
        TransformersExtractor(str(copied)).extract([drawn_picture()])


def test_weights_without_use_are_counted(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit_json(copied / "config.json", decoder_layers=1)
    with caplog.at_level(logging.WARNING, "interbert"):
        TransformersExtractor(str(copied)).extract([drawn_picture()])
    assert "weights that the model has no use for, first model.decoder.layers.1" in caplog.text


def test_a_backbone_of_timm_gets_advice(copied: Path) -> None:
    edit_json(copied / "config.json", use_timm_backbone=True, backbone="resnet50", backbone_config=None)
    with pytest.raises(InterbertError, match="take a revision without"):
        TransformersExtractor(str(copied)).extract([drawn_picture()])


def test_without_transformers_the_error_says_how_to_get_it(detectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InterbertError, match=r"pip install 'interbert\[hf\]'"):
        import_transformers()


def test_a_broken_torchvision_is_left_aside_and_that_is_said(detectors: Path, tmp_path: Path) -> None:
    """As a build for another torch is: it is there, and importing it raises RuntimeError."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "part.py").write_text("")
    (package / "__init__.py").write_text("import torchvision.part\nraise RuntimeError('operator nms does not exist')\n")
    information = tmp_path / "torchvision-0.28.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    drawn_picture().save(tmp_path / "picture.png")
    code = (
        "import logging, sys; logging.basicConfig(); sys.path.insert(0, sys.argv[1])\n"
        "from interbert.vision.extractor import Extractor\n"
        "print(len(Extractor.from_name('hf:' + sys.argv[2]).extract([sys.argv[1] + '/picture.png'])[0]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(detectors / "rt_detr_v2")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) >= 10
    assert "torchvision is installed but broken (operator nms does not exist); it is left aside" in ended.stderr
