"""One picture's regions as another project wrote them, and what they become: our `Regions`, of a named identity.

In: a dictionary with that project's names, its arrays plain or in base64. Out: `Found`, then `Regions` that fit the
extractor of the store. What cannot be used raises Unusable, which costs that picture only. Rules: docs/formats.md.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interbert.batch import Regions
from interbert.errors import InterbertError, UsageError
from interbert.vision.provenance import ExtractorInfo

VISUAL_GENOME = (1600, 400)  # objects and attributes of the bottom-up detector: what these formats nearly always hold
BACKGROUND = "background"
IMPORTED = "imported"  # the kind of an extractor that nobody here has: "imported:FORMAT", "imported:MAKER"
THOUSANDTHS = (1000, 1000)  # image size where a format knows fractions only, and the pictures are not there
_NAMES = {  # ours -> theirs, the first that is there
    "features": ("features", "x"),
    "boxes": ("boxes", "bbox", "norm_bb"),
    "count": ("num_boxes", "num_bbox"),
    "width": ("image_w", "img_w", "image_width"),
    "height": ("image_h", "img_h", "image_height"),
    "labels": ("objects_id", "obj_id", "objects", "labels"),
    "confidence": ("objects_conf", "obj_conf", "conf", "scores"),
    "probabilities": ("cls_prob", "soft_labels"),
    "attributes": ("attrs_id", "attr_id"),
    "attribute_confidence": ("attrs_conf", "attr_conf"),
}
_WHOLE = ("labels", "attributes")  # whole numbers; the others are fractions
_OUTSIDE_PIXELS, _OUTSIDE_SHARE = 2.0, 0.02  # so far a box may stick out of its picture by rounding


def imported_again(name: str) -> InterbertError:
    """What to say where pictures need an extractor that is named `imported:…`: nobody here makes such regions."""
    return InterbertError(
        f"the regions of this model were imported ('{name}'), and no extractor here is known to make the same: give "
        "regions of a store instead of pictures, or import them with --extractor-json of the extractor that made them"
    )


class Unusable(ValueError):
    """Why a picture's regions are skipped."""


@dataclass(frozen=True, eq=False)
class Found:
    """What a file says of one picture. N regions in its order, D features, P columns of probabilities.

    image_size: (width, height) in pixels, or None: the boxes are fractions then.  labels: None beside probabilities.
    labels, attributes: counted from 0 without background.  background: whether the first of the P columns is; None
    where the format has both kinds.
    """

    features: NDArray[Any]
    boxes: NDArray[Any]
    image_size: tuple[int, int] | None = None
    labels: NDArray[Any] | None = None
    confidence: NDArray[Any] | None = None
    probabilities: NDArray[Any] | None = None
    attributes: NDArray[Any] | None = None
    attribute_confidence: NDArray[Any] | None = None
    background: bool | None = None


class Made(NamedTuple):
    """regions: best first.  clipped: boxes that stuck out a little.  dropped: boxes without an area."""

    regions: Regions
    clipped: int
    dropped: int


@dataclass(frozen=True)
class Naming:
    """What the importer is told about features: names of objects and attributes, and who made them in one's own words.

    extractor: the identity of an extractor that made the same; then the names are its own.
    """

    objects: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    made_by: str = ""
    extractor: ExtractorInfo | None = None

    def identity(self, format: str, found: Found) -> ExtractorInfo:
        """The extractor of a store of features like `found`."""
        if self.extractor is not None:
            return self.extractor
        classes: tuple[str, ...] = ()
        if found.probabilities is not None:
            columns = found.probabilities.shape[1]
            known = len(self.objects) or VISUAL_GENOME[0]
            background = columns == known + 1 if found.background is None else found.background
            classes = _names(self.objects, columns - background, "object")
            classes = (BACKGROUND, *classes) if background else classes
        elif found.labels is not None:
            classes = _names(self.objects, len(self.objects) or VISUAL_GENOME[0], "object")
        attributes: tuple[str, ...] = ()
        if found.attributes is not None:
            attributes = _names(self.attributes, len(self.attributes) or VISUAL_GENOME[1], "attribute")
        name = f"{IMPORTED}:{self.made_by or format}"
        return ExtractorInfo(name, found.features.shape[1], classes, attributes=attributes)


def names_of(path: Path) -> tuple[str, ...]:
    """The names in a file, one a line ("gray,grey" stays one). Raises UsageError where there is none."""
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise UsageError(f"'{path}' cannot be read ({error}); give a text file of names, one a line") from error
    if not names:
        raise UsageError(f"'{path}' has no names in it; give a text file of names, one a line")
    return names


def _names(given: tuple[str, ...], count: int, kind: str) -> tuple[str, ...]:
    if given and len(given) != count:
        raise InterbertError(f"got {len(given)} names of {kind}s, the features have {count}; give the list they had")
    return given or tuple(f"{kind} {number}" for number in range(count))


def found_in(record: Mapping[str, Any], *, background: bool | None = None) -> Found:
    """Reads a record with anyone's names. Arrays may be arrays, or texts of base64 with little-endian numbers.

    Raises Unusable where something is missing, is not base64, or does not fit the number of boxes.
    """
    there = {name: value for name, value in record.items() if value is not None}
    given = {ours: there[name] for ours, names in _NAMES.items() for name in reversed(names) if name in there}
    missing = [name for name in ("features", "boxes") if name not in given]
    if missing:
        raise Unusable(f"it has no {' and no '.join(missing)}")
    count = _integer("num_boxes", given["count"]) if "count" in given else None
    arrays = {name: _array(name, given[name], count) for name in _NAMES if name not in _SIZES and name in given}
    if arrays["features"].ndim != 2 or arrays["boxes"].ndim != 2 or not arrays["features"].shape[1]:
        raise Unusable(f"features {arrays['features'].shape}, boxes {arrays['boxes'].shape}; wanted [N, D] and [N, 4]")
    rows = min(len(arrays["features"]), len(arrays["boxes"]), *([] if count is None else [count]))
    if not rows:
        raise Unusable("it has no boxes")
    size = _image_size(given)
    boxes = arrays["boxes"][:rows]
    fractions = boxes.shape[1] == 6 or there.keys().isdisjoint(("boxes", "bbox"))
    if boxes.shape[1] not in (4, 6):
        raise Unusable(f"boxes {boxes.shape}, wanted 4 numbers each (or 6, as fractions)")
    boxes = boxes[:, :4].astype(np.float32)
    if not fractions and size is None:
        raise Unusable("it has no size of the picture")
    if fractions and size is not None:
        boxes = boxes * np.array([*size, *size], np.float32)
    others = _per_region(arrays, rows)
    return Found(arrays["features"][:rows], boxes, size, background=background, **others)


_SIZES = ("count", "width", "height")


def _per_region(arrays: dict[str, NDArray[Any]], rows: int) -> dict[str, NDArray[Any]]:
    """Labels, confidences and probabilities of the first `rows` regions; a single column is no matrix.

    Labels that stand beside probabilities are left out: those say it better, and one project's are wrong.
    """
    others: dict[str, NDArray[Any]] = {}
    better = "probabilities" in arrays and arrays["probabilities"].ndim == 2 and arrays["probabilities"].shape[1] > 1
    for name, values in arrays.items():
        if name in ("features", "boxes") or (name == "labels" and better):
            continue
        if len(values) < rows:
            raise Unusable(f"{name}: {len(values)} of them for {rows} boxes")
        others[name] = values[:rows]
        if name != "probabilities" or not better:
            others[name] = others[name].reshape(rows, -1)[:, 0]
    if "probabilities" in others and not better:  # "cls_prob" of the best class only
        others.setdefault("confidence", others["probabilities"])
        del others["probabilities"]
    if not {"attributes", "attribute_confidence"} <= others.keys():
        others = {name: values for name, values in others.items() if not name.startswith("attribute")}
    return others


def _image_size(given: Mapping[str, Any]) -> tuple[int, int] | None:
    if not {"width", "height"} <= given.keys():
        return None
    width, height = _integer("width", given["width"]), _integer("height", given["height"])
    if width < 1 or height < 1:
        raise Unusable(f"its picture has {width} x {height} pixels")
    return width, height


def _integer(name: str, value: Any) -> int:
    try:
        number = int(value.item() if isinstance(value, np.ndarray | np.generic) else value)
    except (TypeError, ValueError) as error:
        raise Unusable(f"{name} is {value!r:.40}, wanted a number") from error
    if not 0 <= number < 1 << 20:
        raise Unusable(f"{name} is {number}")
    return number


def _array(name: str, value: Any, count: int | None) -> NDArray[Any]:
    """An array, or the one that a text of base64 stands for."""
    if isinstance(value, str | bytes):
        return _decoded(name, value, count)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf" or value.ndim < 1:
        raise Unusable(f"{name}: got {type(value).__name__}, wanted an array of numbers")
    return value


def _decoded(name: str, text: str | bytes, count: int | None) -> NDArray[Any]:
    if count is None:
        raise Unusable("it has no num_boxes")
    if count == 0:
        raise Unusable("it has no boxes")
    encoded = text.encode("latin1", "replace") if isinstance(text, str) else text
    if encoded[:2] in (b"b'", b'b"'):  # Python 3's csv writes bytes so
        encoded = encoded[2:-1]
    try:
        content = binascii.a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise Unusable(f"{name}: not base64 ({error})") from error
    kind = np.dtype("<i4" if len(content) == 4 * count else "<i8") if name in _WHOLE else np.dtype("<f4")
    columns, rest = divmod(len(content), kind.itemsize * count)
    if rest or not columns or (name == "boxes" and columns != 4):
        raise Unusable(f"{name}: {len(content)} bytes do not fit {count} boxes")
    shape = (count, columns) if name in ("features", "boxes", "probabilities") else (count * columns,)
    return np.frombuffer(content, kind).reshape(shape)


def regions_of(found: Found, info: ExtractorInfo, feature_type: str = "float16", most: int | None = None) -> Made:
    """The regions, best first where it is known how sure the detector was, at most `most`.

    Raises Unusable where they do not fit the extractor `info`, a number is not finite, or a box is far outside.
    """
    if found.features.shape[1] != info.feature_size:
        raise Unusable(f"{found.features.shape[1]} features a region, the others have {info.feature_size}")
    for name in ("features", "boxes", "confidence", "probabilities", "attribute_confidence"):
        _check_finite(name, getattr(found, name))
    largest = float(np.finfo(feature_type).max)
    if np.abs(found.features).max() > largest:
        raise Unusable(f"a feature beyond {largest:.6g}, which {feature_type} cannot hold")
    found = _with_classes(found, info)
    if found.confidence is not None:
        found = _rows(found, np.argsort(-found.confidence.astype(np.float32), kind="stable"))
    boxes, size, clipped = _inside(found)
    has_area = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if not has_area.any():
        raise Unusable("no box of it has an area")
    count = len(boxes)
    regions = Regions(
        features=found.features,
        boxes=np.where(has_area[:, None], boxes, np.array([0, 0, 1, 1], np.float32)),
        image_size=size,
        labels=np.zeros(count, np.int64) if found.labels is None else found.labels.astype(np.int64),
        confidence=_shares("confidence", found.confidence, count),
        probabilities=found.probabilities,
        attributes=None if found.attributes is None else found.attributes.astype(np.int64),
        attribute_confidence=(
            None if found.attributes is None else _shares("attribute confidence", found.attribute_confidence, count)
        ),
    )
    return Made(regions.select(np.flatnonzero(has_area)[:most]), clipped, count - int(has_area.sum()))


def _check_finite(name: str, values: NDArray[Any] | None) -> None:
    if values is not None and not np.isfinite(values).all():
        row = int((~np.isfinite(values.reshape(len(values), -1)).all(1)).argmax())
        raise Unusable(f"{name}: a number that is not finite in region {row}")


def _rows(found: Found, order: NDArray[Any]) -> Found:
    names = ("features", "boxes", *(name for name in _NAMES if name not in (*_SIZES, "features", "boxes")))
    rows: dict[str, Any] = {name: values[order] for name in names if (values := getattr(found, name)) is not None}
    return replace(found, **rows)


def _with_classes(found: Found, info: ExtractorInfo) -> Found:
    """Labels and probabilities counted as the extractor's classes are; labels are the best of the probabilities."""
    first = int(bool(info.classes) and info.classes[0].strip("_").lower() == BACKGROUND)
    labels, confidence, given = found.labels, found.confidence, found.probabilities
    if given is not None and info.classes:
        _check_shares("class probabilities", given)
        given = _aligned(given, len(info.classes), first)
        objects = given[:, first:]
        labels = objects.argmax(1)
        confidence = objects.max(1) if confidence is None else confidence
    elif given is not None:
        raise Unusable("it has class probabilities, the others have none")
    if labels is not None:
        labels = labels + first
        _check_named("object", labels, info.classes, first)
    elif info.classes:
        raise Unusable("it does not say what its regions are, and the others do")
    _check_named("attribute", found.attributes, info.attributes, 0)
    return replace(found, labels=labels, confidence=confidence, probabilities=given)


def _aligned(probabilities: NDArray[Any], classes: int, first: int) -> NDArray[Any]:
    columns = probabilities.shape[1]
    if columns == classes:
        return probabilities
    if columns == classes + 1 and not first:
        return probabilities[:, 1:]
    if columns == classes - 1 and first:
        return np.pad(probabilities, ((0, 0), (1, 0)))
    raise Unusable(f"probabilities of {columns} classes, the extractor has {classes}")


def _check_named(kind: str, numbers: NDArray[Any] | None, names: tuple[str, ...], first: int) -> None:
    if numbers is None:
        return
    if not names:
        raise Unusable(f"it names {kind}s, the others do not")
    wrong = (numbers < first) | (numbers >= len(names))
    if wrong.any():
        number = int(numbers[wrong.argmax()]) - first
        raise Unusable(f"{kind} {number}, wanted one of 0..{len(names) - 1 - first}, which have names")


def _inside(found: Found) -> tuple[NDArray[np.float32], tuple[int, int], int]:
    """Boxes inside the picture, its size, and how many were cut a little. Raises Unusable for one far outside."""
    size = found.image_size or THOUSANDTHS
    limit = np.array([*size, *size], np.float32)
    boxes = found.boxes if found.image_size is not None else found.boxes * limit
    outside = np.maximum(boxes - limit, -boxes)
    wrong = (outside > np.maximum(_OUTSIDE_PIXELS, _OUTSIDE_SHARE * limit)).any(1)
    wrong |= (boxes[:, 2:] < boxes[:, :2]).any(1)
    if wrong.any():
        row = int(wrong.argmax())
        x1, y1, x2, y2 = (round(float(number), 1) for number in boxes[row])
        raise Unusable(f"box {row} is {x1}, {y1} to {x2}, {y2} in a picture of {size[0]} x {size[1]}")
    cut = np.clip(boxes, 0, limit).astype(np.float32)
    return cut, size, int((cut != boxes).any(1).sum())


def _shares(name: str, values: NDArray[Any] | None, count: int) -> NDArray[np.float32]:
    """Numbers in 0..1; ones where nothing is known. Rounding may have brought them a little outside."""
    if values is None:
        return np.ones(count, np.float32)
    _check_shares(name, values)
    return values.astype(np.float32).clip(0, 1)


def _check_shares(name: str, values: NDArray[Any]) -> None:
    if values.min() < -0.01 or values.max() > 1.01:
        raise Unusable(f"{name} from {values.min():.3g} to {values.max():.3g}, wanted 0 to 1")
