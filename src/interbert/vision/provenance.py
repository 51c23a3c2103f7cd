"""Where regions come from: the extractor that made them and their picture. Stores, corpora and runs keep both."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from interbert.errors import InterbertError
from interbert.files import write_json

NO_PICTURES = "none"  # the name where texts were read alone: by a corpus without regions, a model without pictures
UNKNOWN = "unknown"  # the name where a model says how many numbers a region has, but nobody what extractor made them


@dataclass(frozen=True)
class ExtractorInfo:
    """An extractor's identity. Regions of two extractors that differ in any of it never mix.

    name: as given to `--extractor` ("embedded", "hf:ID", …); where the digest of the weights is known, what stands
    after the colon is only where they were, and makes no difference.
    feature_size: D.  classes: C names, in the order of `Regions.probabilities`.  attributes: names of what
    `Regions.attributes` count; empty where it has none.  weights_sha256: hexadecimal.  settings: everything else that
    changes a number.
    """

    name: str
    feature_size: int
    classes: tuple[str, ...] = ()
    weights_sha256: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # As read back from JSON: a tuple would come back as a list and count as a difference.
        object.__setattr__(self, "settings", json.loads(json.dumps(self.settings)))

    @property
    def kind(self) -> str:
        """The name without its argument.

        >>> ExtractorInfo("hf:some/detector", 256).kind
        'hf'
        """
        return self.name.partition(":")[0]

    def save(self, path: Path) -> None:
        """Writes `extractor.json`."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> ExtractorInfo:
        """Reads `extractor.json`. Raises InterbertError where it is missing or not one."""
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InterbertError(f"'{path}' does not describe an extractor ({error}); make the folder again") from error

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ExtractorInfo:
        """From what `dataclasses.asdict` gives, also after a trip through JSON."""
        given = cls(**value)
        return replace(given, classes=tuple(given.classes), attributes=tuple(given.attributes))

    def difference(self, other: ExtractorInfo) -> str | None:
        """What differs, in words ("feature_size 736 and 2048"), or None where regions of both may mix.

        An UNKNOWN one, which only a converted model has, agrees with every one of its feature size.
        """
        if self.name != other.name and NO_PICTURES in (self.name, other.name):
            return "one of them has texts alone, without pictures"
        parts: tuple[str, ...] = ("name", "feature_size", "weights_sha256", "classes", "attributes", "settings")
        if UNKNOWN in (self.name, other.name):
            parts = ("feature_size",)
        elif self.kind == other.kind and self.weights_sha256:  # equal weights that were moved
            parts = parts[1:]
        for name in parts:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                names = {"classes": "the class names", "attributes": "the attribute names"}
                return names.get(name, f"{name} {mine!r} and {theirs!r}")
        return None


TEXT_ALONE = ExtractorInfo(NO_PICTURES, 1)  # of a corpus without pictures; a model needs some size of a region


@dataclass(frozen=True)
class ImageInfo:
    """The picture of a record. source: path as it was found.  sha256: of the file.  perceptual: 64-bit dHash."""

    source: str
    sha256: str
    perceptual: int
