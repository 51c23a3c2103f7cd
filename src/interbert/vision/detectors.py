"""Detectors of transformers as extractors (3.1): pictures -> Regions by DETR and its kin, from a folder or the hub.

A region is a query of the decoder: its features are the query's state after the last layer, its box and classes what
the model's heads make of that state. Runs without torchvision, and beside one that is broken.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import logging
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.vision.extractor import Extractor, Limits, Picture
from interbert.vision.hub import digest, model_folder, weights_in
from interbert.vision.images import ImageError, open_image
from interbert.vision.provenance import ExtractorInfo

log = logging.getLogger(__name__)

MODEL_TYPES: dict[str, Literal["softmax", "sigmoid"]] = {
    "detr": "softmax",  # over the classes and "no object", whose share is left out
    "conditional_detr": "sigmoid",  # each class for itself, here and below
    "deformable_detr": "sigmoid",
    "rt_detr": "sigmoid",
    "rt_detr_v2": "sigmoid",
    "d_fine": "sigmoid",
}
"""Which detectors can be read, and how their logits become probabilities. In either way these don't sum to 1."""

LARGEST_PIXELS = 12_000_000
"""Larger pictures are made smaller by a whole factor before all else: as numbers they would need gigabytes."""

_CONFIG, _PICTURES = "config.json", "preprocessor_config.json"
_LOCAL = {"local_files_only": True, "trust_remote_code": False}  # no program of the folder is run
_CHANGES_NOTHING = {  # what folders of the same model may differ in, and names, which stand in `classes`
    "_name_or_path", "architectures", "dtype", "id2label", "label2id", "processor_class", "torch_dtype",
    "transformers_version",
}  # fmt: skip


@dataclass(frozen=True)
class TransformersExtractor(Extractor):
    """A detector of `MODEL_TYPES`. Features are d_model numbers (256 as published); classes are the model's own.

    place: a folder with config.json, preprocessor_config.json and weights as safetensors, or an id on the hub.
    Raises InterbertError, when first used, where these are missing, broken, or of another kind of model.
    """

    place: str
    limits: Limits = field(default_factory=Limits)

    @cached_property
    def info(self) -> ExtractorInfo:
        folder = self._folder
        config = _config(folder)
        return ExtractorInfo(
            name=f"hf:{self.place}",
            feature_size=config.d_model,
            classes=tuple(str(config.id2label[at]) for at in range(config.num_labels)),
            weights_sha256=digest(weights_in(folder)),
            settings={
                **asdict(self.limits),
                "model_type": config.model_type,
                "config_sha256": _config_digest(folder),
                "largest_pixels": LARGEST_PIXELS,
            },
        )

    def extract(self, images: Sequence[Picture]) -> list[Regions]:
        return [self._extract(open_image(image)) for image in images]

    def about(self) -> str:
        return f"extractor '{self.info.name}' runs on {device_here()}"

    @torch.inference_mode()
    def _extract(self, image: Image.Image) -> Regions:
        model, processor = self.detector
        found = model(**_prepared(processor, image).to(device_here()))
        logits, states, boxes = found.logits[0], found.last_hidden_state[0], found.pred_boxes[0]
        softmax = MODEL_TYPES[model.config.model_type] == "softmax"
        probabilities = logits.softmax(-1)[:, :-1] if softmax else logits.sigmoid()
        return best_regions(states, corners(boxes, image.size), probabilities, image.size, self.limits)

    @cached_property
    def detector(self) -> tuple[Any, Any]:
        """The model and what prepares pictures for it. Loaded when first used, never sent to another process."""
        _config(self._folder)
        return _loaded(self._folder)

    @cached_property
    def _folder(self) -> Path:
        return model_folder(self.place, ("*.json", "*.safetensors"))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "detector"}


def corners(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes as centre and sides in shares of the picture -> xyxy in pixels. boxes: [Q, 4].  size: (width, height).

    >>> corners(torch.tensor([[0.5, 0.5, 0.5, 1.0]]), (200, 100)).tolist()
    [[50.0, 0.0, 150.0, 100.0]]
    """
    centres, sides = boxes[:, :2], boxes[:, 2:]
    return torch.cat([centres - sides / 2, centres + sides / 2], 1) * boxes.new_tensor([*size, *size])


def bounded(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels [h, w, 3] of a picture, made smaller where it has more than `LARGEST_PIXELS`.

    >>> bounded(Image.new("RGB", (6001, 2001))).shape, bounded(Image.new("RGB", (4000, 3000))).shape
    ((1001, 3001, 3), (3000, 4000, 3))
    """
    factor = math.ceil(math.sqrt(image.width * image.height / LARGEST_PIXELS))
    return np.asarray(image.reduce(factor) if factor > 1 else image)


def best_regions(
    features: Tensor, boxes: Tensor, probabilities: Tensor, size: tuple[int, int], limits: Limits
) -> Regions:
    """The most confident of Q candidates, as many as `limits` has it, best first; equal ones in their order.

    features: [Q, D].  boxes: [Q, 4] xyxy in pixels; cut to the picture, and left out where nothing of them is in it.
    probabilities: [Q, C]; the highest is the confidence.  size: (width, height).
    Raises ImageError where no box is in the picture.
    """
    width, height = size
    boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
    inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
    features, boxes, probabilities = features[inside], boxes[inside], probabilities[inside]
    if not len(boxes):
        raise ImageError(f"the detector found no box in a picture of {width} x {height} pixels; leave it out")
    confidence, labels = probabilities.max(1)
    order = confidence.argsort(descending=True, stable=True)
    kept = order[: limits.count(int((confidence >= limits.min_confidence).sum()), len(order))]
    rows = [values[kept].cpu().numpy() for values in (features, boxes, labels, confidence, probabilities)]
    features_kept, boxes_kept, labels_kept, confidence_kept, probabilities_kept = rows
    return Regions(features_kept, boxes_kept, size, labels_kept, confidence_kept, probabilities_kept)


def import_transformers() -> Any:
    """The package transformers. Raises InterbertError where it is not installed.

    A torchvision that is installed but can't be imported would keep transformers from importing its models; it is
    then hidden from this process, and that is said.
    """
    if "transformers" not in sys.modules:
        _hide_broken("torchvision")
    try:
        import transformers
    except ImportError as error:
        raise InterbertError(
            f"extractors 'hf:…' need the package transformers ({error}): pip install 'interbert[hf]'"
        ) from error
    return transformers


def _hide_broken(name: str) -> None:
    if name in sys.modules or importlib.util.find_spec(name) is None:
        return
    try:
        importlib.import_module(name)
    except Exception as error:  # a build for another torch raises RuntimeError, others nearly anything
        for part in [part for part in sys.modules if part.partition(".")[0] == name]:
            del sys.modules[part]
        sys.modules[name] = None  # type: ignore[assignment]  # what Python takes for "not there"
        log.warning("%s is installed but broken (%s); it is left aside", name, str(error).strip() or type(error))


def _config(folder: Path) -> Any:
    """The model's configuration. Raises InterbertError where there is none, or it is of a model not in the table."""
    content = _json(folder / _CONFIG)
    kind = content.get("model_type")
    if kind not in MODEL_TYPES:
        raise InterbertError(
            f"'{folder}' holds a model of type {kind!r}; wanted a detector of type {', '.join(MODEL_TYPES)}"
        )
    transformers = import_transformers()
    with _reasons(folder), _silent(transformers):
        config = transformers.AutoConfig.from_pretrained(folder, **_LOCAL)
    if sorted(config.id2label) != list(range(config.num_labels)):
        raise InterbertError(f"'{folder / _CONFIG}' does not name classes 0 to {config.num_labels - 1}; mend id2label")
    return config


def _config_digest(folder: Path) -> str:
    """Of what the two configurations say, without what changes no number."""
    contents = [_json(folder / name) for name in (_CONFIG, _PICTURES)]
    said = [{key: value for key, value in content.items() if key not in _CHANGES_NOTHING} for content in contents]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InterbertError(
            f"'{path}' cannot be read ({error}); wanted the folder of a detector with {_CONFIG}, {_PICTURES} and "
            "model.safetensors"
        ) from error
    if not isinstance(content, dict):
        raise InterbertError(f"'{path}' is not a configuration: got a {type(content).__name__}, wanted an object")
    return content


def _loaded(folder: Path) -> tuple[Any, Any]:
    transformers = import_transformers()
    with _reasons(folder), _silent(transformers):
        # Pillow's arithmetic also where torchvision is installed: the same numbers everywhere
        processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **_LOCAL)
        model, report = transformers.AutoModelForObjectDetection.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **_LOCAL
        )
    wrong = [*report["missing_keys"], *report["mismatched_keys"]]
    if wrong:
        raise InterbertError(
            f"'{folder}': {len(wrong)} weights are missing or of another size, first {wrong[0]}; they are not those of "
            f"its {_CONFIG}"
        )
    unused = [key for key in report["unexpected_keys"] if not key.endswith("num_batches_tracked")]
    if unused:
        log.warning("'%s': %d weights that the model has no use for, first %s", folder, len(unused), unused[0])
    return model.eval().to(device_here()), processor


def _prepared(processor: Any, image: Image.Image) -> Any:
    try:  # the format is said, because a picture of height 3 looks like one of three channels
        return processor(images=bounded(image), input_data_format="channels_last", return_tensors="pt")
    except ValueError as error:
        raise ImageError(
            f"a picture of {image.width} x {image.height} pixels cannot be prepared for the detector "
            f"({str(error).splitlines()[0]}); leave it out"
        ) from error


@contextmanager
def _reasons(folder: Path) -> Iterator[None]:
    """What transformers raises for a folder it can't use, as InterbertError."""
    try:
        yield
    except InterbertError:
        raise
    except Exception as error:  # damaged weights, other sizes and missing packages raise nearly anything
        said = str(error).strip()
        advice = ""
        if "timm" in said:
            advice = "; its backbone is timm's, which is not read: take a revision without (OWNER/NAME@no_timm)"
        raise InterbertError(
            f"transformers cannot load '{folder}': {said.splitlines()[0] if said else type(error).__name__}{advice}"
        ) from error


@contextmanager
def _silent(transformers: Any) -> Iterator[None]:
    """No bars and notes of transformers: what matters is checked here."""
    said = transformers.utils.logging
    level, bars = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity_error()
    said.disable_progress_bar()
    try:
        yield
    finally:
        said.set_verbosity(level)
        if bars:
            said.enable_progress_bar()


def device_here() -> torch.device:
    """CUDA where it is, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
