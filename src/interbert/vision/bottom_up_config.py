"""The settings of a bottom-up detector: out of the two published YAML files, or of a converted folder's `config.json`.

Two projects published weights of the same network, and compute with them in slightly different ways. `layout` names
which: "unc" is `unc-nlp/frcnn-vg-finetuned`, "caffe" is MILVLG's `bua-caffe-frcn-r101-k10-100.pth` (and k36), which
keeps the arithmetic of the original Caffe model, whose features the paper used.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml  # type: ignore[import-untyped]  # comes with huggingface_hub

from interbert.errors import InterbertError
from interbert.files import write_json

Layout = Literal["unc", "caffe"]
Four = tuple[float, float, float, float]
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # depth -> blocks of res2, res3, res4, res5
_KIND = "bottom-up detector"


@dataclass(frozen=True)
class BottomUpSizes:
    """Channels and counts, which the weights' shapes say; those here are the published ones.

    width: bottleneck of res2.  res2: its output; res4 has 4 times, res5 (the region features) 8 times as many.
    rpn: channels between the feature map and the proposals.  anchors: at each place.  classes, attributes: without
    background and "no attribute".  embedding, attribute_hidden: of the attribute head.
    """

    stem: int = 64
    width: int = 64
    res2: int = 256
    blocks: tuple[int, int, int, int] = BLOCKS[101]
    rpn: int = 512
    anchors: int = 12
    classes: int = 1600
    attributes: int = 400
    embedding: int = 256
    attribute_hidden: int = 512

    @property
    def features(self) -> int:
        return 8 * self.res2


@dataclass(frozen=True)
class BottomUpConfig:
    """What the weights alone don't say. Sides and boxes are in pixels of the resized picture unless said otherwise.

    shortest_side, longest_side: the picture is scaled to the first, unless its other side would exceed the second.
    proposals_considered, proposals: before and after suppression.  proposal_overlap: IoU from which on one yields to a
    better one.  smallest_proposal: side, which must be exceeded ("caffe": in pixels of the file).
    proposal_weights, box_weights: divisors of the four deltas.  final_overlaps: of the rule "final", walked upwards
    until `final_min` boxes are left; `final_max` are kept.  anchor_scales, anchor_ratios: for weights without anchors.
    """

    layout: Layout
    shortest_side: int
    longest_side: int
    pixel_mean: tuple[float, float, float] = (102.9801, 115.9465, 122.7717)  # B, G, R
    pixel_std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    proposals_considered: int = 6000
    proposals: int = 300
    proposal_overlap: float = 0.7
    smallest_proposal: float = 0.0
    proposal_weights: Four = (1.0, 1.0, 1.0, 1.0)
    box_weights: Four = (1.0, 1.0, 1.0, 1.0)
    pooled_side: int = 14
    final_overlaps: tuple[float, ...] = ()
    final_min: int = 36
    final_max: int = 36
    anchor_scales: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0)
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise InterbertError(f"layout: got {self.layout!r}, wanted unc or caffe")
        counts = ("shortest_side", "longest_side", "proposals_considered", "proposals", "pooled_side", "final_max")
        for name in counts:
            if getattr(self, name) < 1:
                raise InterbertError(f"{name}: got {getattr(self, name)}, wanted 1 or more")
        if self.shortest_side > self.longest_side:
            raise InterbertError(f"sides: got shortest {self.shortest_side}, longest {self.longest_side}")

    @property
    def caffe(self) -> bool:
        """Whether boxes are Caffe's, whose corners are pixels, not edges: a side is x2 - x1 + 1."""
        return self.layout == "caffe"

    @property
    def foreground(self) -> slice:
        """The columns of class and attribute scores that are not the background, or "no attribute"."""
        return slice(1, None) if self.caffe else slice(None, -1)


def write_config(path: Path, config: BottomUpConfig, sizes: BottomUpSizes) -> None:
    """`config.json` of a converted folder."""
    write_json(path, {"kind": _KIND, **asdict(config), "sizes": asdict(sizes)})


def read_converted_config(path: Path) -> tuple[BottomUpConfig, BottomUpSizes]:
    """What `write_config` wrote. Raises InterbertError where it is missing, damaged, newer, or something else's."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InterbertError(f"'{path}' cannot be read as a detector's config ({error})") from error
    if not isinstance(value, dict) or value.pop("kind", None) != _KIND:
        raise InterbertError(f"'{path}' is not the config of a bottom-up detector; choose another folder")
    sizes = value.pop("sizes", {})
    try:
        return BottomUpConfig(**_tuples(value)), BottomUpSizes(**_tuples(sizes))
    except (TypeError, AttributeError) as error:  # a setting that is unknown here, or none
        raise InterbertError(f"'{path}' is damaged or of a newer interbert ({error}); convert again") from error


@dataclass(frozen=True)
class PublishedConfig:
    """What a YAML file says. sizes: fields of `BottomUpSizes`, those that are stated; the weights must have them."""

    path: Path
    config: BottomUpConfig
    sizes: Mapping[str, Any]


def published_config() -> BottomUpConfig:
    """What MILVLG's file states. Of unc-nlp's, not everything is known."""
    return _caffe(_Settings({}, Path("no config")))


def read_config(path: str | Path) -> PublishedConfig:
    """The settings in a published YAML file: unc-nlp's `config.yaml` or MILVLG's `test-caffe-r101.yaml`.

    Raises InterbertError where there is none, it is damaged, of another model, or asks for what is not built here.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise InterbertError(f"'{path}' cannot be read as YAML ({why}); wanted the detector's config") from error
    if isinstance(content, dict) and "_BASE_" in content:
        raise InterbertError(f"'{path}' builds on {content['_BASE_']}; put the settings of both into one file")
    if isinstance(content, dict) and "model" in content:
        given = _Settings(content, path)
        return PublishedConfig(path, _unc(given), _stated(given, _UNC_SIZES))
    if isinstance(content, dict) and "MODEL" in content:
        given = _Settings(content, path)
        return PublishedConfig(path, _caffe(given), _stated(given, _CAFFE_SIZES))
    raise InterbertError(
        f"'{path}' is not the config of a bottom-up detector: it has neither 'model' (unc-nlp) nor 'MODEL' (MILVLG)"
    )


class _Settings:
    """A YAML file's nested settings by dotted names."""

    def __init__(self, content: dict[str, Any], path: Path) -> None:
        self._content, self._path = content, path

    def get(self, name: str, default: Any = None) -> Any:
        """The value of `name`; a string that is a Python tuple is read as one, as YACS does: "(1.0, 1.0)"."""
        value: Any = self._content
        for part in name.split("."):
            if not isinstance(value, dict) or part not in value:
                if default is None:
                    raise InterbertError(f"'{self._path}' lacks {name}, which this detector needs")
                return default
            value = value[part]
        if isinstance(value, str) and value[:1] in "([":
            try:
                return ast.literal_eval(value)
            except (ValueError, SyntaxError) as error:
                raise self._wrong(name, value, "numbers") from error
        return value

    def must_be(self, name: str, *wanted: Any) -> None:
        """Raises InterbertError where `name` is stated and none of `wanted`: the network would be another."""
        got = self.get(name, wanted[0])
        if got not in wanted:
            raise self._wrong(name, got, " or ".join(map(str, wanted)))

    def number(self, name: str, default: float | None = None) -> float:
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, value, "a number")
        return float(value)

    def whole(self, name: str, default: int | None = None) -> int:
        value = self.number(name, default)
        if value != int(value):
            raise self._wrong(name, value, "a whole number")
        return int(value)

    def numbers(self, name: str, default: tuple[float, ...] | None = None, count: int | None = None) -> Any:
        """A tuple of floats; a number alone is one, and [[a, b]] (one list for each feature map) is a, b."""
        value = self.get(name, default)
        value = [value] if isinstance(value, int | float) else value
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list | tuple):
            value = value[0]
        if not isinstance(value, list | tuple) or not all(isinstance(entry, int | float) for entry in value):
            raise self._wrong(name, value, "numbers")
        if count is not None and len(value) != count:
            raise self._wrong(name, value, f"{count} numbers")
        return tuple(float(entry) for entry in value)

    def _wrong(self, name: str, got: Any, wanted: str) -> InterbertError:
        return InterbertError(f"'{self._path}': {name} is {got!r}, wanted {wanted}; this detector computes otherwise")


def _unc(given: _Settings) -> BottomUpConfig:
    """Of unc-nlp's file, what may differ from publication to publication has no default."""
    given.must_be("model.max_pool", True)
    given.must_be("input.format", "BGR")
    given.must_be("resnets.depth", *sorted(BLOCKS, reverse=True))
    given.must_be("resnets.num_groups", 1)
    given.must_be("resnets.stride_in_1x1", True)
    given.must_be("resnets.norm", "BN", "FrozenBN")
    given.must_be("roi_box_head.pooler_type", "ROIPool")
    given.must_be("roi_box_head.res5halve", False)
    given.must_be("roi_box_head.attr", True)
    given.must_be("roi_box_head.cls_agnostic_bbox_reg", False)
    return BottomUpConfig(
        layout="unc",
        shortest_side=given.whole("input.min_size_test"),
        longest_side=given.whole("input.max_size_test"),
        pixel_mean=given.numbers("model.pixel_mean", BottomUpConfig.pixel_mean, 3),
        pixel_std=given.numbers("model.pixel_std", BottomUpConfig.pixel_std, 3),
        proposals_considered=given.whole("rpn.pre_nms_topk_test"),
        proposals=given.whole("rpn.post_nms_topk_test"),
        proposal_overlap=given.number("rpn.nms_thresh"),
        smallest_proposal=given.number("proposal_generator.min_size", 0),
        proposal_weights=given.numbers("rpn.bbox_reg_weights", (1.0, 1.0, 1.0, 1.0), 4),
        box_weights=given.numbers("roi_box_head.bbox_reg_weights", (10.0, 10.0, 5.0, 5.0), 4),
        pooled_side=given.whole("roi_box_head.pooler_resolution", 14),
        final_overlaps=given.numbers("roi_heads.nms_thresh_test"),
        final_min=given.whole("min_detections"),
        final_max=given.whole("max_detections"),
        anchor_scales=tuple(size / 16 for size in given.numbers("anchor_generator.sizes", (64.0, 128.0, 256.0, 512.0))),
        anchor_ratios=given.numbers("anchor_generator.aspect_ratios", BottomUpConfig.anchor_ratios),
    )


def _caffe(given: _Settings) -> BottomUpConfig:
    """MILVLG's file leaves out what its framework has as default."""
    given.must_be("MODEL.META_ARCHITECTURE", "GeneralizedBUARCNN")
    given.must_be("MODEL.BACKBONE.NAME", "build_bua_resnet_backbone")
    given.must_be("MODEL.RPN.HEAD_NAME", "StandardBUARPNHead")
    given.must_be("MODEL.ROI_HEADS.NAME", "BUACaffeRes5ROIHeads")
    given.must_be("MODEL.BUA.ATTRIBUTE_ON", True)
    given.must_be("MODEL.RESNETS.DEPTH", *sorted(BLOCKS, reverse=True))
    given.must_be("MODEL.RESNETS.NUM_GROUPS", 1)
    given.must_be("MODEL.RESNETS.STRIDE_IN_1X1", True)
    given.must_be("MODEL.RESNETS.RES5_DILATION", 2)
    given.must_be("MODEL.RESNETS.NORM", "BN", "FrozenBN")
    given.must_be("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIPool")
    given.must_be("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", False)
    return BottomUpConfig(
        layout="caffe",
        shortest_side=given.whole("INPUT.MIN_SIZE_TEST", 600),
        longest_side=given.whole("INPUT.MAX_SIZE_TEST", 1000),
        pixel_mean=given.numbers("MODEL.PIXEL_MEAN", BottomUpConfig.pixel_mean, 3),
        pixel_std=given.numbers("MODEL.PIXEL_STD", BottomUpConfig.pixel_std, 3),
        proposals_considered=given.whole("MODEL.RPN.PRE_NMS_TOPK_TEST", 6000),
        proposals=given.whole("MODEL.RPN.POST_NMS_TOPK_TEST", 300),
        proposal_overlap=given.number("MODEL.RPN.NMS_THRESH", 0.7),
        smallest_proposal=given.number("MODEL.PROPOSAL_GENERATOR.MIN_SIZE", 16),
        proposal_weights=given.numbers("MODEL.RPN.BBOX_REG_WEIGHTS", (1.0, 1.0, 1.0, 1.0), 4),
        box_weights=given.numbers("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", (1.0, 1.0, 1.0, 1.0), 4),
        pooled_side=given.whole("MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION", 14),
        anchor_scales=given.numbers("MODEL.ANCHOR_GENERATOR.SIZES", BottomUpConfig.anchor_scales),
        anchor_ratios=given.numbers("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", BottomUpConfig.anchor_ratios),
    )


_UNC_SIZES = {  # a size -> where the file states it, and how many of them do not count
    "stem": ("resnets.stem_out_channels", 0),
    "width": ("resnets.width_per_group", 0),
    "res2": ("resnets.res2_out_channels", 0),
    "rpn": ("proposal_generator.hidden_channels", 0),
    "classes": ("roi_heads.num_classes", 0),
    "attributes": ("roi_box_head.num_attrs", 0),
    "blocks": ("resnets.depth", 0),
}
_CAFFE_SIZES = {
    "stem": ("MODEL.RESNETS.STEM_OUT_CHANNELS", 0),
    "width": ("MODEL.RESNETS.WIDTH_PER_GROUP", 0),
    "res2": ("MODEL.RESNETS.RES2_OUT_CHANNELS", 0),
    "rpn": ("MODEL.BUA.RPN.CONV_OUT_CHANNELS", 0),
    "classes": ("MODEL.ROI_HEADS.NUM_CLASSES", 1),  # the background
    "attributes": ("MODEL.BUA.ATTRIBUTE.NUM_CLASSES", 1),  # "no attribute"
    "blocks": ("MODEL.RESNETS.DEPTH", 0),
}


def _stated(given: _Settings, places: Mapping[str, tuple[str, int]]) -> dict[str, Any]:
    found = {
        size: given.whole(name, -1) - extra for size, (name, extra) in places.items() if given.whole(name, -1) >= 0
    }
    return {size: BLOCKS[value] if size == "blocks" else value for size, value in found.items()}


def _tuples(settings: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as what they were."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
