from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from interbert.errors import InterbertError, UsageError
from interbert.vision import centernet, embedded, embedded_weights
from interbert.vision.centernet import Maps
from interbert.vision.embedded import EmbeddedExtractor, Selection, choose


@pytest.fixture(scope="session")
def weights() -> Path:
    """The folder of the weights; fetched where they are not there yet."""
    return embedded_weights.install()


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "interbert" / "centernet"


def maps(*scores: float) -> Maps:
    """Peaks of class 5 with these scores, well apart, in a picture of 512 x 512 pixels."""
    heat = torch.zeros(80, 128, 128)
    for at, score in enumerate(scores):
        heat[5, 8 + 16 * (at // 7), 8 + 16 * (at % 7)] = score
    sides, head, deep = torch.full((4, 128, 128), 10.0), torch.zeros(128, 128, 128), torch.zeros(480, 16, 16)
    return Maps(heat, sides, head, deep, 1.0, (512, 512))


def confidences(selection: Selection, *scores: float) -> list[float]:
    return [round(score, 3) for score in choose(maps(*scores), selection).scores.tolist()]


def test_all_sure_detections_become_regions_best_first():
    selection = Selection(fill="scores", max_regions=3, min_regions=1, min_confidence=0.3)
    assert confidences(selection, 0.4, 0.9, 0.2) == [0.9, 0.4]
    assert confidences(selection, 0.4, 0.9, 0.5, 0.6) == [0.9, 0.6, 0.5]


def test_lower_scores_fill_the_minimum():
    selection = Selection(max_regions=5, min_regions=3, min_confidence=0.3, fill="scores")
    assert confidences(selection, 0.9, 0.2, 0.1, 0.05) == [0.9, 0.2, 0.1]


def test_the_grid_fills_the_minimum_where_it_is_asked_for():
    selection = Selection(max_regions=10, min_regions=3, min_confidence=0.3, fill="grid", grid=2)
    assert confidences(selection, 0.9, 0.2) == [0.9, 0.9, 0, 0, 0]  # the peaks are in the first cell
    assert confidences(selection, 0.9, 0.8, 0.7) == [0.9, 0.8, 0.7]


def test_the_grid_may_be_added_always_within_the_maximum():
    selection = Selection(max_regions=6, min_regions=1, min_confidence=0.3, fill="detections+grid", grid=2)
    assert confidences(selection, 0.9, 0.8, 0.7) == [0.9, 0.8, 0.9, 0, 0, 0]
    assert confidences(selection, 0.2) == [0.2, 0, 0, 0]


@pytest.mark.parametrize("fill", ["grid", "detections+grid"])
def test_where_the_grid_is_smaller_than_the_minimum_lower_scores_help(fill):
    selection = Selection(max_regions=8, min_regions=6, min_confidence=0.5, fill=fill, grid=2)
    assert confidences(selection, 0.4, 0.3, 0.2) == [0.4, 0.3, 0.4, 0, 0, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_regions": 40},
        {"min_regions": 0},
        {"min_confidence": 1.5},
        {"fill": "stars"},
        {"grid": 0},
        {"fill": "detections+grid", "grid": 6},
    ],
)
def test_a_selection_that_cannot_be_is_refused(wrong):
    with pytest.raises(UsageError, match=r"got|grid"):
        Selection(**wrong)


def test_a_backend_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="wanted auto, torch or onnxruntime"):
        EmbeddedExtractor(backend="cuda")


def test_everything_that_changes_a_number_is_in_the_identity():
    one, other = EmbeddedExtractor(), EmbeddedExtractor(Selection(fill="grid"))
    assert one.info.difference(other.info) is not None
    assert one.info.difference(EmbeddedExtractor(backend="torch").info) is None
    assert (one.info.feature_size, len(one.info.classes)) == (736, 80)


@pytest.mark.parametrize("colour", ["black", "white", "gray"])
def test_an_even_picture_has_the_minimum_of_regions(weights: Path, colour: str):
    (regions,) = EmbeddedExtractor().extract([Image.new("RGB", (90, 60), colour)])
    assert 10 <= len(regions) <= 36
    assert regions.features.shape[1] == 736
    assert regions.probabilities.shape == (len(regions), 80)
    assert regions.boxes[:, 2].max() <= 90
    assert regions.boxes[:, 3].max() <= 60


def test_a_very_narrow_picture_has_regions(weights: Path):
    (regions,) = EmbeddedExtractor().extract([Image.new("RGB", (2000, 2), "red")])
    assert len(regions) >= 10


@pytest.mark.shared_data
def test_a_zebra_is_seen(weights: Path, shared: Path):
    (regions,) = EmbeddedExtractor().extract([shared / "data/coco/images/000000000034.jpg"])
    assert centernet.CLASSES[regions.labels[0]] == "zebra"
    assert regions.confidence[0] > 0.8
    assert regions.confidence[0] == pytest.approx(regions.probabilities[0].max())
    assert np.allclose(regions.boxes[0], [4, 9, 261, 240], atol=2)


def test_an_extractor_travels_without_its_network(weights: Path):
    extractor = EmbeddedExtractor(backend="torch")
    before = len(pickle.dumps(extractor))
    extractor.extract([Image.new("RGB", (64, 64))])
    assert len(pickle.dumps(extractor)) == before
    assert pickle.loads(pickle.dumps(extractor)) == extractor


def test_missing_weights_are_an_error_that_says_what_to_do(empty_cache: Path):
    with pytest.raises(InterbertError, match=r"--install.*npm.*bottom-up:WEIGHTS"):
        EmbeddedExtractor().extract([Image.new("RGB", (64, 64))])


def test_damaged_weights_are_an_error(empty_cache: Path):
    empty_cache.mkdir(parents=True)
    for name in embedded_weights.FILES:
        (empty_cache / name).write_bytes(b"x")
    with pytest.raises(InterbertError, match="damaged"):
        EmbeddedExtractor().extract([Image.new("RGB", (64, 64))])


def test_the_command_installs_and_says_where(weights: Path, capsys: pytest.CaptureFixture[str]):
    assert embedded.main(["--install"]) == 0
    assert str(weights) in capsys.readouterr().err
    assert embedded.main([]) == 2


def test_it_says_what_it_runs_on(weights: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO"):
        EmbeddedExtractor(backend="torch").extract([Image.new("RGB", (64, 64))] * 2)
    assert caplog.messages == ["extractor 'embedded' runs on torch"]


def test_torch_alone_is_used_where_onnxruntime_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded.importlib.util, "find_spec", lambda name: None if name == "onnx" else name)
    assert EmbeddedExtractor().about() == (
        "extractor 'embedded' runs on torch; onnx and onnxruntime would make it faster"
    )
