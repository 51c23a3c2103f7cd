"""The comparison itself: what is off is found, named and measured. On real recordings it runs in tests/conformance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bottom_up_helpers import noise, small_detector
from safetensors.torch import save_file
from torch import Tensor

from interbert.errors import InterbertError
from interbert.vision.bottom_up import BottomUp
from interbert.vision.bottom_up_check import Difference, check_detector
from interbert.vision.bottom_up_input import resized


@pytest.fixture(scope="module")
def model() -> BottomUp:
    return small_detector("unc")


@pytest.fixture
def recorded(model: BottomUp) -> dict[str, Tensor]:
    """A few stages of one picture, by ways of their own."""
    picture = resized(noise(90, 60), model.config)
    with torch.inference_mode():
        states = dict(model.stages(picture.pixels))["res4"]
        scores = model.rpn(states)[0]
        proposals, found = model(picture)
    return {
        "one/size_original_hw": torch.tensor([60, 90]),
        "one/image": picture.pixels,
        "one/backbone.res4": states[0].contiguous(),
        "one/rpn.objectness_map": scores.contiguous(),
        "one/roi.features": found.features,
        "one/roi.best_class": found.class_logits[:, :-1].argmax(1),
    }


def fixture(folder: Path, tensors: dict[str, Tensor]) -> Path:
    (folder / "images").mkdir()
    noise(90, 60).save(folder / "images" / "one.png")
    save_file(tensors, folder / "outputs.safetensors")
    return folder


def test_what_is_the_same_is_fine(model: BottomUp, recorded: dict[str, Tensor], tmp_path: Path) -> None:
    differences = check_detector(model, fixture(tmp_path, recorded))
    assert [d.stage for d in differences] == [key.removeprefix("one/") for key in recorded]
    assert all(difference.fine for difference in differences)


@pytest.mark.parametrize(("stage", "by"), [("image", 1e-3), ("roi.features", 2e-5), ("roi.best_class", 1)])
def test_what_is_off_is_named_and_measured(
    model: BottomUp, recorded: dict[str, Tensor], tmp_path: Path, stage: str, by: float
) -> None:
    recorded[f"one/{stage}"] = recorded[f"one/{stage}"].clone()
    recorded[f"one/{stage}"].flatten()[-1] += by
    off = [d for d in check_detector(model, fixture(tmp_path, recorded)) if not d.fine]
    assert [difference.stage for difference in off] == [stage]
    assert off[0].largest == pytest.approx(by, rel=0.2)


def test_a_little_off_is_fine_within_the_limit(model: BottomUp, recorded: dict[str, Tensor], tmp_path: Path) -> None:
    recorded["one/image"] = recorded["one/image"] + 1e-4
    (image,) = [d for d in check_detector(model, fixture(tmp_path, recorded)) if d.stage == "image"]
    assert image.fine
    assert image.largest > 5e-5


def test_another_shape_is_off(model: BottomUp, recorded: dict[str, Tensor], tmp_path: Path) -> None:
    recorded["one/roi.features"] = recorded["one/roi.features"][:-1]
    off = [d for d in check_detector(model, fixture(tmp_path, recorded)) if not d.fine]
    assert [d.stage for d in off] == ["roi.features"]
    assert "got shape" in str(off[0])


def test_numbers_that_are_not_finite_are_off(model: BottomUp, recorded: dict[str, Tensor], tmp_path: Path) -> None:
    recorded["one/roi.features"] = recorded["one/roi.features"] * float("nan")
    assert [d.stage for d in check_detector(model, fixture(tmp_path, recorded)) if not d.fine] == ["roi.features"]


def test_a_stage_that_the_layout_does_not_have_is_an_error(
    model: BottomUp, recorded: dict[str, Tensor], tmp_path: Path
) -> None:
    recorded["one/given.features"] = torch.zeros(2, 128)
    with pytest.raises(InterbertError, match=r"given\.features of 'one'"):
        check_detector(model, fixture(tmp_path, recorded))


def test_a_fixture_must_have_its_pictures_and_keys(
    model: BottomUp, recorded: dict[str, Tensor], tmp_path: Path
) -> None:
    fixture(tmp_path, recorded)
    (tmp_path / "images" / "one.png").rename(tmp_path / "images" / "two.png")
    with pytest.raises(InterbertError, match="0 pictures named 'one'"):
        check_detector(model, tmp_path)
    save_file({"image": torch.zeros(1)}, tmp_path / "outputs.safetensors")
    with pytest.raises(InterbertError, match="PICTURE/STAGE"):
        check_detector(model, tmp_path)
    (tmp_path / "outputs.safetensors").write_bytes(b"cut")
    with pytest.raises(InterbertError, match=r"outputs\.safetensors' cannot be read"):
        check_detector(model, tmp_path)


def test_a_difference_reads_as_a_line() -> None:
    assert str(Difference("roi.features", 3.24e-6, 1e-5, 3)) == "ok   roi.features: 3.2e-06 (limit 1e-05)"
    assert str(Difference("final.keep", 4, 0, 3)) == "OFF  final.keep: 4.0e+00"
    assert str(Difference("final.keep", 0, 0, 3)) == "ok   final.keep: equal"
