"""The arrays of a corpus, written picture by picture. docs/formats.md describes them.

In: pictures, each followed by its texts. Out: the files that `Corpus` opens, and their description.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from interbert.corpus.arrays import ArrayWriter

PICTURE_ARRAYS = {"split": "u1", "image_hash": "<i8", "region_counts": "<u2", "mirrored_counts": "<u2"}
CATEGORY_ARRAY = {"category": "<i4"}  # of a corpus whose source has categories


class CorpusWriter:
    """A context manager. On leaving it without an error everything is on disk and `files` describes the arrays.

    images, texts: how many were added.  segmented: every text comes with the words that its tokens belong to.
    categorised: every picture comes with its category.
    """

    def __init__(self, folder: Path, vocabulary_size: int, segmented: bool = False, categorised: bool = False) -> None:
        words = "<u2" if vocabulary_size <= 1 << 16 else "<u4"
        types = {"tokens": words, "token_offsets": "<i8", "text_bytes": "u1", "text_offsets": "<i8", "image_of": "<i4"}
        types |= {"continues": "u1"} if segmented else {}
        self._of_pictures = PICTURE_ARRAYS | (CATEGORY_ARRAY if categorised else {})
        types |= {"image_offsets": "<i8", "id_bytes": "u1", "id_offsets": "<i8", **self._of_pictures}
        self._arrays = {name: ArrayWriter(folder, name, kind) for name, kind in types.items()}
        self.images = self.texts = 0
        self.files: dict[str, dict[str, Any]] = {}
        for name in ("token_offsets", "text_offsets", "id_offsets"):
            self._arrays[name].append(0)

    def add_picture(self, id: str, numbers: dict[str, int]) -> None:
        """Begins a picture. numbers: one for each of `PICTURE_ARRAYS`, and "category" where the corpus has any."""
        self.images += 1
        self._arrays["id_bytes"].extend(id.encode("utf-8", "surrogatepass"))
        self._arrays["id_offsets"].append(self._arrays["id_bytes"].length)
        self._arrays["image_offsets"].append(self.texts)
        for name in self._of_pictures:
            self._arrays[name].append(numbers[name])

    def add_text(self, text: str, ids: list[int], continues: list[bool] | None = None) -> None:
        """Adds a text of the picture that was begun last, and its token ids.

        continues: for each, whether it goes on with the word before it; given where the corpus is `segmented`.
        """
        self.texts += 1
        if continues is not None:
            self._arrays["continues"].extend(bytes(continues))
        self._arrays["tokens"].extend(ids)
        self._arrays["token_offsets"].append(self._arrays["tokens"].length)
        self._arrays["text_bytes"].extend(text.encode())
        self._arrays["text_offsets"].append(self._arrays["text_bytes"].length)
        self._arrays["image_of"].append(self.images - 1)

    def __enter__(self) -> CorpusWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for array in self._arrays.values():
                array.abandon()
            return
        self._arrays["image_offsets"].append(self.texts)
        self.files = {name: array.close() for name, array in self._arrays.items()}
