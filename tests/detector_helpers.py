"""Small detectors of transformers with random weights, saved as published ones are; and pictures for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from interbert.vision.detectors import import_transformers

NAMES = ("cat", "dog", "N/A", "bird", "tree")
TYPES = ("detr", "conditional_detr", "deformable_detr", "rt_detr", "rt_detr_v2", "d_fine")
_LABELS = {"id2label": dict(enumerate(NAMES)), "label2id": {name: at for at, name in enumerate(NAMES)}}
_DETR = {
    "encoder_layers": 1, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_queries": 20, "use_timm_backbone": False, **_LABELS,
}  # fmt: skip
_RT_DETR = {
    "encoder_hidden_dim": 16, "encoder_in_channels": [16, 24, 32], "encoder_layers": 1, "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2, "d_model": 16, "num_queries": 20, "decoder_in_channels": [16, 16, 16],
    "decoder_ffn_dim": 16, "decoder_layers": 2, "decoder_attention_heads": 2, "hidden_expansion": 0.5,
    "num_denoising": 4, **_LABELS,
}  # fmt: skip
_STAGES = ["stage2", "stage3", "stage4"]


def save_detector(kind: str, folder: Path, seed: int = 0) -> Path:
    """A random detector of that type with `NAMES` as classes, in its real format; returns `folder`."""
    t = import_transformers()
    with _quiet(t):
        torch.manual_seed(seed)
        model, processor = _made(t, kind)
        with torch.no_grad():  # as they are made, all queries say nearly the same
            for name, parameter in model.named_parameters():
                if "class" in name or "query" in name or "enc_score" in name:
                    parameter.normal_(std=1.0)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    return folder


@contextmanager
def _quiet(t: Any) -> Iterator[None]:
    t.utils.logging.set_verbosity_error()
    t.utils.logging.disable_progress_bar()
    yield
    t.utils.logging.set_verbosity_warning()
    t.utils.logging.enable_progress_bar()


def _made(t: Any, kind: str) -> tuple[Any, Any]:
    if kind.endswith("detr") and kind != "rt_detr":
        return _detr(t, kind)
    small = t.RTDetrImageProcessorPil(size={"height": 64, "width": 64})
    if kind == "d_fine":
        config = t.DFineConfig(backbone_config=_hgnet(t), max_num_bins=8, decoder_n_points=[2, 2, 2], **_RT_DETR)
        return t.DFineForObjectDetection(config), small
    backbone = t.RTDetrResNetConfig(**_resnet(), out_features=_STAGES)
    config_class, model_class = {
        "rt_detr": (t.RTDetrConfig, t.RTDetrForObjectDetection),
        "rt_detr_v2": (t.RTDetrV2Config, t.RTDetrV2ForObjectDetection),
    }[kind]
    return model_class(config_class(backbone_config=backbone, decoder_n_points=2, **_RT_DETR)), small


def _detr(t: Any, kind: str) -> tuple[Any, Any]:
    size = {"shortest_edge": 64, "longest_edge": 96}
    if kind == "detr":
        backbone = t.ResNetConfig(**_resnet(), out_features=["stage4"])
        config = t.DetrConfig(backbone_config=backbone, d_model=16, **_DETR)
        return t.DetrForObjectDetection(config), t.DetrImageProcessorPil(size=size)
    if kind == "conditional_detr":
        backbone = t.ResNetConfig(**_resnet(), out_features=["stage4"])
        config = t.ConditionalDetrConfig(backbone_config=backbone, d_model=16, **_DETR)
        return t.ConditionalDetrForObjectDetection(config), t.ConditionalDetrImageProcessorPil(size=size)
    backbone = t.ResNetConfig(**_resnet(), out_features=_STAGES)
    points = {"num_feature_levels": 3, "encoder_n_points": 2, "decoder_n_points": 2}
    config = t.DeformableDetrConfig(backbone_config=backbone, d_model=32, **points, **_DETR)
    return t.DeformableDetrForObjectDetection(config), t.DeformableDetrImageProcessorPil(size=size)


def _resnet() -> dict[str, Any]:
    return {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1], "layer_type": "basic"}


def _hgnet(t: Any) -> Any:
    return t.HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 16, 16, 24],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[16, 16, 24, 32],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        embedding_size=8,
        hidden_sizes=[16, 16, 24, 32],
        depths=[1, 1, 1, 1],
        out_features=_STAGES,
    )


def drawn_picture(width: int = 96, height: int = 64) -> Image.Image:
    """A few shapes on a ground that grows brighter."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    draw = ImageDraw.Draw(image)
    draw.rectangle((width // 8, height // 8, width // 2, height // 2), fill="red")
    draw.ellipse((width // 2, height // 3, width - 4, height - 4), fill="green", outline="white")
    return image


def edit_json(path: Path, **changes: Any) -> None:
    """Sets keys of a JSON file; None takes a key away."""
    content = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")
