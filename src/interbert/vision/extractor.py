"""What an extractor is. Pictures in, Regions out (3.1); `extraction` runs one over many files."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from PIL import Image

from interbert.batch import Regions
from interbert.errors import InterbertError, UsageError, unknown_name
from interbert.vision.extraction import ExtractionReport, extract_images
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.sources import ImageSource, image_sources

__all__ = ["EXTRACTORS", "ExtractionReport", "Extractor", "ImageSource", "Picture", "extract_images", "image_sources"]

Picture = str | Path | bytes | Image.Image


class Extractor(ABC):
    """Turns pictures into regions. It is sent to worker processes: picklable, its weights loaded when first used."""

    @property
    @abstractmethod
    def info(self) -> ExtractorInfo:
        """Its identity: regions of extractors that differ in it never mix."""

    @abstractmethod
    def extract(self, images: Sequence[Picture]) -> list[Regions]:
        """Regions of each picture (a path, the bytes of a file, or a PIL image), best first.

        Raises ImageError where a picture is missing or damaged, InterbertError where the weights are.
        """

    def about(self) -> str:
        """For the log: its name, and what it runs on where that isn't plain."""
        return f"extractor '{self.info.name}'"

    @classmethod
    def from_name(
        cls, name: str, *, max_regions: int = 36, min_regions: int = 10, min_confidence: float = 0.2
    ) -> Extractor:
        """The extractor of that name ("embedded"), with the paper's 10 to 36 regions unless told otherwise.

        Raises UsageError where there is none of that name.
        """
        limits = {"max_regions": max_regions, "min_regions": min_regions, "min_confidence": min_confidence}
        return _made(name, limits)

    @classmethod
    def from_info(cls, info: ExtractorInfo) -> Extractor:
        """The extractor that made regions: the same settings again, also those that `from_name` has no argument for.

        Raises UsageError where its name is unknown, InterbertError where what is here differs from it.
        """
        extractor = _made(info.name, info.settings)
        difference = info.difference(extractor.info)
        if difference:
            raise InterbertError(
                f"the extractor '{info.name}' of this version is another one: {difference}; extract again"
            )
        return extractor


def _made(name: str, settings: Mapping[str, Any]) -> Extractor:
    if name not in EXTRACTORS:
        raise UsageError(unknown_name("extractor", name, EXTRACTORS))
    return EXTRACTORS[name](settings)


def _embedded(settings: Mapping[str, Any]) -> Extractor:
    from interbert.vision.embedded import EmbeddedExtractor, Selection

    known = {field.name for field in fields(Selection)}
    wanted = {name: value for name, value in settings.items() if name in known}
    if "grid" not in wanted and "max_regions" in wanted:  # the largest grid that leaves room for a detection
        wanted["grid"] = max(1, min(Selection.grid, math.isqrt(max(0, wanted["max_regions"] - 1))))
    return EmbeddedExtractor(Selection(**wanted))


EXTRACTORS: dict[str, Callable[[Mapping[str, Any]], Extractor]] = {"embedded": _embedded}
"""Name -> function of settings: all of an `ExtractorInfo`'s, or some. A new extractor is a class and an entry here."""
