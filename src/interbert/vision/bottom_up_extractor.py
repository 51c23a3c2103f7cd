"""The extractor `bottom-up:FOLDER_OR_ID` (3.1): pictures -> Regions by the detector whose features the paper used.

Regions are best first: by falling confidence of the rule that chose them, so that the first k are those that the rule
with a maximum of k would have taken. `Regions.confidence` is the probability of the label. `Regions.probabilities` are
the foreground columns of the softmax as they are: a row sums to 1 less the background's probability.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from interbert.batch import Regions
from interbert.errors import UsageError
from interbert.vision.bottom_up import BottomUp, Found, Proposals
from interbert.vision.bottom_up_choice import (
    RegionChoice,
    Rule,
    best_boxes,
    choose_confident,
    choose_final,
    confidences,
)
from interbert.vision.bottom_up_folder import describe, find_detector, load_detector
from interbert.vision.bottom_up_input import Resized, resized
from interbert.vision.extractor import Extractor, Picture
from interbert.vision.images import ImageError, open_image
from interbert.vision.provenance import ExtractorInfo

log = logging.getLogger(__name__)

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class BottomUpExtractor(Extractor):
    """folder_or_id: a folder that `interbert convert bottom-up` made, the published files, or an id on the hub.

    max_regions, min_regions, min_confidence, rule: see `RegionChoice`.
    precision: of res5, the slow part; proposals are always found in fp32. "auto" is bf16 on a CUDA device that has it:
    features are off by 0.3 %, which may change the order of boxes and which of two that are near the limit is kept. A
    CPU keeps to fp32, where all indices are those of the published programs; "bf16" makes one with AVX512-BF16 or AMX
    about twice as fast.
    device: "auto" is CUDA where it is. Not part of the identity, nor is what "auto" came to.
    """

    folder_or_id: str
    max_regions: int = RegionChoice.max_regions
    min_regions: int = RegionChoice.min_regions
    min_confidence: float = RegionChoice.min_confidence
    rule: Rule = RegionChoice.rule
    precision: Precision = "auto"
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise UsageError(f"got precision '{self.precision}'; wanted auto, fp32 or bf16")
        _ = self.choice

    @property
    def choice(self) -> RegionChoice:
        """Which proposals become regions."""
        return RegionChoice(self.max_regions, self.min_regions, self.min_confidence, self.rule)

    @cached_property
    def info(self) -> ExtractorInfo:
        """Raises InterbertError where the files are missing or damaged."""
        detector = describe(find_detector(self.folder_or_id))
        settings = {**asdict(self.choice), "precision": self.precision, **detector.settings}
        return replace(detector, name=f"bottom-up:{self.folder_or_id}", settings=settings)

    def about(self) -> str:
        kind = "bfloat16" if self._kind == torch.bfloat16 else "float32"
        return f"extractor 'bottom-up:{self.folder_or_id}' runs on {self._place}, res5 in {kind}"

    def extract(self, images: Sequence[Picture]) -> list[Regions]:
        """One picture at a time: a batch of unlike sizes would be padded, which changes the features."""
        return [self._extract(open_image(image)) for image in images]

    @torch.inference_mode()
    def _extract(self, image: Image.Image) -> Regions:
        picture = resized(image, self.network.config)
        proposals, found = self.network(picture)
        return chosen_regions(proposals, found, picture, self.choice)

    @cached_property
    def network(self) -> BottomUp:
        """Ready on its device. Loaded when first used, never sent to another process."""
        log.info("%s", self.about())
        model = load_detector(find_detector(self.folder_or_id)).model.to(self._place)
        model.compute_regions_in(self._kind)
        return model

    @property
    def _place(self) -> torch.device:
        return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device)

    @property
    def _kind(self) -> torch.dtype:
        able = self._place.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if self.precision == "bf16" or (self.precision == "auto" and able) else torch.float32

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "network"}


def chosen_regions(proposals: Proposals, found: Found, picture: Resized, choice: RegionChoice) -> Regions:
    """What becomes of a picture's P proposals. A box that the border left without area is no region.

    Raises ImageError where there is none at all.
    """
    probabilities, attributes = found.classes(), found.attributes()
    if choice.rule == "final":
        kept, boxes = _final(proposals, found, picture, choice)
    else:
        kept, boxes = _confident(proposals, found, picture, choice)
    height, width = picture.original
    boxes = boxes.clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    real = (boxes[:, 2:] > boxes[:, :2]).all(1)
    kept, boxes = kept[real], boxes[real]
    if not len(kept):
        raise ImageError(f"the detector found no box in a picture of {width} x {height} pixels; leave it out")
    confidence, labels = probabilities[kept].max(1)
    sure, named = attributes[kept].max(1)
    return Regions(
        features=found.features[kept].numpy(),
        boxes=boxes.numpy().astype(np.float32),
        image_size=(width, height),
        labels=labels.numpy(),
        confidence=confidence.numpy(),
        probabilities=probabilities[kept].numpy(),
        attributes=named.numpy(),
        attribute_confidence=sure.numpy(),
    )


def _confident(proposals: Proposals, found: Found, picture: Resized, choice: RegionChoice) -> tuple[Tensor, Tensor]:
    """Kept proposals, best first, and their boxes in pixels of the file."""
    boxes = picture.to_original(proposals.boxes)
    confidence = confidences(boxes, found.classes())
    kept = choose_confident(confidence, choice.min_regions, choice.max_regions, choice.min_confidence)
    kept = kept.sort().values  # ties: the lower proposal first
    kept = kept[confidence[kept].argsort(descending=True, stable=True)]
    return kept, boxes[kept]


def _final(proposals: Proposals, found: Found, picture: Resized, choice: RegionChoice) -> tuple[Tensor, Tensor]:
    if not found.config.final_overlaps:
        raise UsageError("rule 'final' is unc-nlp's, and this detector is of MILVLG's layout; wanted butd")
    best = best_boxes(found, proposals.boxes, picture)
    overlaps = found.config.final_overlaps
    kept = choose_final(best, overlaps, choice.min_regions, choice.max_regions).kept
    return kept, picture.to_original(best.boxes[kept])
