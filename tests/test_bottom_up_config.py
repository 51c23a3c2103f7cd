"""The two published YAML files -> one config; what would be another network is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from bottom_up_helpers import SIZES, published_yaml, small_config, small_detector

from interbert.errors import InterbertError
from interbert.vision.bottom_up_config import (
    BottomUpConfig,
    BottomUpSizes,
    published_config,
    read_config,
    read_converted_config,
    write_config,
)


def written(folder: Path, content: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def changed(layout: str, name: str, value: Any) -> dict[str, Any]:
    """The settings of a small detector, with one that differs."""
    content = published_yaml(small_detector(layout))
    at: dict[str, Any] = content
    *parts, last = name.split(".")
    for part in parts:
        at = at.setdefault(part, {})
    at[last] = value
    return content


@pytest.mark.parametrize("layout", ["unc", "caffe"])
def test_a_published_file_says_settings_and_sizes(tmp_path: Path, layout: str) -> None:
    model = small_detector(layout)
    read = read_config(written(tmp_path, published_yaml(model)))
    assert read.config == model.config
    assert {name: getattr(SIZES, name) for name in read.sizes} == dict(read.sizes)
    assert {"classes", "attributes"} <= set(read.sizes)


def test_without_a_file_milvlgs_published_settings_hold() -> None:
    config = published_config()
    assert (config.layout, config.shortest_side, config.longest_side) == ("caffe", 600, 1000)
    assert (config.proposals_considered, config.proposals, config.smallest_proposal) == (6000, 300, 16)
    assert config.anchor_scales == (4, 8, 16, 32)


def test_yacs_writes_tuples_as_text(tmp_path: Path) -> None:
    content = changed("caffe", "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", "(10.0, 10.0, 5.0, 5.0)")
    assert read_config(written(tmp_path, content)).config.box_weights == (10, 10, 5, 5)


def test_one_limit_alone_is_a_list_of_one(tmp_path: Path) -> None:
    content = changed("unc", "roi_heads.nms_thresh_test", 0.5)
    assert read_config(written(tmp_path, content)).config.final_overlaps == (0.5,)


@pytest.mark.parametrize(
    ("layout", "name", "value"),
    [
        ("unc", "resnets.depth", 152),
        ("unc", "resnets.stride_in_1x1", False),
        ("unc", "resnets.num_groups", 32),
        ("unc", "input.format", "RGB"),
        ("unc", "roi_box_head.pooler_type", "ROIAlign"),
        ("unc", "roi_box_head.res5halve", True),
        ("unc", "rpn.nms_thresh", "much"),
        ("unc", "rpn.post_nms_topk_test", 0.5),
        ("unc", "model.pixel_mean", [1, 2]),
        ("caffe", "MODEL.META_ARCHITECTURE", "GeneralizedRCNN"),
        ("caffe", "MODEL.RESNETS.RES5_DILATION", 1),
        ("caffe", "MODEL.BUA.ATTRIBUTE_ON", False),
        ("caffe", "MODEL.ROI_HEADS.NAME", "BUADetection2Res5ROIHeads"),
        ("caffe", "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", "(1, boom())"),
    ],
)
def test_another_network_is_an_error_that_names_the_setting(tmp_path: Path, layout: str, name: str, value: Any) -> None:
    with pytest.raises(InterbertError, match=name):
        read_config(written(tmp_path, changed(layout, name, value)))


def test_what_unc_nlps_publications_differ_in_has_no_default(tmp_path: Path) -> None:
    content = published_yaml(small_detector("unc"))
    del content["input"]["min_size_test"]
    with pytest.raises(InterbertError, match=r"lacks input\.min_size_test"):
        read_config(written(tmp_path, content))


@pytest.mark.parametrize("content", ["a: [", "- 1", "weights: x", "", "!!python/object/apply:os.getcwd []"])
def test_what_is_no_config_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(InterbertError, match="config"):
        read_config(written(tmp_path, content))


def test_half_a_config_is_an_error(tmp_path: Path) -> None:
    content = published_yaml(small_detector("caffe")) | {"_BASE_": "base.yaml"}
    with pytest.raises(InterbertError, match=r"builds on base\.yaml"):
        read_config(written(tmp_path, content))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match=r"nowhere\.yaml"):
        read_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("wrong", [{"proposals": 0}, {"shortest_side": 500}, {"layout": "darknet"}], ids=str)
def test_settings_that_make_no_sense_are_errors(wrong: dict[str, Any]) -> None:
    with pytest.raises(InterbertError, match=r"got"):
        BottomUpConfig(**{"layout": "unc", "shortest_side": 100, "longest_side": 200, **wrong})


def test_a_converted_config_is_read_as_it_was_written(tmp_path: Path) -> None:
    config = small_config("caffe", smallest_proposal=3.5)
    write_config(tmp_path / "config.json", config, SIZES)
    assert read_converted_config(tmp_path / "config.json") == (config, SIZES)


@pytest.mark.parametrize("content", ["{", "[]", '{"kind": "InterBERT"}', '{"kind": "bottom-up detector", "new": 1}'])
def test_a_config_of_something_else_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InterbertError, match=r"config\.json"):
        read_converted_config(tmp_path / "config.json")


def test_the_published_sizes_are_the_default() -> None:
    sizes = BottomUpSizes()
    assert (sizes.features, sizes.classes, sizes.attributes, sum(sizes.blocks)) == (2048, 1600, 400, 33)
