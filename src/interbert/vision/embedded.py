"""The extractor that needs no model hub (3.1): pictures -> Regions by CenterNet-MobileNetV3, of COCO's 80 classes.

2 million parameters; run by onnxruntime where it and onnx are installed, else by torch alone, with equal numbers.
`python -m interbert.vision.embedded --install` fetches the weights.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from interbert.batch import Regions
from interbert.errors import InterbertError, UsageError
from interbert.vision import centernet, embedded_weights
from interbert.vision.extractor import Extractor, Limits, Picture
from interbert.vision.images import open_image
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.tfjs import TorchNetwork, read_graph

log = logging.getLogger(__name__)

Fill = Literal["scores", "grid", "detections+grid"]
Backend = Literal["auto", "torch", "onnxruntime"]
Network = Callable[[NDArray[np.float32]], list[NDArray[Any]]]


@dataclass(frozen=True)
class Selection(Limits):
    """Which of the boxes found become regions.

    fill: where fewer than `min_regions` are left, "scores" adds boxes of lower confidence, "grid" adds the cells of a
    fixed grid of the picture; "detections+grid" adds the grid to every picture, within `max_regions`.
    grid: cells along each side.  overlap: boxes that share this IoU with a better one are left out.
    """

    fill: Fill = "detections+grid"  # retrieves best on held-out pictures: docs/log.md, "region choice"
    grid: int = 4
    overlap: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fill not in ("scores", "grid", "detections+grid"):
            raise UsageError(f"got fill '{self.fill}'; wanted scores, grid or detections+grid")
        if self.grid < 1 or not 0 < self.overlap <= 1:
            raise UsageError(f"got grid {self.grid} and overlap {self.overlap}; wanted 1 or more, and a number in 0..1")
        if self.fill == "detections+grid" and self.grid**2 >= self.max_regions:
            raise UsageError(f"a grid of {self.grid} x {self.grid} leaves no room in max_regions {self.max_regions}")


@dataclass(frozen=True)
class EmbeddedExtractor(Extractor):
    """CenterNet-MobileNetV3 at 512 pixels. Feature size 736; 80 classes, whose probabilities don't sum to 1.

    backend: "auto" is onnxruntime where it is installed. Not part of the extractor's identity: both give equal numbers.
    """

    selection: Selection = field(default_factory=Selection)
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        if self.backend not in ("auto", "torch", "onnxruntime"):
            raise UsageError(f"got backend '{self.backend}'; wanted auto, torch or onnxruntime")

    @property
    def info(self) -> ExtractorInfo:
        return ExtractorInfo(
            name="embedded",
            feature_size=centernet.FEATURE_SIZE,
            classes=centernet.CLASSES,
            weights_sha256=embedded_weights.WEIGHTS_SHA256,
            settings={"input_size": centernet.INPUT_SIZE, **asdict(self.selection)},
        )

    def extract(self, images: Sequence[Picture]) -> list[Regions]:
        return [self._extract(open_image(image)) for image in images]

    @torch.inference_mode()
    def _extract(self, image: Image.Image) -> Regions:
        maps = self.maps(image)
        chosen = choose(maps, self.selection)
        width, height = image.size
        boxes = (chosen.boxes / maps.scale).clamp(max=torch.tensor([width, height, width, height]))
        return Regions(
            features=centernet.region_features(maps, chosen.boxes).numpy(),
            boxes=boxes.numpy(),
            image_size=image.size,
            labels=chosen.labels.numpy(),
            confidence=chosen.scores.numpy(),
            probabilities=chosen.probabilities.numpy(),
        )

    def maps(self, image: Image.Image) -> centernet.Maps:
        """The network's outputs for an upright RGB picture."""
        pixels, scale = centernet.letterbox(image)
        heat, sides, head, deep = (torch.from_numpy(output[0]) for output in self.network(pixels))
        return centernet.Maps(heat, sides, head, deep, scale, (image.width * scale, image.height * scale))

    @cached_property
    def network(self) -> Network:
        """Letterboxed picture -> `centernet.OUTPUTS`. Loaded when first used, never sent to another process."""
        log.info("%s", self.about())
        return load_network(self.backend)

    def about(self) -> str:
        backend = resolved(self.backend)
        slow = "; onnx and onnxruntime would make it faster" if self.backend == "auto" and backend == "torch" else ""
        return f"extractor 'embedded' runs on {backend}{slow}"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "network"}


def choose(maps: centernet.Maps, selection: Selection) -> centernet.Candidates:
    """The boxes that become regions. Detections come first, best first; then the cells of the grid, row by row."""
    s, cells = selection, selection.grid**2
    found = centernet.without_overlaps(centernet.peaks(maps), s.overlap, s.max_regions)
    sure = int((found.scores >= s.min_confidence).sum())
    if s.fill == "scores":
        sure = max(sure, min(s.min_regions, len(found)))
    if s.fill == "detections+grid":
        sure = min(sure, s.max_regions - cells)
    elif sure >= s.min_regions:
        return found.select(slice(sure))
    # also an even picture with fewer peaks than `min_regions`: the grid is all that is left
    sure = max(sure, s.min_regions - cells)
    return found.select(slice(sure)).and_then(centernet.grid(maps, s.grid)).select(slice(s.max_regions))


def load_network(backend: Backend = "auto") -> Network:
    """The network as a function of float32 [1, 3, 512, 512]. Raises InterbertError where it is not installed."""
    graph = read_graph(embedded_weights.installed() / "centernet.json", centernet.OUTPUTS)
    if resolved(backend) == "torch":
        return TorchNetwork(graph)
    from interbert.vision.tfjs_onnx import OnnxNetwork

    return OnnxNetwork(graph)


def resolved(backend: Backend) -> Backend:
    """What "auto" means here."""
    if backend != "auto":
        return backend
    both = importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime")
    return "onnxruntime" if both else "torch"


def main(arguments: Sequence[str]) -> int:
    """`--install` fetches the weights and says where they are."""
    if list(arguments) != ["--install"]:
        sys.stderr.write(f"usage: {embedded_weights.INSTALL_COMMAND}\n")
        return 2
    try:
        folder = embedded_weights.install()
    except InterbertError as error:
        sys.stderr.write(f"interbert: {error}\n")
        return error.exit_status
    sys.stderr.write(f"embedded extractor: weights in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
