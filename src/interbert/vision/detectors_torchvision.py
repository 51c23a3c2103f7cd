"""Faster R-CNN of torchvision as an extractor (3.1): pictures -> Regions by the RoI features before the predictor.

A region is a proposal: its features are what the box head makes of the pooled map, its box the proposal refined for its
most probable class. As in bottom-up attention, whose features these resemble most among today's detectors.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import torch
from PIL import Image
from torch import Tensor

from interbert.batch import Regions
from interbert.errors import InterbertError, UsageError, unknown_name
from interbert.vision.detectors import LARGEST_PIXELS, best_regions, bounded, device_here
from interbert.vision.extractor import Extractor, Limits, Picture
from interbert.vision.hub import digest
from interbert.vision.images import ImageError, open_image
from interbert.vision.provenance import ExtractorInfo

log = logging.getLogger(__name__)

ARCHITECTURES = (
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
)
FEATURE_SIZE = 1024  # of the box heads of all of them
OVERLAP = 0.5  # IoU above which a region yields to a better one of its class; as in torchvision


@dataclass(frozen=True)
class TorchvisionExtractor(Extractor):
    """A Faster R-CNN with torchvision's published weights: 1,024 features, the 90 class names of COCO.

    Probabilities are the softmax without the share of the background: they don't sum to 1. Raises UsageError for an
    unknown architecture; InterbertError, when first used, where torchvision or the weights are not there or damaged.
    """

    architecture: str
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise UsageError(unknown_name("detector of torchvision", self.architecture, ARCHITECTURES))

    @cached_property
    def info(self) -> ExtractorInfo:
        weights = published_weights(self.architecture)
        return ExtractorInfo(
            name=f"torchvision:{self.architecture}",
            feature_size=FEATURE_SIZE,
            classes=tuple(weights.meta["categories"][1:]),  # the first is the background
            weights_sha256=checked_digest(weights_file(weights)),
            settings={
                **asdict(self.limits),
                "architecture": self.architecture,
                "overlap": OVERLAP,
                "largest_pixels": LARGEST_PIXELS,
            },
        )

    def extract(self, images: Sequence[Picture]) -> list[Regions]:
        return [self._extract(open_image(image)) for image in images]

    def about(self) -> str:
        return f"extractor '{self.info.name}' runs on {device_here()}"

    @torch.inference_mode()
    def _extract(self, image: Image.Image) -> Regions:
        features, boxes, probabilities = self.candidates(_tensor(image), image.size)
        return best_regions(features, boxes, probabilities, image.size, self.limits)

    def candidates(self, pixels: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """What the detector finds: features [Q, 1024], boxes [Q, 4] xyxy in pixels, probabilities [Q, C].

        pixels: float [3, h, w] in 0..1.  size: (width, height) that boxes are to be counted in.
        Raises ImageError for a picture so narrow that nothing of it is left at the size the detector works with.
        """
        ops, detector = import_torchvision().ops, self.detector
        pictures = _prepared(detector.transform, pixels)
        maps = detector.backbone(pictures.tensors)
        proposals, _ = detector.rpn(pictures, maps)
        heads = detector.roi_heads
        features = heads.box_head(heads.box_roi_pool(maps, proposals, pictures.image_sizes))
        logits, deltas = heads.box_predictor(features)
        probabilities = logits.softmax(-1)[:, 1:]  # the first is the background
        confidence, labels = probabilities.max(1)
        refined = heads.box_coder.decode(deltas, proposals)  # [Q, 1 + C, 4]
        boxes = refined[torch.arange(len(labels), device=labels.device), labels + 1].reshape(-1, 4)  # also of none
        high, wide = pictures.image_sizes[0]
        boxes = ops.clip_boxes_to_image(boxes, (high, wide))
        kept = ops.batched_nms(boxes, confidence, labels, OVERLAP)
        scale = boxes.new_tensor([size[0] / wide, size[1] / high] * 2)
        return features[kept], boxes[kept] * scale, probabilities[kept]

    @cached_property
    def detector(self) -> Any:
        """The model as torchvision makes it for its published weights, which is another one than it makes without: its
        normalisation differs. Loaded when first used, never sent to another process."""
        weights = published_weights(self.architecture)
        path = weights_file(weights)
        checked_digest(path)
        try:
            torch.load(path, map_location="cpu", weights_only=True)  # is it only numbers? torchvision does not ask
            model = import_torchvision().models.get_model(self.architecture, weights=weights, progress=False)
        except Exception as error:  # torch raises nearly anything for damaged files
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InterbertError(f"'{path}' cannot be loaded ({said}); delete it: it is fetched again") from error
        return model.eval().to(device_here())

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "detector"}


def import_torchvision() -> Any:
    """The package torchvision. Raises InterbertError where it is not installed, or was built for another torch."""
    try:
        return importlib.import_module("torchvision")
    except Exception as error:  # a build for another torch raises RuntimeError
        raise InterbertError(
            f"extractors 'torchvision:…' need the package torchvision of this torch {torch.__version__} "
            f"({str(error).strip()}): pip install 'interbert[torchvision]'"
        ) from error


def published_weights(architecture: str) -> Any:
    """torchvision's entry of the newest weights: `url`, and `meta` with the class names."""
    return import_torchvision().models.get_model_weights(architecture).DEFAULT


def weights_file(weights: Any) -> Path:
    """Where torch keeps them ($TORCH_HOME/hub/checkpoints), fetched where they are not there yet.

    Raises InterbertError where that fails.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(urlsplit(weights.url).path).name
    if not path.is_file():
        log.info("fetching %s", weights.url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(weights.url, str(path), _told_digest(path), progress=False)
        except (OSError, RuntimeError) as error:
            raise InterbertError(
                f"the weights {weights.url} cannot be fetched ({error}); with a network, or with the file at '{path}', "
                "give the same command again"
            ) from error
    return path


def checked_digest(path: Path) -> str:
    """Hexadecimal sha256, of which torchvision's file names carry the beginning. Raises InterbertError for another."""
    found = digest([path])
    if not found.startswith(_told_digest(path)):
        raise InterbertError(f"'{path}' is damaged: its sha256 begins with {found[:8]}; delete it: it is fetched again")
    return found


def _told_digest(path: Path) -> str:
    told = re.search(r"-([0-9a-f]{8,})\.\w+$", path.name)
    return told[1] if told else ""


def _prepared(transform: Any, pixels: Tensor) -> Any:
    """Scaled and normalised as torchvision does it, before anything else sees them."""
    try:
        return transform([pixels])[0]
    except RuntimeError as error:
        raise ImageError(
            f"a picture of {pixels.shape[2]} x {pixels.shape[1]} pixels cannot be prepared for the detector "
            f"({str(error).splitlines()[0]}); leave it out"
        ) from error


def _tensor(image: Image.Image) -> Tensor:
    """float32 [3, h, w] in 0..1, where the detector runs."""
    return torch.tensor(bounded(image)).permute(2, 0, 1).to(device_here()).float() / 255
