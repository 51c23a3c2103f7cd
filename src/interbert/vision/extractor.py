"""What an extractor is. Pictures in, Regions out (3.1); `extraction` runs one over many files."""

from __future__ import annotations

import inspect
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from interbert.batch import Regions
from interbert.config import with_settings
from interbert.errors import InterbertError, UsageError, unknown_name
from interbert.vision.extraction import ExtractionReport, extract_images
from interbert.vision.legacy_records import IMPORTED, imported_again
from interbert.vision.provenance import NO_PICTURES, ExtractorInfo
from interbert.vision.sources import ImageSource, image_sources

__all__ = [
    "ELSEWHERE",
    "EXTRACTORS",
    "ExtractionReport",
    "Extractor",
    "ImageSource",
    "Limits",
    "Picture",
    "extract_images",
    "image_sources",
]

Picture = str | Path | bytes | Image.Image

ELSEWHERE = "INTERBERT_EXTRACTOR"
"""The environment variable that says where weights are now: `hf:NEW/FOLDER`, for regions made of `hf:OLD/FOLDER`."""


@dataclass(frozen=True)
class Limits:
    """How many regions a picture gets: those of at least `min_confidence`, the best `max_regions` of them; where they
    are fewer than `min_regions`, the best of the others too. 10 to 36 in the paper (3.1)."""

    max_regions: int = 36
    min_regions: int = 10
    min_confidence: float = 0.2

    def __post_init__(self) -> None:
        if not 1 <= self.min_regions <= self.max_regions:
            raise UsageError(
                f"got min_regions {self.min_regions} and max_regions {self.max_regions}; wanted 1 <= min <= max"
            )
        if not 0 <= self.min_confidence <= 1:
            raise UsageError(f"got min_confidence {self.min_confidence}; wanted a number in 0..1")

    def count(self, sure: int, found: int) -> int:
        """How many of the `found` best are kept, where `sure` of them have the confidence.

        >>> Limits().count(50, 90), Limits().count(12, 90), Limits().count(3, 90), Limits().count(3, 7)
        (36, 12, 10, 7)
        """
        return min(max(sure, self.min_regions), self.max_regions, found)


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
        cls,
        name: str,
        *,
        max_regions: int = 36,
        min_regions: int = 10,
        min_confidence: float = 0.2,
        settings: Mapping[str, Any] | None = None,
    ) -> Extractor:
        """The extractor of that name, with the paper's 10 to 36 regions unless told otherwise.

        name: NAME or NAME:ARGUMENT, as `FORMS` lists them.  settings: what else this extractor has, as its
        `info.settings` names it ("rule" and "precision" of bottom-up). Raises UsageError where there is none of that
        name or no such setting, or an argument is missing or too many; InterbertError where its weights are not there.
        """
        limits = {"max_regions": max_regions, "min_regions": min_regions, "min_confidence": min_confidence}
        extractor = _made(name, limits | dict(settings or {}))
        known = extractor.info.settings
        for setting in settings or {}:
            if setting not in known:
                raise UsageError(unknown_name("setting", setting, known))
        return extractor

    @classmethod
    def from_info(cls, info: ExtractorInfo) -> Extractor:
        """The extractor that made regions: the same settings again, also those that `from_name` has no argument for.

        Its weights are looked for where they were, then where $INTERBERT_EXTRACTOR says; those whose digest and
        settings are the same are taken. Raises UsageError where its name is unknown, InterbertError where there is
        none like it.
        """
        if info.kind == IMPORTED:
            raise imported_again(info.name)
        if info.name == NO_PICTURES:
            raise InterbertError(
                "this run has read texts alone and knows no pictures; pretrain it on a corpus with regions first:  "
                "interbert pretrain CORPUS --init RUN --out ANOTHER"
            )
        names, reasons = [info.name], []
        elsewhere = os.environ.get(ELSEWHERE, "")
        if ":" in elsewhere and elsewhere.partition(":")[0] == info.kind:
            names.append(elsewhere)
        for name in names:
            try:
                extractor = _made(name, info.settings)
                difference = info.difference(extractor.info)
            except UsageError:
                raise
            except InterbertError as error:
                reasons.append(str(error))
                continue
            if not difference:
                return extractor
            reasons.append(f"the extractor '{name}' that is here is another one: {difference}")
        advice = "extract again"
        if ":" in info.name:
            advice = (
                f"where the same weights are elsewhere now, say so with  {ELSEWHERE}={info.kind}:PLACE ; or {advice}"
            )
        raise InterbertError(f"{'; '.join(reasons)}; {advice}")


def _made(name: str, settings: Mapping[str, Any]) -> Extractor:
    kind, _, argument = name.partition(":")
    if kind not in EXTRACTORS:
        raise UsageError(unknown_name("extractor", kind, EXTRACTORS))
    return EXTRACTORS[kind](argument if ":" in name else None, settings)


def _embedded(argument: str | None, settings: Mapping[str, Any]) -> Extractor:
    from interbert.vision.embedded import EmbeddedExtractor, Selection

    if argument is not None:
        raise UsageError(f"got extractor 'embedded:{argument}'; wanted 'embedded' alone: it brings its own weights")
    wanted = _known(settings, Selection)
    if "grid" not in wanted and "max_regions" in wanted:  # the largest grid that leaves room for a detection
        wanted["grid"] = max(1, min(Selection.grid, math.isqrt(max(0, wanted["max_regions"] - 1))))
    return EmbeddedExtractor(with_settings(Selection(), wanted))


def _bottom_up(argument: str | None, settings: Mapping[str, Any]) -> Extractor:
    place = _wanted("bottom-up", argument)
    from interbert.vision.bottom_up_extractor import BottomUpExtractor

    made: Extractor = with_settings(BottomUpExtractor(place), _known(settings, BottomUpExtractor))
    return made


def _hf(argument: str | None, settings: Mapping[str, Any]) -> Extractor:
    place = _wanted("hf", argument)
    from interbert.vision.detectors import TransformersExtractor

    return TransformersExtractor(place, with_settings(Limits(), _known(settings, Limits)))


def _torchvision(argument: str | None, settings: Mapping[str, Any]) -> Extractor:
    architecture = _wanted("torchvision", argument)
    from interbert.vision.detectors_torchvision import TorchvisionExtractor

    return TorchvisionExtractor(architecture, with_settings(Limits(), _known(settings, Limits)))


def _wanted(kind: str, argument: str | None) -> str:
    if not argument:
        raise UsageError(f"got extractor '{kind}' without what it reads; wanted {FORMS[kind]}")
    return argument


def _known(settings: Mapping[str, Any], made: Callable[..., Any]) -> dict[str, Any]:
    """Those of the settings that are arguments of `made`; what the others were is compared afterwards."""
    arguments = inspect.signature(made).parameters
    return {name: value for name, value in settings.items() if name in arguments}


FORMS: dict[str, str] = {
    "embedded": "embedded",
    "bottom-up": "bottom-up:FOLDER_OR_ID",
    "hf": "hf:FOLDER_OR_ID",
    "torchvision": "torchvision:NAME",
}
"""How each is written."""

EXTRACTORS: dict[str, Callable[[str | None, Mapping[str, Any]], Extractor]] = {
    "embedded": _embedded,
    "bottom-up": _bottom_up,
    "hf": _hf,
    "torchvision": _torchvision,
}
"""Name -> function of what stands after its colon, and of settings: all of an `ExtractorInfo`'s, or some of them.

A new extractor is a class and an entry here."""
