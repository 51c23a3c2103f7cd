"""bottom-up-tsv: a picture a line, columns between TABs, arrays in base64. docs/formats.md has its forms.

As written by bottom-up attention's generate_tsv.py (6 columns), ViLBERT (7), LXMERT (10) and VOLTA (13).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from interbert.vision.legacy_records import Found, Unusable, found_in
from interbert.vision.legacy_sources import Item, Place, Source

MAX_LINE_BYTES = 1 << 26  # 300 regions with their 1,601 probabilities are 6 MB
_OLDEST = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features", "cls_prob")
_LXMERT = (
    *("img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
    *("num_boxes", "boxes", "features", "cls_prob", "attrs", "classes"),
)
_COLUMNS = {6: _OLDEST[:6], 7: _OLDEST, 10: _LXMERT[:10], 13: _LXMERT}
_SHOWN = 60  # characters of a line that has no id


class BottomUpTsv(Source):
    """A TSV file of bottom-up features, of any length: one line is in memory."""

    resumes = True

    def total(self) -> int:
        return self.path.stat().st_size

    def items(self, start: Place) -> Iterator[Item]:
        line, offset = start
        with open(self.path, "rb") as file:
            file.seek(offset)
            while content := file.readline(MAX_LINE_BYTES):
                rest = _skipped(file) if len(content) == MAX_LINE_BYTES and not content.endswith(b"\n") else 0
                size = len(content) + rest
                line, offset = line + 1, offset + size
                if content.strip():
                    read = partial(_too_long, size) if rest else partial(_found, content)
                    yield Item(_id(content), f"line {line}", Place(line, offset), size, read)


def _skipped(file: BinaryIO) -> int:
    """Reads to the end of an endless line. Returns its bytes."""
    size = 0
    while content := file.readline(MAX_LINE_BYTES):
        size += len(content)
        if content.endswith(b"\n"):
            break
    return size


def _id(content: bytes) -> str:
    first, tab, _ = content.partition(b"\t")
    return (first if tab else first.rstrip()[:_SHOWN]).decode("utf-8", "replace").strip('"')


def _too_long(size: int) -> Found:
    raise Unusable(f"the line has {size:,} bytes, wanted at most {MAX_LINE_BYTES:,}: is it a TSV of features?")


def _found(content: bytes) -> Found:
    columns = content.rstrip(b"\r\n").split(b"\t")
    names = _COLUMNS.get(len(columns))
    if names is None:
        wanted = ", ".join(map(str, _COLUMNS))
        raise Unusable(f"{len(columns)} columns, wanted {wanted}: was the line cut?")
    record = {name: column.strip(b'"') for name, column in zip(names, columns, strict=True)}
    return found_in(record, background=True)
