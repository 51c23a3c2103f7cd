"""What an extractor is. Pictures in, Regions out (3.1); `extraction` runs one over many files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from interbert.batch import Regions
from interbert.errors import UsageError, unknown_name
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

    @classmethod
    def from_name(
        cls, name: str, *, max_regions: int = 36, min_regions: int = 10, min_confidence: float = 0.2
    ) -> Extractor:
        """The extractor of that name ("embedded"), with the paper's 10 to 36 regions unless told otherwise.

        Raises UsageError where there is none of that name.
        """
        if name not in EXTRACTORS:
            raise UsageError(unknown_name("extractor", name, EXTRACTORS))
        return EXTRACTORS[name](max_regions, min_regions, min_confidence)


def _embedded(max_regions: int, min_regions: int, min_confidence: float) -> Extractor:
    from interbert.vision.embedded import EmbeddedExtractor, Selection

    return EmbeddedExtractor(Selection(max_regions, min_regions, min_confidence))


EXTRACTORS: dict[str, Callable[[int, int, float], Extractor]] = {"embedded": _embedded}
"""Name -> function of (max_regions, min_regions, min_confidence). A new extractor is a class and an entry here."""
