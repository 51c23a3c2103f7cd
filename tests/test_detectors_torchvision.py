"""Faster R-CNN of torchvision: with a stand-in of the few names that are used, and with torchvision where it is."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from detector_helpers import drawn_picture
from torch import Tensor, nn

from interbert.errors import InterbertError, UsageError
from interbert.vision import detectors, detectors_torchvision
from interbert.vision.boxes import box_iou
from interbert.vision.detectors_torchvision import ARCHITECTURES, TorchvisionExtractor, checked_digest
from interbert.vision.extractor import Extractor, Limits
from interbert.vision.hub import digest
from interbert.vision.images import ImageError

NAME = "fasterrcnn_resnet50_fpn_v2"
CATEGORIES = ["__background__", "cat", "dog", "bird"]
URL = "https://example.org/models/stand_in-{}.pth"


class Transform(nn.Module):
    """Half the size, as torchvision's changes sizes."""

    def forward(self, images: list[Tensor]) -> tuple[SimpleNamespace, None]:
        if min(images[0].shape) == 1:
            raise RuntimeError("sizes should be greater than 0\nand more")
        small = nn.functional.avg_pool2d(images[0][None], 2)
        return SimpleNamespace(tensors=small, image_sizes=[tuple(small.shape[-2:])]), None


class Proposals(nn.Module):
    """Four boxes of the halved picture: two that nearly agree, one elsewhere, one that reaches out of it."""

    def forward(self, pictures: SimpleNamespace, maps: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        boxes = [[0.0, 0, 20, 20], [0, 0, 20, 21], [20, 10, 40, 30], [30, 20, 60, 40]]
        return [torch.tensor(boxes)], {}


class Pool(nn.Module):
    def forward(self, maps: Tensor, boxes: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
        rows = [maps[0, :, int(y) : int(v), int(x) : int(u)].mean((1, 2)) for x, y, u, v in boxes[0].tolist()]
        return torch.stack(rows)


class Predictor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cls_score, self.bbox_pred = nn.Linear(1024, 4), nn.Linear(1024, 16)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(features), self.bbox_pred(features) * 0.0


class StandIn(nn.Module):
    """Named and called like torchvision's, with next to nothing inside; deltas are 0: boxes are the proposals."""

    def __init__(self) -> None:
        super().__init__()
        self.transform, self.rpn, self.backbone = Transform(), Proposals(), nn.Identity()
        self.roi_heads = nn.Module()
        self.roi_heads.box_roi_pool, self.roi_heads.box_predictor = Pool(), Predictor()
        self.roi_heads.box_head = nn.Linear(3, 1024)
        self.roi_heads.box_coder = SimpleNamespace(decode=lambda deltas, boxes: boxes[0][:, None].repeat(1, 4, 1))


def batched_nms(boxes: Tensor, scores: Tensor, labels: Tensor, overlap: float) -> Tensor:
    kept: list[int] = []
    for at in scores.argsort(descending=True).tolist():
        same = [k for k in kept if labels[k] == labels[at]]
        if not same or box_iou(boxes[at : at + 1], boxes[same]).max() <= overlap:
            kept.append(at)
    return torch.tensor(kept)


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    return boxes.clamp(min=0).minimum(torch.tensor([size[1], size[0], size[1], size[0]]))


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The stand-in as the module torchvision, and its weights where torch keeps downloads."""
    torch.manual_seed(0)
    model = StandIn()
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.weight.normal_(std=0.3)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(model.state_dict(), folder / "weights")
    path = folder / URL.format(checked_digest(folder / "weights")[:8]).rsplit("/")[-1]
    (folder / "weights").rename(path)
    weights = SimpleNamespace(url=URL.format(path.stem[-8:]), meta={"categories": CATEGORIES})
    module: Any = ModuleType("torchvision")
    module.ops = SimpleNamespace(batched_nms=batched_nms, clip_boxes_to_image=clip)
    module.models = SimpleNamespace(
        get_model=made_with_weights, get_model_weights=lambda name: SimpleNamespace(DEFAULT=weights)
    )
    monkeypatch.setitem(sys.modules, "torchvision", module)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return model


def made_with_weights(name: str, weights: SimpleNamespace, progress: bool) -> StandIn:
    """Reads the file as torchvision does: as a pickle that may hold anything."""
    model, path = StandIn(), Path(torch.hub.get_dir(), "checkpoints", weights.url.rsplit("/")[-1])
    model.load_state_dict(torch.load(path, weights_only=False))
    return model


def weights_path(tmp_path: Path) -> Path:
    return next((tmp_path / "hub" / "checkpoints").glob("*.pth"))


def test_the_features_are_what_the_predictor_reads(model: StandIn) -> None:
    (regions,) = TorchvisionExtractor(NAME, Limits(9, 1, 0.0)).extract([drawn_picture(80, 60)])
    with torch.inference_mode():
        logits, _ = model.roi_heads.box_predictor(torch.tensor(regions.features))
    wanted = logits.softmax(1)[:, 1:]
    np.testing.assert_allclose(regions.probabilities, wanted, atol=1e-6)
    assert (regions.labels == wanted.argmax(1).numpy()).all()
    np.testing.assert_allclose(regions.confidence, wanted.amax(1), atol=1e-6)
    assert (np.diff(regions.confidence) <= 0).all()


def test_boxes_are_in_pixels_of_the_picture_and_a_double_is_left_out(model: StandIn) -> None:
    (regions,) = TorchvisionExtractor(NAME, Limits(9, 1, 0.0)).extract([drawn_picture(80, 60)])
    found = sorted(regions.boxes.tolist())
    assert found[0] in ([0, 0, 40, 40], [0, 0, 40, 42])
    assert found[1:] == [[40, 20, 80, 60], [60, 40, 80, 60]]


def test_an_identity_names_classes_without_the_background(model: StandIn, tmp_path: Path) -> None:
    info = Extractor.from_name(f"torchvision:{NAME}", max_regions=20).info
    assert (info.name, info.feature_size, info.classes) == (f"torchvision:{NAME}", 1024, ("cat", "dog", "bird"))
    assert info.weights_sha256 == checked_digest(weights_path(tmp_path))
    assert info.settings["max_regions"] == 20
    assert Extractor.from_info(info).info == info


def test_what_is_sent_to_a_worker_has_no_weights(model: StandIn) -> None:
    extractor = TorchvisionExtractor(NAME)
    (before,) = extractor.extract([drawn_picture()])
    sent = pickle.dumps(extractor)
    (after,) = pickle.loads(sent).extract([drawn_picture()])
    assert len(sent) < 3000
    np.testing.assert_array_equal(before.features, after.features)


def test_a_huge_picture_is_made_smaller_first(model: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, "LARGEST_PIXELS", 2500)
    pixels = detectors_torchvision._tensor(drawn_picture(100, 101))
    assert pixels.shape == (3, 34, 34)  # by three; two would leave more than 2,500
    (regions,) = TorchvisionExtractor(NAME).extract([drawn_picture(160, 120)])
    assert regions.image_size == (160, 120)


def test_an_unknown_architecture_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="no detector of torchvision 'fasterrcnn_resnet50'; did you mean 'faster"):
        Extractor.from_name("torchvision:fasterrcnn_resnet50")


def test_a_picture_too_narrow_for_the_detector_is_an_error_of_the_picture(model: StandIn) -> None:
    with pytest.raises(ImageError, match=r"of 80 x 1 pixels cannot be prepared .*\(sizes should be greater than 0\)"):
        TorchvisionExtractor(NAME).extract([drawn_picture().resize((80, 1))])


def test_weights_are_fetched_to_where_torch_keeps_them(
    model: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights_path(tmp_path)
    there = path.rename(tmp_path / "there")
    path.parent.rmdir()
    asked = []

    def fetch(url: str, to: str, hash_prefix: str, progress: bool) -> None:
        asked.append((url.rsplit("/")[-1], hash_prefix))
        there.rename(to)

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    found = TorchvisionExtractor(NAME).info.weights_sha256
    assert asked == [(path.name, found[:8])]
    assert path.is_file()


def test_weights_that_are_not_there_and_cannot_be_fetched_are_an_error(
    model: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise OSError("no network")

    weights_path(tmp_path).unlink()
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(InterbertError, match=r"stand_in.*cannot be fetched \(no network\).*with the file at"):
        TorchvisionExtractor(NAME).info  # noqa: B018


def test_weights_that_are_damaged_are_an_error(model: StandIn, tmp_path: Path) -> None:
    path = weights_path(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InterbertError, match="is damaged: its sha256 begins with"):
        TorchvisionExtractor(NAME).info  # noqa: B018
    with pytest.raises(InterbertError, match="is damaged: its sha256 begins with"):
        TorchvisionExtractor(NAME).extract([drawn_picture()])


class Touching:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content", ["a program", "another model"])
def test_a_file_that_is_no_such_model_is_an_error_and_no_program_in_it_runs(
    content: str, model: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched = tmp_path / "touched"
    torch.save({"a": Touching(touched) if content == "a program" else torch.ones(1)}, weights_path(tmp_path))
    monkeypatch.setattr(detectors_torchvision, "checked_digest", lambda path: "")
    with pytest.raises(InterbertError, match="cannot be loaded"):
        TorchvisionExtractor(NAME).extract([drawn_picture()])
    assert not touched.exists()


@pytest.mark.parametrize("failure", [None, "operator torchvision::nms does not exist"])
def test_without_torchvision_the_error_says_how_to_get_it(
    failure: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    if failure is None:
        monkeypatch.setitem(sys.modules, "torchvision", None)
    else:
        (tmp_path / "torchvision.py").write_text(f"raise RuntimeError({failure!r})")
        monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InterbertError, match=rf"{failure or ''}.*pip install 'interbert\[torchvision\]'"):
        TorchvisionExtractor(NAME).info  # noqa: B018


def real_torchvision() -> Any:
    """The package, or the test is skipped: it is an extra, and one built for another torch cannot be imported."""
    try:
        import torchvision
    except Exception as error:
        pytest.skip(f"no torchvision that works with this torch: {error}")
    return torchvision


@pytest.fixture
def real(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """A detector as torchvision makes it, and its published entry; the weights random, under the published name.

    Their normalisation has variances far below usual epsilons, which is where builds of the same model differ.
    """
    torchvision = real_torchvision()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(detectors_torchvision, "checked_digest", lambda path: digest([path]))
    torch.manual_seed(0)
    state = torchvision.models.get_model(request.param, weights=None, weights_backbone=None).state_dict()
    for name in [name for name in state if name.endswith("running_var")]:
        state[name] = 10 ** (-7 * torch.rand_like(state[name]))
        state[name.replace("running_var", "weight")] = state[name].sqrt()
    state["roi_heads.box_predictor.cls_score.weight"] *= 20
    weights = torchvision.models.get_model_weights(request.param).DEFAULT
    path = tmp_path / "hub" / "checkpoints" / weights.url.rsplit("/")[-1]
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    model = torchvision.models.get_model(request.param, weights=weights).eval()
    return model, weights


real_ones = pytest.mark.parametrize("real", ARCHITECTURES, indirect=True)
of_what_torchvision_imports = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@of_what_torchvision_imports
@real_ones
def test_regions_are_what_torchvision_itself_finds_before_it_chooses(
    real: tuple[Any, Any], request: pytest.FixtureRequest
) -> None:
    """Box, label and score of each are of its own forward pass, and the features what its predictor reads."""
    (model, weights), image = real, drawn_picture(160, 120)
    extractor = TorchvisionExtractor(request.node.callspec.params["real"])
    model.transform.min_size = extractor.detector.transform.min_size = (200,)  # 800 or 320, which takes long
    (regions,) = extractor.extract([image])
    assert extractor.info.classes == tuple(weights.meta["categories"][1:])
    assert model.roi_heads.nms_thresh == detectors_torchvision.OVERLAP
    heads, seen = model.roi_heads, []
    heads.score_thresh, heads.nms_thresh, heads.detections_per_img = 0.0, 1.0, 10**6
    heads.box_predictor.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        (theirs,) = model([weights.transforms()(image)])
    for row in range(len(regions)):
        features = torch.tensor(regions.features[row])
        assert (seen[0] - features).abs().amax(1).min() <= 1e-4 * features.abs().max()
        distance = (theirs["boxes"] - torch.tensor(regions.boxes[row])).abs().amax(1) / 160
        distance += (theirs["scores"] - float(regions.confidence[row])).abs()
        assert distance[theirs["labels"] == int(regions.labels[row]) + 1].min() < 1e-5


@of_what_torchvision_imports
@pytest.mark.parametrize("real", ARCHITECTURES[-1:], indirect=True)
def test_a_picture_without_a_proposal_or_too_narrow_is_an_error_of_the_picture(real: tuple[Any, Any]) -> None:
    extractor = TorchvisionExtractor(ARCHITECTURES[-1])
    with pytest.raises(ImageError, match="of 3000 x 1 pixels cannot be prepared"):
        extractor.extract([drawn_picture().resize((3000, 1))])
    extractor.detector.rpn.score_thresh = 1.1
    with pytest.raises(ImageError, match="found no box"):
        extractor.extract([drawn_picture()])


@of_what_torchvision_imports
@pytest.mark.parametrize("real", ARCHITECTURES[-1:], indirect=True)
def test_pictures_of_unlike_sizes_in_one_call_give_what_they_give_one_by_one(real: tuple[Any, Any]) -> None:
    extractor = TorchvisionExtractor(ARCHITECTURES[-1])
    pictures = [drawn_picture(80, 60), drawn_picture().resize((1, 1)), drawn_picture(60, 333)]
    for picture, regions in zip(pictures, extractor.extract(pictures), strict=True):
        (alone,) = extractor.extract([picture])
        np.testing.assert_array_equal(regions.features, alone.features)
        np.testing.assert_array_equal(regions.boxes, alone.boxes)
        assert regions.image_size == picture.size
