"""Published weights: every key is known, and nothing but tensors is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bottom_up_helpers import SIZES, published_tensors, small_detector

from interbert.errors import InterbertError
from interbert.vision.bottom_up import BottomUp
from interbert.vision.bottom_up_config import BottomUpSizes, published_config
from interbert.vision.bottom_up_weights import ANCHORS, bottom_up_from, digest, published_names, read_tensors, sizes_of

LAYOUTS = pytest.mark.parametrize("layout", ["unc", "caffe"])


class MakesFile:
    """As a pickle, a program that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mknod, (str(self.path),)


@LAYOUTS
def test_weights_come_in_as_they_are(layout: str) -> None:
    model = small_detector(layout)
    read = bottom_up_from(published_tensors(model), model.config, "file")
    assert read.sizes == SIZES
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in read.state_dict().items())


@LAYOUTS
def test_the_published_network_has_the_published_keys(layout: str) -> None:
    config = small_detector(layout).config
    with torch.device("meta"):
        model = BottomUp(config, BottomUpSizes())
    names = published_names(model)
    assert len(set(names.values())) == len(model.state_dict()) == 536
    assert sum(tensor.numel() for tensor in model.state_dict().values()) == pytest.approx(65.5e6, rel=0.002)
    shapes = {names[ours]: list(tensor.shape) for ours, tensor in model.state_dict().items()}
    pair, boxes = (1, 6400) if layout == "unc" else (2, 6404)
    assert shapes["backbone.res4.22.conv2.weight"] == [256, 256, 3, 3]
    assert shapes["roi_heads.res5.0.shortcut.norm.running_var"] == [2048]
    assert shapes["proposal_generator.rpn_head.objectness_logits.weight"] == [12 * pair, 512, 1, 1]
    assert shapes["roi_heads.box_predictor.bbox_pred.weight"] == [boxes, 2048]
    assert shapes["roi_heads.box_predictor.cls_score.weight"] == [1601, 2048]
    name = "fc_attr" if layout == "unc" else "attr_linear1"
    assert shapes[f"roi_heads.box_predictor.{name}.weight"] == [512, 2304]


def test_counters_of_norms_are_left_out() -> None:
    model = small_detector()
    tensors = published_tensors(model) | {"backbone.stem.conv1.norm.num_batches_tracked": torch.tensor(7)}
    assert digest(bottom_up_from(tensors, model.config, "file")) == digest(model)


@LAYOUTS
def test_missing_anchors_are_made_from_the_config(layout: str) -> None:
    model = small_detector(layout)
    tensors = published_tensors(model)
    del tensors[ANCHORS]
    assert torch.equal(bottom_up_from(tensors, model.config, "file").rpn.anchors, model.rpn.anchors)


def test_unknown_and_missing_keys_and_wrong_shapes_are_listed() -> None:
    model = small_detector()
    tensors = published_tensors(model) | {"roi_heads.mask.weight": torch.zeros(1)}
    del tensors["backbone.res3.0.conv2.norm.bias"]
    tensors["roi_heads.box_predictor.fc_attr.bias"] = torch.zeros(3)
    with pytest.raises(InterbertError) as error:
        bottom_up_from(tensors, model.config, "weights.bin")
    assert "weights.bin" in str(error.value)
    assert "unknown key roi_heads.mask.weight" in str(error.value)
    assert "missing: backbone.res3.0.conv2.norm.bias" in str(error.value)
    assert "fc_attr.bias: got shape (3,), wanted (8,)" in str(error.value)


def test_many_problems_are_counted() -> None:
    model = small_detector()
    few = {name: tensor for name, tensor in published_tensors(model).items() if not name.startswith("backbone")}
    with pytest.raises(InterbertError, match=r"and \d+ more"):
        bottom_up_from(few, model.config, "weights.bin")


def test_another_model_is_named_as_one() -> None:
    with pytest.raises(InterbertError, match=r"another model.*bert\.pooler"):
        bottom_up_from({"bert.pooler.weight": torch.zeros(1)}, published_config(), "weights.bin")


def test_weights_and_config_of_two_layouts_do_not_mix() -> None:
    with pytest.raises(InterbertError, match="layout 'unc', its config of 'caffe'"):
        bottom_up_from(published_tensors(small_detector("unc")), small_detector("caffe").config, "file")


def test_sizes_are_those_of_the_shapes() -> None:
    model = small_detector("caffe")
    assert sizes_of(published_tensors(model), model.config) == SIZES


@pytest.mark.parametrize("wrap", [lambda tensors: tensors, lambda tensors: {"model": tensors, "iteration": 5}])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_is_read_flat_or_under_model_and_in_torchs_old_format(tmp_path: Path, wrap: Any, zipped: bool) -> None:
    tensors = published_tensors(small_detector())
    torch.save(wrap(tensors), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    read = read_tensors(tmp_path / "w.pth")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())


def test_a_malicious_pickle_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(1), "b": MakesFile(tmp_path / "made")}}, tmp_path / "w.pth")
    with pytest.raises(InterbertError, match=r"posix\.mknod"):
        read_tensors(tmp_path / "w.pth")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_an_error(tmp_path: Path, share: float) -> None:
    torch.save(published_tensors(small_detector()), tmp_path / "w.pth")
    content = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InterbertError, match=r"w\.pth"):
        read_tensors(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [[1, 2], {}, {"a": 1}, {"model": {}}], ids=str)
def test_a_file_without_a_table_of_tensors_is_an_error(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InterbertError, match="tensors"):
        read_tensors(tmp_path / "w.pth")


def test_arrays_of_numpy_are_not_run_either(tmp_path: Path) -> None:
    torch.save({"a": np.zeros(3)}, tmp_path / "w.pth")
    with pytest.raises(InterbertError, match="numpy"):
        read_tensors(tmp_path / "w.pth")


def test_numbers_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    torch.save({"a": torch.tensor([1.0, float("nan")])}, tmp_path / "w.pth")
    with pytest.raises(InterbertError, match="not finite"):
        read_tensors(tmp_path / "w.pth")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="does not exist"):
        read_tensors(tmp_path / "w.pth")


def test_the_digest_is_of_the_numbers() -> None:
    model = small_detector()
    before = digest(model)
    assert digest(small_detector()) == before
    model.res5[1].conv3.norm.bias[0] += 1
    assert digest(model) != before
