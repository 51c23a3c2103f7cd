"""Detectors of the published sizes with random weights, in their real formats: for speed and memory where the real
weights are not at hand. What they see means nothing; how long they take is what the real ones take, except that a
random detector may find other numbers of boxes (`extraction.py` counts the work that was done)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from interbert.vision.bottom_up import BottomUp
from interbert.vision.bottom_up_boxes import caffe_anchors
from interbert.vision.bottom_up_config import BottomUpSizes, published_config
from interbert.vision.bottom_up_folder import Detector, save_detector
from interbert.vision.bottom_up_weights import digest
from interbert.vision.detectors import import_transformers

COCO_CLASSES = {"detr": 91, "rt_detr_v2": 80, "d_fine": 80}
_STAGES = ["stage2", "stage3", "stage4"]


def random_detector(kind: str, folder: Path) -> str:
    """Makes the detector in `folder`, where it is not there already; returns its name for `Extractor.from_name`."""
    if not (folder / "done").exists():
        torch.manual_seed(0)
        MAKERS[kind](folder)
        (folder / "done").write_text("")
    return f"{'bottom-up' if kind == 'bottom-up' else 'hf'}:{folder}"


def _bottom_up(folder: Path) -> None:
    """ResNet-101 C4 with 1,600 classes and 400 attributes, with the published settings of MILVLG's layout."""
    config, sizes = published_config(), BottomUpSizes()
    model = BottomUp(config, sizes).requires_grad_(False).eval()
    model.rpn.anchors.copy_(caffe_anchors(config.anchor_scales, config.anchor_ratios))
    for name, tensor in model.named_parameters():
        if name.endswith("weight") and tensor.ndim == 4:  # keeps the size of the numbers through 101 layers
            torch.nn.init.kaiming_normal_(tensor)
        if "conv3" in name:  # the end of a bottleneck, which is added
            tensor.mul_(0.3)
    model.rpn.deltas.weight.zero_()  # proposals are anchors, as many as real ones are: 300
    classes, attributes = (tuple(f"{what} {n}" for n in range(count)) for what, count in
                           (("object", sizes.classes), ("attribute", sizes.attributes)))  # fmt: skip
    save_detector(Detector(model, classes, attributes, digest(model)), folder)


def _detr(folder: Path) -> None:
    """DETR with ResNet-50, as facebook/detr-resnet-50: pictures of 800 to 1,333 pixels, 100 queries."""
    t = import_transformers()
    backbone = t.ResNetConfig(out_features=["stage4"])
    config = t.DetrConfig(use_timm_backbone=False, backbone_config=backbone, **_labels("detr"))
    _save(t.DetrForObjectDetection(config), t.DetrImageProcessorPil(), folder)


def _rt_detr_v2(folder: Path) -> None:
    """RT-DETR v2 with ResNet-18, as PekingU/rtdetr_v2_r18vd: 640 pixels, 300 queries."""
    t = import_transformers()
    backbone = t.RTDetrResNetConfig(
        depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic", embedding_size=64,
        out_features=_STAGES,
    )  # fmt: skip
    config = t.RTDetrV2Config(
        backbone_config=backbone, encoder_in_channels=[128, 256, 512], decoder_layers=3, hidden_expansion=0.5,
        **_labels("rt_detr_v2"),
    )  # fmt: skip
    _save(t.RTDetrV2ForObjectDetection(config), t.RTDetrImageProcessorPil(), folder)


def _d_fine(folder: Path) -> None:
    """D-FINE at the sizes that are transformers' defaults (of D-FINE-L): 640 pixels, 300 queries."""
    t = import_transformers()
    _save(t.DFineForObjectDetection(t.DFineConfig(**_labels("d_fine"))), t.RTDetrImageProcessorPil(), folder)


def _labels(kind: str) -> dict[str, Any]:
    names = {number: f"object {number}" for number in range(COCO_CLASSES[kind])}
    return {"id2label": names, "label2id": {name: number for number, name in names.items()}}


def _save(model: Any, processor: Any, folder: Path) -> None:
    t = import_transformers()
    t.utils.logging.set_verbosity_error()
    t.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


MAKERS: dict[str, Callable[[Path], None]] = {
    "bottom-up": _bottom_up,
    "detr": _detr,
    "rt_detr_v2": _rt_detr_v2,
    "d_fine": _d_fine,
}
