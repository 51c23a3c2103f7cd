"""True files of other projects' feature formats, as their own programs write them, of pictures that tests know."""

from __future__ import annotations

import base64
import csv
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

OLDEST = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features", "cls_prob")
LXMERT = (
    *("img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf"),
    *("num_boxes", "boxes", "features", "cls_prob", "attrs", "classes"),
)
FIELDS = {6: OLDEST[:6], 7: OLDEST, 10: LXMERT[:10], 13: LXMERT}


@dataclass(frozen=True, eq=False)
class Picture:
    """What a detector with five classes, a background before them and four attributes says of one picture."""

    id: str
    size: tuple[int, int]
    boxes: NDArray[np.float32]
    features: NDArray[np.float32]
    probabilities: NDArray[np.float32]  # [N, 6], the background first
    attributes: NDArray[np.int64]
    attribute_confidence: NDArray[np.float32]

    @property
    def objects(self) -> NDArray[np.int64]:
        """Counted without the background."""
        return self.probabilities[:, 1:].argmax(1)

    @property
    def confidence(self) -> NDArray[np.float32]:
        return self.probabilities[:, 1:].max(1)

    def __len__(self) -> int:
        return len(self.boxes)


def picture(id: str = "84002", count: int = 3, size: tuple[int, int] = (640, 480), features: int = 8) -> Picture:
    """Regions of falling confidence (0.9, 0.8, …). Region n: class n, attribute 3 - n, every feature n + 0.5."""
    numbers = np.arange(count)
    probabilities = np.full((count, 6), 0.01, np.float32)
    probabilities[numbers, 1 + numbers % 5] = 0.9 - 0.1 * (numbers % 8)
    corners = np.stack([10 + 5 * numbers, 20 + 5 * numbers, 110 + 5 * numbers, 220 + 5 * numbers], 1)
    return Picture(
        id,
        size,
        corners.astype(np.float32),
        np.repeat((numbers + 0.5)[:, None], features, 1).astype(np.float32),
        probabilities,
        (3 - numbers) % 4,
        np.full(count, 0.25, np.float32),
    )


def base64_of(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array)).decode()


def row(of: Picture, columns: int) -> dict[str, Any]:
    """A line of a bottom-up TSV as the dictionary that its writer has. columns: 6, 7, 10 or 13."""
    every = {
        **dict.fromkeys(("image_id", "img_id"), of.id),
        **dict.fromkeys(("image_w", "img_w"), of.size[0]),
        **dict.fromkeys(("image_h", "img_h"), of.size[1]),
        "objects_id": base64_of(of.objects),
        "objects_conf": base64_of(of.confidence),
        "attrs_id": base64_of(of.attributes),
        "attrs_conf": base64_of(of.attribute_confidence),
        "num_boxes": len(of),
        "boxes": base64_of(of.boxes),
        "features": base64_of(of.features),
        "cls_prob": base64_of(of.probabilities),
        "attrs": base64_of(np.zeros((len(of), 5), np.float32)),
        "classes": base64_of(of.probabilities),
    }
    return {name: every[name] for name in FIELDS[columns]}


def write_tsv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """As bottom-up attention's generate_tsv.py and its descendants, by csv with TABs: lines end with CR LF."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, delimiter="\t", fieldnames=list(rows[0]))
        writer.writerows(rows)
    return path


def uniter_arrays(of: Picture) -> dict[str, NDArray[Any]]:
    width, height = of.size
    corners = of.boxes / np.array([width, height, width, height], np.float32)
    sides = corners[:, 2:] - corners[:, :2]
    return {
        "norm_bb": np.concatenate([corners, sides], 1).astype(np.float16),
        "features": of.features.astype(np.float16),
        "conf": of.confidence[:, None].astype(np.float16),
        "soft_labels": of.probabilities.astype(np.float16),
    }


def write_uniter_npz(folder: Path, pictures: Sequence[Picture]) -> Path:
    """As UNITER's generate_npz.py: a file for each picture."""
    folder.mkdir(parents=True, exist_ok=True)
    for of in pictures:
        np.savez_compressed(folder / f"{of.id}.npz", **uniter_arrays(of))
    return folder


def write_uniter_plain_lmdb(folder: Path, pictures: Sequence[Picture]) -> Path:
    """As UNITER's convert_imgdir.py without --compress: msgpack."""
    values = {f"{of.id}.npz".encode(): msgpack_of(dict(uniter_arrays(of))) for of in pictures}
    return write_lmdb(folder, {**values, b"__keys__": json.dumps([key.decode() for key in values]).encode()})


def write_tensorpack_lmdb(folder: Path, pictures: Sequence[Picture], columns: int = 7) -> Path:
    """As ViLBERT's (7) and VOLTA's (13) programs for Conceptual Captions, by tensorpack's LMDBSerializer."""
    values = {f"{at:08}".encode(): msgpack_of(tensorpack_values(of, columns)) for at, of in enumerate(pictures)}
    return write_lmdb(folder, {**values, b"__keys__": msgpack_of(list(values))})


def tensorpack_values(of: Picture, columns: int = 7) -> list[Any]:
    """The numbers of boxes and pixels are texts: they come out of a TSV."""
    extra = [of.objects, of.confidence, of.attributes, of.attribute_confidence, np.zeros((len(of), 5), np.float32)]
    last = [of.boxes, str(len(of)), str(of.size[1]), str(of.size[0]), of.id, "a caption"]
    return [of.features, of.probabilities, *(extra if columns == 13 else []), *last]


def msgpack_of(value: Any) -> bytes:
    """msgpack by its specification, arrays as msgpack-numpy writes them."""
    if isinstance(value, np.ndarray):
        plain = {b"nd": True, b"type": value.dtype.str, b"kind": b"", b"shape": list(value.shape)}
        return msgpack_of({**plain, b"data": value.tobytes()})
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return struct.pack(">b", value) if -32 <= value < 128 else struct.pack(">Bq", 0xD3, value)
    if isinstance(value, bytes):
        return struct.pack(">BI", 0xC6, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return (bytes([0xA0 + len(text)]) if len(text) < 32 else struct.pack(">BB", 0xD9, len(text))) + text
    if isinstance(value, dict):
        parts = b"".join(msgpack_of(key) + msgpack_of(entry) for key, entry in value.items())
        return bytes([0x80 + len(value)]) + parts
    assert isinstance(value, list)
    head = bytes([0x90 + len(value)]) if len(value) < 16 else struct.pack(">BH", 0xDC, len(value))
    return head + b"".join(map(msgpack_of, value))


def write_uniter_lmdb(folder: Path, pictures: Sequence[Picture]) -> Path:
    """As UNITER's convert_imgdir.py --compress, with the array "allow_pickle" that it puts beside by mistake."""
    values = {}
    for of in pictures:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in {**uniter_arrays(of), "allow_pickle": np.array(True)}.items():
                part = io.BytesIO()
                np.save(part, array)
                archive.writestr(f"{name}.npy", part.getvalue())
        values[f"{of.id}.npz".encode()] = content.getvalue()
    keys = json.dumps([key.decode() for key in values]).encode()
    return write_lmdb(folder, {**values, b"__keys__": keys})


def write_vilbert_lmdb(folder: Path, pictures: Sequence[Picture], columns: int = 7) -> Path:
    """As ViLBERT's convert_lmdb_*.py (7 columns) and VOLTA's convert_*_lmdb.py (13): the rows of a TSV, pickled."""
    rows = {of.id.encode(): {name: str(value) for name, value in row(of, columns).items()} for of in pictures}
    return write_pickles(folder, rows)


def write_volta_h5_lmdb(folder: Path, pictures: Sequence[Picture]) -> Path:
    """As VOLTA's h5_to_lmdb.py: arrays, and whole numbers as numpy has them."""
    rows = {
        of.id.encode(): {
            "attr_conf": of.attribute_confidence,
            "attr_id": of.attributes,
            "boxes": of.boxes,
            "features": of.features,
            "img_h": np.int64(of.size[1]),
            "img_w": np.int64(of.size[0]),
            "obj_conf": of.confidence,
            "obj_id": of.objects,
            "img_id": of.id,
        }
        for of in pictures
    }
    return write_pickles(folder, rows)


def mmf_info(of: Picture) -> dict[str, Any]:
    return {
        "bbox": of.boxes,
        "num_boxes": len(of),
        "objects": of.objects,
        "cls_prob": of.probabilities[:, 1:],
        "image_width": of.size[0],
        "image_height": of.size[1],
    }


def write_mmf_npy(folder: Path, pictures: Sequence[Picture]) -> Path:
    """As mmf's extract_features_vmb.py: two files for each picture."""
    folder.mkdir(parents=True, exist_ok=True)
    for of in pictures:
        np.save(folder / f"{of.id}.npy", of.features)
        np.save(folder / f"{of.id}_info.npy", mmf_info(of))  # type: ignore[arg-type]  # numpy pickles it
    return folder


def write_vilbert_npy(folder: Path, pictures: Sequence[Picture]) -> Path:
    """As extract_features.py of ViLBERT 12-in-1: all in one dictionary; its "objects" are wrong and one too few."""
    folder.mkdir(parents=True, exist_ok=True)
    for of in pictures:
        info = {**mmf_info(of), "cls_prob": of.probabilities, "objects": of.objects[1:] + 1}
        np.save(folder / f"{of.id}.npy", {**info, "image_id": of.id, "features": of.features})  # type: ignore[arg-type]
    return folder


def write_mmf_lmdb(folder: Path, pictures: Sequence[Picture]) -> Path:
    """As mmf's lmdb_conversion.py, whose keys are paths without suffix."""
    rows = {
        f"train/{of.id}".encode(): {"feature_path": f"train/{of.id}", "features": of.features, **mmf_info(of)}
        for of in pictures
    }
    return write_pickles(folder, rows)


def write_bua_npz(folder: Path, pictures: Sequence[Picture]) -> Path:
    """As bottom-up-attention.pytorch: arrays, and a pickled dictionary in an array of no dimension."""
    folder.mkdir(parents=True, exist_ok=True)
    for of in pictures:
        info = {
            "image_id": of.id,
            "image_h": of.size[1],
            "image_w": of.size[0],
            "num_boxes": len(of),
            "objects_id": of.objects,
            "objects_conf": of.confidence,
            "attrs_id": of.attributes,
            "attrs_conf": of.attribute_confidence,
        }
        np.savez_compressed(
            folder / of.id,
            x=of.features,
            bbox=of.boxes,
            num_bbox=len(of),
            image_h=of.size[1],
            image_w=of.size[0],
            info=info,  # type: ignore[arg-type]
        )
    return folder


def write_pickles(folder: Path, rows: dict[bytes, Any]) -> Path:
    """An LMDB of pickles, with all keys under "keys"."""
    values = {key: pickle.dumps(value) for key, value in rows.items()}
    return write_lmdb(folder, {**values, b"keys": pickle.dumps(list(rows))})


def write_lmdb(folder: Path, values: dict[bytes, bytes]) -> Path:
    """By LMDB itself."""
    import lmdb

    with lmdb.open(str(folder), map_size=1 << 28) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    return folder
