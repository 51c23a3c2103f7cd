"""Small bottom-up detectors with random weights, as the two projects publish theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor

from interbert.vision.bottom_up import BottomUp, Norm
from interbert.vision.bottom_up_boxes import caffe_anchors
from interbert.vision.bottom_up_config import BottomUpConfig, BottomUpSizes, Layout
from interbert.vision.bottom_up_weights import filled, published_names

SIZES = BottomUpSizes(
    stem=4, width=4, res2=16, blocks=(1, 1, 2, 2), rpn=8, anchors=6, classes=5, attributes=3, embedding=4,
    attribute_hidden=8,
)  # fmt: skip


def small_config(layout: Layout = "unc", **changes: Any) -> BottomUpConfig:
    settings: dict[str, Any] = {
        "shortest_side": 64, "longest_side": 120, "proposals_considered": 60, "proposals": 30,
        "anchor_scales": (1.0, 2.0), "anchor_ratios": (0.5, 1.0, 2.0),
    }  # fmt: skip
    if layout == "unc":
        settings |= {"final_overlaps": (0.3, 0.5, 0.9), "box_weights": (10.0, 10.0, 5.0, 5.0)}
    return BottomUpConfig(layout, **{**settings, **changes})


def small_detector(layout: Layout = "unc", seed: int = 0, **changes: Any) -> BottomUp:
    """Random, with signals of about the same size in all layers."""
    generator = torch.Generator().manual_seed(seed)
    model = BottomUp(small_config(layout, **changes), SIZES)
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        fan = max(1, tensor[0].numel()) if tensor.ndim > 1 else 1
        state[name] = torch.randn(tensor.shape, generator=generator) * (1.4 / fan**0.5)
    for name, module in model.named_modules():
        if isinstance(module, Norm):
            draws = torch.rand(4, len(module.weight), generator=generator)
            state |= {f"{name}.weight": 0.5 + draws[0], f"{name}.bias": draws[1] - 0.5}
            state |= {f"{name}.running_mean": draws[2] - 0.5, f"{name}.running_var": 0.5 + draws[3]}
    state["stem.norm.running_var"] += 10_000  # pixels go to 255
    state["heads.classes.weight"] *= 0.02  # features are large; not too sure of anything
    state["heads.attribute_hidden.weight"] *= 0.05
    state["rpn.deltas.weight"] *= 0.01
    state["rpn.deltas.bias"] *= 0.1
    state["rpn.anchors"] = caffe_anchors((1, 2), (0.5, 1, 2), 8.5 if layout == "unc" else 7.5)
    return filled(model, state)


def published_tensors(model: BottomUp) -> dict[str, Tensor]:
    names = published_names(model)
    return {names[ours]: tensor.clone() for ours, tensor in model.state_dict().items()}


def published_yaml(model: BottomUp) -> dict[str, Any]:
    """The settings as the layout's file has them, without those that its program has as defaults."""
    config, sizes = model.config, model.sizes
    if config.caffe:
        return {
            "MODEL": {
                "META_ARCHITECTURE": "GeneralizedBUARCNN",
                "PIXEL_MEAN": list(config.pixel_mean),
                "ANCHOR_GENERATOR": {"SIZES": [list(config.anchor_scales)]},
                "PROPOSAL_GENERATOR": {"MIN_SIZE": config.smallest_proposal},
                "BUA": {"ATTRIBUTE_ON": True, "ATTRIBUTE": {"NUM_CLASSES": sizes.attributes + 1}},
                "RPN": {
                    "PRE_NMS_TOPK_TEST": config.proposals_considered,
                    "POST_NMS_TOPK_TEST": config.proposals,
                },
                "ROI_HEADS": {"NAME": "BUACaffeRes5ROIHeads", "NUM_CLASSES": sizes.classes + 1},
                "ROI_BOX_HEAD": {"POOLER_TYPE": "ROIPool", "BBOX_REG_WEIGHTS": str(config.box_weights)},
            },
            "INPUT": {"MIN_SIZE_TEST": config.shortest_side, "MAX_SIZE_TEST": config.longest_side},
        }
    return {
        "model": {"max_pool": True, "pixel_mean": list(config.pixel_mean)},
        "anchor_generator": {"sizes": [[16.0 * scale for scale in config.anchor_scales]]},
        "rpn": {
            "nms_thresh": config.proposal_overlap,
            "pre_nms_topk_test": config.proposals_considered,
            "post_nms_topk_test": config.proposals,
        },
        "roi_heads": {"num_classes": sizes.classes, "nms_thresh_test": list(config.final_overlaps)},
        "roi_box_head": {"attr": True, "num_attrs": sizes.attributes, "pooler_type": "ROIPool"},
        "input": {"format": "BGR", "min_size_test": config.shortest_side, "max_size_test": config.longest_side},
        "min_detections": config.final_min,
        "max_detections": config.final_max,
    }


def publish(model: BottomUp, folder: Path) -> Path:
    """The layout's two files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = published_tensors(model)
    if model.config.caffe:
        torch.save({"model": tensors, "iteration": 3}, folder / "bua-caffe-frcn-r101-k10-100.pth")
    else:
        torch.save(tensors, folder / "pytorch_model.bin")
    (folder / "config.yaml").write_text(yaml.safe_dump(published_yaml(model)))
    return folder


def weights_of(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if path.suffix in (".bin", ".pth"))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Coloured blots."""
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
