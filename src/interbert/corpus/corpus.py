"""A corpus on disk as memory maps: texts joined with the regions of their pictures (4.1). Opening it reads only sizes.

Texts are numbered 0 … len - 1, pictures 0 … images - 1; the texts of a picture are neighbours. `Corpora` puts several
folders behind the same interface. docs/formats.md describes the files; `build_corpus` makes them.
"""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from interbert.corpus.agreement import WITH_REGIONS, other_regions, other_vocabulary, regions_not_at
from interbert.corpus.arrays import check_array, checked, lengths_of, open_array, read_description, sequence_hashes
from interbert.errors import InterbertError, UsageError, unknown_name
from interbert.vision.provenance import ExtractorInfo

if TYPE_CHECKING:
    from interbert.batch import Regions
    from interbert.text.tokenizer import Tokenizer
    from interbert.vision.store import RegionStore

SPLITS = ("train", "validation", "test")  # the array `split` holds positions in this tuple
MIRRORED = "@mirrored"  # ends the id of a record that is a second view of the same picture, not a picture of its own


class Corpus:
    """A corpus in `folder`, made by `build_corpus`. Safe to pickle; needs no memory but what is touched.

    regions: the place of its region store where that is no longer where it was. The store is opened when first used.
    Raises UsageError where there is no corpus, InterbertError where a file is missing, cut short or of a newer format.
    """

    def __init__(self, folder: str | Path, regions: str | Path | None = None) -> None:
        self.folder = Path(folder)
        self._moved_to = None if regions is None else Path(regions)
        self.description = read_description(self.folder)
        files = self.description["files"]
        self._arrays = {name: open_array(self.folder, name, files[name]) for name in files}
        self._text_offsets, self._image_offsets = self._arrays["text_offsets"], self._arrays["image_offsets"]
        self._token_offsets, self._tokens = self._arrays["token_offsets"], self._arrays["tokens"]
        self.images = len(self._image_offsets) - 1

    def __reduce__(self) -> tuple[Any, ...]:
        return Corpus, (self.folder, self._moved_to)

    def __len__(self) -> int:
        """How many texts."""
        return len(self._token_offsets) - 1

    def words(self, text: int) -> NDArray[np.int64]:
        """int64 [T]: token ids of a text, from [CLS] to [SEP]."""
        text = checked(text, len(self), "text")
        return self._tokens[self._token_offsets[text] : self._token_offsets[text + 1]].astype(np.int64)

    def continues(self, text: int) -> NDArray[np.bool_] | None:
        """bool [T]: which tokens go on with the segmented word before them; None where texts were not segmented."""
        text, marks = checked(text, len(self), "text"), self._arrays.get("continues")
        return None if marks is None else marks[self._token_offsets[text] : self._token_offsets[text + 1]].astype(bool)

    def length(self, text: int) -> int:
        """How many tokens a text has, [CLS] and [SEP] included."""
        text = checked(text, len(self), "text")
        return int(self._token_offsets[text + 1] - self._token_offsets[text])

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """int32 [texts]: `length` of every text."""
        return lengths_of(self._token_offsets)

    @cached_property
    def text_hashes(self) -> NDArray[np.uint64]:
        """uint64 [texts]: equal where two texts have the same tokens."""
        return sequence_hashes(self._tokens, self._token_offsets)

    def text(self, text: int) -> str:
        """The text as it was read, blanks at its ends removed."""
        text = checked(text, len(self), "text")
        return self._arrays["text_bytes"][self._text_offsets[text] : self._text_offsets[text + 1]].tobytes().decode()

    def image_of(self, text: int) -> int:
        """The picture a text belongs to."""
        return int(self._arrays["image_of"][checked(text, len(self), "text")])

    @property
    def images_of(self) -> NDArray[np.int32]:
        """int32 [texts]: `image_of` of every text."""
        return self._arrays["image_of"]

    def image_id(self, image: int) -> str:
        """The picture's id in the region store."""
        image, offsets = checked(image, self.images, "image"), self._arrays["id_offsets"]
        return self._arrays["id_bytes"][offsets[image] : offsets[image + 1]].tobytes().decode("utf-8", "surrogatepass")

    def texts_of(self, image: int) -> range:
        """The texts of a picture."""
        image = checked(image, self.images, "image")
        return range(int(self._image_offsets[image]), int(self._image_offsets[image + 1]))

    def split(self, name: str) -> NDArray[np.int64]:
        """int64: the texts of the split `train`, `validation` or `test`, in order."""
        return np.flatnonzero(self.image_splits[self.images_of] == _split_number(name))

    @property
    def image_splits(self) -> NDArray[np.uint8]:
        """uint8 [images]: the position in `SPLITS` of every picture's split."""
        return self._arrays["split"]

    @property
    def image_hashes(self) -> NDArray[np.int64]:
        """int64 [images]: equal where the files of two pictures are equal; 0 where the store does not know the file."""
        return self._arrays["image_hash"]

    @property
    def image_categories(self) -> NDArray[np.int32]:
        """int32 [images]: the place in `category_names` of every picture's category; -1 where it has none."""
        found = self._arrays.get("category")
        return np.full(self.images, -1, np.int32) if found is None else found

    @property
    def category_names(self) -> list[str]:
        """The categories that the source gave its products; none where it had none."""
        return list(self.description.get("categories", ()))

    def region_count(self, image: int, view: int = 0) -> int:
        """How many regions `regions(image, view)` has."""
        counts = self._arrays["mirrored_counts" if view else "region_counts"]
        return int(counts[checked(image, self.images, "image")])

    @property
    def region_counts(self) -> NDArray[np.uint16]:
        """uint16 [images]: `region_count` of every picture."""
        return self._arrays["region_counts"]

    def views(self, image: int) -> int:
        """2 where the store also has the regions of the mirrored picture, else 1."""
        return 1 + (self.region_count(image, 1) > 0)

    def regions(self, image: int, view: int = 0) -> Regions:
        """The regions of a picture, best first, as many as the corpus was built for. view 1: of the mirror image."""
        if not 0 <= view < self.views(image):
            raise UsageError(
                f"view {view} of image '{self.image_id(image)}': it has {self.views(image)}, counted from 0"
            )
        regions = self.store[self.image_id(image) + (MIRRORED if view else "")]
        count = self.region_count(image, view)
        if len(regions) < count:
            raise InterbertError(
                f"'{self.image_id(image)}' has {len(regions)} regions in '{self.store_folder}', corpus '{self.folder}' "
                f"was built with {count}: the store has changed; build the corpus again"
            )
        return regions if len(regions) == count else regions.select(slice(0, count))

    @property
    def text_alone(self) -> bool:
        """Whether it has no pictures: every text is then an item of its own, in the place of a picture."""
        return self.description["regions"] is None

    @property
    def store_folder(self) -> Path:
        """Where the region store is looked for."""
        return self._moved_to or self.folder / self.description["regions"]

    @cached_property
    def store(self) -> RegionStore:
        """The region store. Raises InterbertError where it is not there or was made by another extractor."""
        from interbert.vision.store import RegionStore  # late: it needs torch, which opening a corpus does not

        if self.text_alone:
            raise InterbertError(f"corpus '{self.folder}' has texts alone: there are no regions; {WITH_REGIONS}")
        place = self.store_folder
        if not place.is_dir():
            raise InterbertError(f"corpus '{self.folder}' {regions_not_at(place, self.folder)}")
        store = RegionStore(place)
        if difference := self.extractor.difference(store.extractor):
            raise InterbertError(
                f"corpus '{self.folder}' was built with regions of another extractor than those in '{place}': "
                f"{difference}. Give the store it was built with, or build the corpus again"
            )
        return store

    @cached_property
    def extractor(self) -> ExtractorInfo:
        """The extractor that made the regions."""
        return ExtractorInfo.load(self.folder / "extractor.json")

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made the words."""
        from interbert.text.tokenizer import Tokenizer

        return Tokenizer.load(self.folder / "tokenizer.json")

    @property
    def tokenizer_digest(self) -> str:
        """`Tokenizer.digest` of the tokenizer that made the words."""
        return str(self.description["tokenizer"]["digest"])

    @cached_property
    def digest(self) -> str:
        """Hexadecimal sha256 of what the corpus holds: words, pictures, splits, extractor and vocabulary."""
        said = json.dumps([self.description["files"], self.tokenizer_digest], sort_keys=True)
        extractor = (self.folder / "extractor.json").read_bytes()
        return hashlib.sha256(said.encode() + extractor).hexdigest()

    def verify(self) -> None:
        """Reads every file. Raises InterbertError for the first whose checksum is wrong."""
        for name, description in self.description["files"].items():
            check_array(self.folder, name, description)

    def require(self, who: str, extractor: ExtractorInfo | None = None, tokenizer: Tokenizer | None = None) -> None:
        """Raises InterbertError where `who` ("run 'runs/demo'") has another extractor or vocabulary than the corpus."""
        if extractor is not None and (difference := self.extractor.difference(extractor)):
            raise InterbertError(f"corpus '{self.folder}' {other_regions(self.extractor, who, extractor, difference)}")
        if tokenizer is not None and tokenizer.digest != self.tokenizer_digest:
            size = self.description["tokenizer"]["vocabulary_size"]
            raise InterbertError(f"corpus '{self.folder}' {other_vocabulary(size, who, tokenizer.vocabulary_size)}")


class Corpora:
    """Several corpora that read like one: texts and pictures are numbered one after the other.

    A picture that one corpus holds out is not trained on through another: `held_out_elsewhere`.
    Raises InterbertError where extractors or vocabularies differ, and says which.
    """

    def __init__(self, corpora: Sequence[Corpus | str | Path]) -> None:
        if not corpora:
            raise UsageError("corpora: got none, wanted at least one folder")
        self.corpora = [corpus if isinstance(corpus, Corpus) else Corpus(corpus) for corpus in corpora]
        first = self.corpora[0]
        for other in self.corpora[1:]:
            other.require(f"corpus '{first.folder}'", first.extractor)
            if other.tokenizer_digest != first.tokenizer_digest:
                raise InterbertError(
                    f"corpora '{first.folder}' and '{other.folder}' were cut with different vocabularies; build one of "
                    f"them again with the other's tokenizer.json"
                )
        self._first_text = list(itertools.accumulate((len(corpus) for corpus in self.corpora), initial=0))
        self._first_image = list(itertools.accumulate((corpus.images for corpus in self.corpora), initial=0))
        self.images = self._first_image[-1]

    def __reduce__(self) -> tuple[Any, ...]:
        return Corpora, (self.corpora,)

    def __len__(self) -> int:
        """How many texts."""
        return int(self._first_text[-1])

    def words(self, text: int) -> NDArray[np.int64]:
        """See `Corpus.words`."""
        number, at = self._text(text)
        return self.corpora[number].words(at)

    def continues(self, text: int) -> NDArray[np.bool_] | None:
        """See `Corpus.continues`."""
        number, at = self._text(text)
        return self.corpora[number].continues(at)

    def length(self, text: int) -> int:
        """See `Corpus.length`."""
        number, at = self._text(text)
        return self.corpora[number].length(at)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """See `Corpus.lengths`."""
        return np.concatenate([corpus.lengths for corpus in self.corpora])

    @cached_property
    def text_hashes(self) -> NDArray[np.uint64]:
        """See `Corpus.text_hashes`."""
        return np.concatenate([corpus.text_hashes for corpus in self.corpora])

    def text(self, text: int) -> str:
        """See `Corpus.text`."""
        number, at = self._text(text)
        return self.corpora[number].text(at)

    def image_of(self, text: int) -> int:
        """See `Corpus.image_of`."""
        number, at = self._text(text)
        return self.corpora[number].image_of(at) + self._first_image[number]

    @cached_property
    def images_of(self) -> NDArray[np.int32]:
        """See `Corpus.images_of`."""
        numbered = zip(self._first_image, self.corpora, strict=False)
        return np.concatenate([corpus.images_of + np.int32(first) for first, corpus in numbered])

    def image_id(self, image: int) -> str:
        """See `Corpus.image_id`. Two corpora may have the same id."""
        number, at = self._image(image)
        return self.corpora[number].image_id(at)

    def texts_of(self, image: int) -> range:
        """See `Corpus.texts_of`."""
        number, at = self._image(image)
        first, texts = self._first_text[number], self.corpora[number].texts_of(at)
        return range(texts.start + first, texts.stop + first)

    def split(self, name: str) -> NDArray[np.int64]:
        """See `Corpus.split`; `train` is without the pictures of `held_out_elsewhere`."""
        numbered = zip(self._first_text, self.corpora, strict=False)
        texts = np.concatenate([corpus.split(name) + first for first, corpus in numbered])
        if name == "train" and self.held_out_elsewhere.size:
            texts = texts[~np.isin(self.images_of[texts], self.held_out_elsewhere)]
        return texts

    @cached_property
    def held_out_elsewhere(self) -> NDArray[np.int64]:
        """int64: pictures of `train` whose file is a validation or test picture of another of the corpora."""
        train, hashes = self.image_splits == SPLITS.index("train"), self.image_hashes
        return np.flatnonzero(train & (hashes != 0) & np.isin(hashes, hashes[~train]))

    @cached_property
    def image_splits(self) -> NDArray[np.uint8]:
        """See `Corpus.image_splits`."""
        return np.concatenate([corpus.image_splits for corpus in self.corpora])

    @cached_property
    def image_hashes(self) -> NDArray[np.int64]:
        """See `Corpus.image_hashes`."""
        return np.concatenate([corpus.image_hashes for corpus in self.corpora])

    def region_count(self, image: int, view: int = 0) -> int:
        """See `Corpus.region_count`."""
        number, at = self._image(image)
        return self.corpora[number].region_count(at, view)

    @cached_property
    def region_counts(self) -> NDArray[np.uint16]:
        """See `Corpus.region_counts`."""
        return np.concatenate([corpus.region_counts for corpus in self.corpora])

    def views(self, image: int) -> int:
        """See `Corpus.views`."""
        number, at = self._image(image)
        return self.corpora[number].views(at)

    def regions(self, image: int, view: int = 0) -> Regions:
        """See `Corpus.regions`."""
        number, at = self._image(image)
        return self.corpora[number].regions(at, view)

    @property
    def text_alone(self) -> bool:
        """See `Corpus.text_alone`."""
        return self.corpora[0].text_alone

    @property
    def extractor(self) -> ExtractorInfo:
        """The extractor of all of them."""
        return self.corpora[0].extractor

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of all of them."""
        return self.corpora[0].tokenizer()

    @property
    def tokenizer_digest(self) -> str:
        """See `Corpus.tokenizer_digest`."""
        return self.corpora[0].tokenizer_digest

    @property
    def digest(self) -> str:
        """Hexadecimal sha256 of the digests, in order."""
        return hashlib.sha256("".join(corpus.digest for corpus in self.corpora).encode()).hexdigest()

    def verify(self) -> None:
        """See `Corpus.verify`."""
        for corpus in self.corpora:
            corpus.verify()

    def require(self, who: str, extractor: ExtractorInfo | None = None, tokenizer: Tokenizer | None = None) -> None:
        """See `Corpus.require`."""
        self.corpora[0].require(who, extractor, tokenizer)

    def _text(self, text: int) -> tuple[int, int]:
        """(which corpus, number in it) of a text."""
        number = bisect.bisect_right(self._first_text, checked(text, len(self), "text")) - 1
        return number, text - self._first_text[number]

    def _image(self, image: int) -> tuple[int, int]:
        """(which corpus, number in it) of a picture."""
        number = bisect.bisect_right(self._first_image, checked(image, self.images, "image")) - 1
        return number, image - self._first_image[number]


def _split_number(name: str) -> int:
    if name not in SPLITS:
        raise UsageError(unknown_name("split", name, SPLITS))
    return SPLITS.index(name)
