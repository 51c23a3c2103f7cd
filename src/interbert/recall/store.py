"""What an index of products keeps, whatever keeps it (appendix A.4): the types that cross, and the `ProductStore`.

In: products with their columns, regions and `alone` vectors of their pictures. Out: whole versions of them, filtered.
A search pins one version and sees nothing of what is written meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from interbert.batch import Regions
from interbert.errors import InterbertError
from interbert.recall.filters import Filter
from interbert.vision.provenance import ExtractorInfo

Cell = str | int | float | None
Kind = Literal["text", "number"]
OWN_COLUMNS = ("id", "title", "image")  # that every product has
MAX_COLUMNS = 200


@dataclass(frozen=True)
class Facts:
    """What an index was made with, and what does not change. run: where the model was, a folder or an id on the hub.

    weights_sha256: of its `model.safetensors`.  vector_size: F.  created: as ISO 8601 has it.
    """

    weights_sha256: str
    extractor: ExtractorInfo
    run: str
    vector_size: int
    created: str
    interbert: str


@dataclass(frozen=True)
class Product:
    """A product of the index. image: as the catalogue names it.  picture: the key of what it shows, see `PictureKey`.

    cells: values by column; a column that it lacks has None.
    """

    id: str
    title: str
    image: str
    picture: str
    cells: Mapping[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True)
class Version:
    """A whole state of the index. products: how many it has; the other counts are against the version before it."""

    number: int
    created: str
    what: str
    products: int
    added: int
    replaced: int
    deleted: int


@dataclass(frozen=True, eq=False)
class Selection:
    """Products of a version, as numbers. rows: int64 [n], of a product in its version of itself.

    pictures: int64 [n], the number of each one's picture.  regions: int64 [n], how many regions that has.
    """

    rows: NDArray[np.int64]
    pictures: NDArray[np.int64]
    regions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, which: Any) -> Selection:
        """Those at `which` (indices or booleans), in that order."""
        return Selection(self.rows[which], self.pictures[which], self.regions[which])


class ProductStore(Protocol):
    """Products in versions, their pictures once each. Any number of readers, in threads too, beside one writer.

    A picture has a key (what it shows) and a number, in the order in which pictures came; both stay what they are.
    Every method raises InterbertError where what it reads is damaged or not there.
    """

    facts: Facts
    region_folder: Path
    """A RegionStore with the regions of pictures under their keys, filled before the pictures are added."""

    def columns(self) -> dict[str, Kind]:
        """The columns that a filter may name, with what they hold: id, title, image, and those of the catalogues."""

    def versions(self) -> list[Version]:
        """All that can be read or restored, the oldest first."""

    def writing(self) -> AbstractContextManager[None]:
        """Holds the place of the one writer. Raises InterbertError where another one has it."""

    def known(self, keys: Collection[str]) -> dict[str, int]:
        """The numbers of those pictures that have regions and a vector."""

    def picture_key(self, number: int) -> str | None:
        """The key of a picture that has regions and a vector; None where no picture has the number."""

    def add_pictures(self, keys: Sequence[str], counts: Sequence[int], vectors: NDArray[np.float32]) -> None:
        """Keeps the vectors of new pictures, float32 [n, F], with how many regions each has: all of them or none."""

    def change(
        self, add: Iterable[Product], delete: Collection[str], kinds: Mapping[str, Kind], what: str
    ) -> Version | None:
        """A new version: `add` put in by id, what has an id of `delete` taken out. All of it or nothing.

        kinds: of the columns that `add` has; new ones are made. None where all is as it was before.
        """

    def restore(self, number: int) -> Version:
        """A new version with the products of an older one. Raises UsageError where there is no such version."""

    def select(self, version: int, where: Filter | None) -> Selection:
        """The products that pass the filter, in the order in which they came."""

    def nearest(
        self, version: int, where: Filter | None, query: NDArray[np.float32], count: int
    ) -> tuple[Selection, NDArray[np.float32]]:
        """The products of the `count` pictures with the largest inner product with `query`, float32 [F], best first.

        With the inner products, float32 [n]. Products of one picture stand together, and count as one.
        """

    def products(self, rows: Sequence[int]) -> list[Product]:
        """What the rows of a selection are, in that order."""

    def find(self, version: int, id: str) -> Product | None:
        """The product of that id; None where the version has none."""

    def ids(self, version: int) -> set[str]:
        """The ids of all its products."""

    def regions(self, pictures: Sequence[int]) -> list[Regions]:
        """The regions of pictures by their numbers."""

    def close(self) -> None:
        """Lets go of files and connections."""


def new_columns(there: Mapping[str, Kind], kinds: Mapping[str, Kind]) -> dict[str, Kind]:
    """Those of `kinds` that are not there yet. Raises InterbertError for too many, or one that holds something else."""
    new = {name: kind for name, kind in kinds.items() if name not in there}
    if len(there) + len(new) > MAX_COLUMNS:
        first = list(new)[max(0, MAX_COLUMNS - len(there))]
        raise InterbertError(f"column '{first}': an index has at most {MAX_COLUMNS}; leave some out")
    for name, kind in kinds.items():
        if there.get(name, kind) != kind:
            raise InterbertError(f"column '{name}' holds {there[name]}s in this index, not {kind}s")
    return new
