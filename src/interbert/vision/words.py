"""Regions in words, for pages, explanations and tables: names of classes and attributes beside the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interbert.batch import Regions
from interbert.vision.provenance import ExtractorInfo


@dataclass(frozen=True)
class RegionWords:
    """A region as people read it. box: xyxy in pixels.  label, attribute: numbers; None where there is no attribute.
    name, attribute_name: their words; None where the extractor's names are not known."""

    box: tuple[float, float, float, float]
    label: int
    name: str | None
    confidence: float
    attribute: int | None = None
    attribute_name: str | None = None
    attribute_confidence: float | None = None

    @property
    def phrase(self) -> str:
        """What it is called in a sentence.

        >>> RegionWords((0, 0, 1, 1), 3, "ball", 0.9, 5, "red", 0.5).phrase
        'red ball'
        """
        noun = self.name or f"class {self.label}"
        return f"{self.attribute_name} {noun}" if self.attribute_name else noun


def region_words(regions: Regions, extractor: ExtractorInfo) -> list[RegionWords]:
    """Every region of a picture in words, in order. extractor: whose classes and attributes the regions count."""
    found = []
    for at, (box, label, sure) in enumerate(
        zip(regions.boxes.tolist(), regions.labels.tolist(), regions.confidence.tolist(), strict=True)
    ):
        attribute = attribute_sure = None
        if regions.attributes is not None and regions.attribute_confidence is not None:
            attribute, attribute_sure = int(regions.attributes[at]), float(regions.attribute_confidence[at])
        words = _word(extractor.attributes, attribute)
        found.append(
            RegionWords(tuple(box), label, _word(extractor.classes, label), sure, attribute, words, attribute_sure)
        )
    return found


def _word(names: Sequence[str], number: int | None) -> str | None:
    return names[number] if number is not None and 0 <= number < len(names) else None
