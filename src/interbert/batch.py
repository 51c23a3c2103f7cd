"""The four types that cross rooms: Regions, Pair, Batch, Output.

Letters used everywhere: B pairs, T text positions, R regions with slot 0, N regions without it, D feature size,
C detector classes, H hidden, F fusion size. `valid` is for padding, `masked` for objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interbert.vision.boxes import location_numbers


@dataclass(frozen=True, eq=False)
class Regions:
    """What a detector says of one picture: N regions, best first.

    features: float16 or float32 [N, D].  boxes: float32 [N, 4] xyxy in pixels of the upright picture.
    image_size: (width, height) in pixels.  labels: int64 [N], index of the most probable class.
    confidence: float32 [N] in 0..1.  probabilities: float16 or float32 [N, C], or None.
    attributes: int64 [N], index of the most probable attribute ("red"), with attribute_confidence float32 [N]; or None.
    Raises ValueError where shapes do not fit, a number is not finite, or a box is turned inside out.
    """

    features: NDArray[Any]
    boxes: NDArray[np.float32]
    image_size: tuple[int, int]
    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    probabilities: NDArray[Any] | None = None
    attributes: NDArray[np.int64] | None = None
    attribute_confidence: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        count = len(self.features)
        wanted: dict[str, tuple[int, ...]] = {"boxes": (count, 4), "labels": (count,), "confidence": (count,)}
        if (self.attributes is None) != (self.attribute_confidence is None):
            raise ValueError("attributes: got them without attribute_confidence, or that alone; wanted both or neither")
        if self.attributes is not None:
            wanted |= {"attributes": (count,), "attribute_confidence": (count,)}
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name}: got shape {getattr(self, name).shape}, wanted {shape} for {count} regions")
        if self.features.ndim != 2 or not np.isfinite(self.features).all():
            raise ValueError(f"features: got {self.features.shape}, wanted finite numbers [N, D]")
        if self.probabilities is not None and len(self.probabilities) != count:
            raise ValueError(f"probabilities: got {len(self.probabilities)} rows for {count} regions")
        for name in ("boxes", "confidence", "probabilities", "attribute_confidence"):
            values = getattr(self, name)
            if values is not None and not np.isfinite(values).all():
                raise ValueError(f"{name}: got a number that is not finite")
        wrong = ~((self.boxes[:, 2] > self.boxes[:, 0]) & (self.boxes[:, 3] > self.boxes[:, 1]))
        if wrong.any():
            at = int(wrong.argmax())
            raise ValueError(f"boxes: got {self.boxes[at].tolist()} in region {at}; wanted x1 < x2 and y1 < y2")

    def __len__(self) -> int:
        return len(self.features)

    def select(self, which: Any) -> Regions:
        """The regions at `which` (a slice, indices or booleans), in that order."""
        rows: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "image_size"}
        chosen: dict[str, Any] = {name: None if value is None else value[which] for name, value in rows.items()}
        return replace(self, **chosen)

    def locations(self) -> NDArray[np.float32]:
        """float32 [N, 5]: see `location_numbers`."""
        return location_numbers(self.boxes, self.image_size)


@dataclass(frozen=True, eq=False)
class Pair:
    """A text and a picture's regions that may or may not belong together."""

    id: str
    text: str
    regions: Regions


@dataclass(eq=False)
class Batch:
    """B pairs as padded tensors. A side that is absent is None in all its fields.

    words: int64 [B, T], as the model reads them: `[CLS] words [SEP]`, masked words already replaced.
    words_valid: bool [B, T].  token_types: int64 [B, T], or None for all 0.
    features: float [B, R, D]; slot 0 is the mean of the picture's own features, masked regions are zero vectors.
    locations: float [B, R, 5].  confidence: float [B, R], 1 in slot 0.  regions_valid: bool [B, R].

    Set by the objectives: masked_words bool [B, T], word_targets int64 [B, T] (the words as they were),
    masked_regions bool [B, R], region_targets int64 [B, R] (hard) or float [B, R, C] (soft), is_match bool [B],
    images int64 [B] (which pictures of the batch are the same), belongs bool [B, B] (which text has which picture).
    """

    ids: list[str]
    words: Tensor | None = None
    words_valid: Tensor | None = None
    token_types: Tensor | None = None
    features: Tensor | None = None
    locations: Tensor | None = None
    confidence: Tensor | None = None
    regions_valid: Tensor | None = None
    masked_words: Tensor | None = None
    word_targets: Tensor | None = None
    masked_regions: Tensor | None = None
    region_targets: Tensor | None = None
    is_match: Tensor | None = None
    images: Tensor | None = None
    belongs: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Self:
        """The same batch with every tensor on `device`."""
        return replace(self, **{f.name: _moved(getattr(self, f.name), device) for f in fields(self)})

    def select(self, which: Tensor) -> Self:
        """The pairs at `which` (int64 [K]), in that order, with padding cut to the longest of them."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self) if isinstance(getattr(self, f.name), Tensor)}
        chosen: dict[str, Any] = {name: tensor[which] for name, tensor in tensors.items()}
        chosen["belongs"] = None if self.belongs is None else self.belongs[which][:, which]
        ids = [self.ids[i] for i in which.tolist()]
        return replace(self, ids=ids, **chosen).trimmed()

    def trimmed(self) -> Self:
        """The same batch without the columns that are padding in every pair."""
        longest = {
            "text": 0 if self.words_valid is None else int(self.words_valid.sum(1).max()),
            "image": 0 if self.regions_valid is None else int(self.regions_valid.sum(1).max()),
        }
        sides = dict.fromkeys(_TEXT_FIELDS, "text") | dict.fromkeys(_IMAGE_FIELDS, "image")
        cut: dict[str, Any] = {name: getattr(self, name) for name in sides}
        cut = {name: None if value is None else value[:, : longest[sides[name]]] for name, value in cut.items()}
        return replace(self, **cut)

    def with_images_of(self, which: Tensor) -> Self:
        """The texts as they are, each with the picture of another pair. which: int64 [B], the pair it is taken from."""
        moved: dict[str, Any] = {name: getattr(self, name) for name in (*_IMAGE_FIELDS, "images")}
        moved = {name: None if value is None else value[which] for name, value in moved.items()}
        return replace(self, **moved)

    def text_alone(self) -> Self:
        """The texts without their regions: the `alone` mode of the text side."""
        return replace(self, **_absent(_IMAGE_FIELDS))

    def image_alone(self) -> Self:
        """The regions without their texts: the `alone` mode of the image side."""
        return replace(self, **_absent(_TEXT_FIELDS))


_TEXT_FIELDS = ("words", "words_valid", "token_types", "masked_words", "word_targets")
_IMAGE_FIELDS = ("features", "locations", "confidence", "regions_valid", "masked_regions", "region_targets")


@dataclass(eq=False)
class Output:
    """What the model returns: states after both independence streams, and the vectors that fusion makes of position 0.

    text_states: [B, T, H].  image_states: [B, R, H].  text_vector, image_vector: [B, F]. None on an absent side.
    """

    text_states: Tensor | None = None
    image_states: Tensor | None = None
    text_vector: Tensor | None = None
    image_vector: Tensor | None = None


def make_batch(
    ids: Sequence[str],
    words: Sequence[Sequence[int]] | None,
    regions: Sequence[Regions] | None,
    token_types: Sequence[Sequence[int]] | None = None,
    pad_id: int = 0,
) -> Batch:
    """Pads texts (token ids with `[CLS]` and `[SEP]`) and regions to one batch, and adds slot 0 to every picture.

    Slot 0, `o[CLS]`, is the mean of the picture's own features in the box of the whole picture (3.1).
    """
    batch = Batch(ids=list(ids))
    if words is not None:
        batch.words, batch.words_valid = _padded(words, pad_id)
        batch.token_types = None if token_types is None else _padded(token_types, 0)[0]
    if regions is not None:
        _add_regions(batch, regions)
    return batch


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    values = np.full((len(rows), int(lengths.max())), pad, np.int64)
    for at, row in enumerate(rows):
        values[at, : len(row)] = row
    return torch.from_numpy(values), torch.arange(values.shape[1])[None] < lengths[:, None]


def _add_regions(batch: Batch, regions: Sequence[Regions]) -> None:
    sizes = {r.features.shape[1] for r in regions}
    if len(sizes) != 1:
        raise ValueError(f"regions: got feature sizes {sorted(sizes)} in one batch; all must come from one extractor")
    slots = 1 + max(len(r) for r in regions)
    features = np.zeros((len(regions), slots, sizes.pop()), np.float32)
    locations = np.zeros((len(regions), slots, 5), np.float32)
    confidence = np.zeros((len(regions), slots), np.float32)
    valid = np.zeros((len(regions), slots), bool)
    for at, picture in enumerate(regions):
        last = 1 + len(picture)
        features[at, 1:last] = picture.features
        features[at, 0] = features[at, 1:last].mean(0) if len(picture) else 0
        locations[at, 0] = WHOLE_IMAGE
        locations[at, 1:last] = picture.locations()
        confidence[at, 0] = 1
        confidence[at, 1:last] = picture.confidence
        valid[at, :last] = True
    batch.features, batch.locations = torch.from_numpy(features), torch.from_numpy(locations)
    batch.confidence, batch.regions_valid = torch.from_numpy(confidence), torch.from_numpy(valid)


WHOLE_IMAGE = (0.0, 0.0, 1.0, 1.0, 1.0)  # slot 0's location: the paper does not say, the release uses this


def _absent(names: Sequence[str]) -> dict[str, Any]:
    return dict.fromkeys(names)


def _moved(value: Any, device: torch.device | str) -> Any:
    return value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
