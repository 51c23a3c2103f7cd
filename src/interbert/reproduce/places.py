"""Where the data of a scale are in the folder that is given; without one, nothing is looked for."""

from __future__ import annotations

from pathlib import Path

from interbert.reproduce.setting import Source
from interbert.reproduce.steps import Extract, Step, Stored

CAPTIONS = (  # a captions file's name -> its format
    ("captions.jsonl", "jsonl"),
    ("captions.tsv", "tsv"),
    ("captions.csv", "csv"),
    ("dataset*.json", "karpathy"),
    ("captions*.json", "coco"),
)
GLUE_SIZES = {  # task -> folder, training and dev sentences, tokens of one
    "cola": ("CoLA", 8_551, 1_043, 11),
    "sst2": ("SST-2", 67_349, 872, 13),
    "stsb": ("STS-B", 5_749, 1_500, 31),
    "rte": ("RTE", 2_490, 277, 70),
}


def pictures_of(store: Step) -> Path:
    """What must be there for the regions of a store."""
    return store.images if isinstance(store, Extract) else store.folder


class Place:
    """The folder of `--data`, called DATA where none is given."""

    def __init__(self, data: Path | None) -> None:
        self.given = data is not None
        self.folder = Path("DATA") if data is None else data.resolve()

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    def missing(self, *paths: Path) -> str:
        """What is not there, in words; "" where all is, or nothing is looked for."""
        first = next((path for path in paths if self.given and not path.exists()), None)
        return "" if first is None else f"the data have no {first.relative_to(self.folder)}"

    def captions(self, name: str) -> tuple[Path, str]:
        """The captions of the folder `name` and their format; where there are none, the first name that could be."""
        found = [(path, kind) for pattern, kind in CAPTIONS for path in sorted((self / name).glob(pattern))]
        return found[0] if found else (self / name / CAPTIONS[0][0], CAPTIONS[0][1])

    def regions(self, wanted: Extract) -> Extract | Stored:
        """The region store in the folder of the pictures, regions/, where there is one; else what extracts them."""
        path = wanted.images.parent / "regions"
        if self.given and path.is_dir():
            return Stored(name=wanted.name, root=wanted.root, path=path)
        return wanted

    def glue(self) -> dict[str, Source]:
        """GLUE's four folders in glue/."""
        found = {}
        for task, (name, train, dev, words) in GLUE_SIZES.items():
            folder = self / "glue" / name
            found[task] = Source(
                f"{name}'s dev set",
                folder,
                missing=self.missing(folder / "train.tsv", folder / "dev.tsv"),
                examples=train,
                tested=dev,
                words=words,
            )
        return found
