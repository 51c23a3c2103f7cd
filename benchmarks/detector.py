"""How well and how fast does the embedded detector see? Precision and recall on pictures with boxes; ms a picture.

    python benchmarks/detector.py ../shared/data/coco [--images 300]

FOLDER holds boxes.jsonl, a JSON object a line: `image` (path in FOLDER), `width` and `height` that the boxes refer
to, `boxes` (xyxy), `labels` (names). A detection is right where its class is that of a box not yet found whose IoU
with it is 0.5 or more. Prints one JSON object. One thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from interbert.vision import centernet
from interbert.vision.boxes import box_area, box_iou
from interbert.vision.embedded import EmbeddedExtractor
from interbert.vision.images import open_image

THRESHOLDS = (0.1, 0.2, 0.3, 0.4)
LARGE = 0.03  # of the picture's area
MATCHING_IOU = 0.5
MOST = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in (options.folder / "boxes.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in rows if row["boxes"]][: options.images]
    report: dict[str, Any] = {"images": len(rows), "boxes": sum(len(row["boxes"]) for row in rows)}
    report["by_threshold"] = accuracy(options.folder, rows)
    report |= speed([options.folder / row["image"] for row in rows[:30]])
    print(json.dumps(report, indent=2))


def accuracy(folder: Path, rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Precision, recall, recall of large objects, recall whatever the class, and detections a picture, by threshold."""
    counts = {threshold: np.zeros(6, int) for threshold in THRESHOLDS}
    extractor = EmbeddedExtractor()
    for row in rows:
        image = open_image(folder / row["image"])
        gold = torch.tensor(row["boxes"]) * torch.tensor([image.width / row["width"], image.height / row["height"]] * 2)
        with torch.inference_mode():
            maps = extractor.maps(image)
            found = centernet.peaks(maps, MOST, smallest_side=0)
            found = centernet.without_overlaps(found, 0.5, MOST, same_class=True)
        large = (box_area(gold) > LARGE * image.width * image.height).numpy()
        for threshold, count in counts.items():
            sure = found.select(found.scores >= threshold)
            overlaps = box_iou(sure.boxes / maps.scale, gold).numpy()
            labels = [centernet.CLASSES[label] for label in sure.labels]
            right = matched(overlaps, labels, row["labels"])
            near = overlaps.max(0, initial=0) >= MATCHING_IOU
            count += [len(sure), len(gold), right.sum(), large.sum(), (right & large).sum(), near.sum()]
    return {
        str(threshold): {
            "precision": round(right / detections, 3),
            "recall": round(right / boxes, 3),
            "recall_large": round(right_large / large, 3),
            "recall_any_class": round(near / boxes, 3),
            "detections_per_image": round(detections / len(rows), 1),
        }
        for threshold, (detections, boxes, right, large, right_large, near) in counts.items()
    }


def matched(overlaps: np.ndarray, found: list[str], wanted: list[str]) -> np.ndarray:
    """Which boxes are found: each by one detection, the best detection first."""
    right = np.zeros(len(wanted), bool)
    for at, label in enumerate(found):
        free = [
            j for j, name in enumerate(wanted) if name == label and not right[j] and overlaps[at, j] >= MATCHING_IOU
        ]
        if free:
            right[max(free, key=lambda j: overlaps[at, j])] = True
    return right


def speed(paths: list[Path]) -> dict[str, Any]:
    """ms of the network and of file to regions, by both backends in turn on the same pictures; and their ratio."""
    backends = {name: EmbeddedExtractor(backend=name) for name in ("torch", "onnxruntime")}
    pixels = [centernet.letterbox(open_image(path))[0] for path in paths]
    network: dict[str, list[float]] = {name: [] for name in backends}
    whole: dict[str, list[float]] = {name: [] for name in backends}
    for extractor in backends.values():
        extractor.extract(paths[:2])
    for path, picture in zip(paths, pixels, strict=True):
        for name, extractor in backends.items():
            network[name].append(milliseconds(lambda e=extractor, p=picture: e.network(p)))
            whole[name].append(milliseconds(lambda e=extractor, p=path: e.extract([p])))
    return {
        "network_ms": {name: round(median(times), 1) for name, times in network.items()},
        "file_to_regions_ms": {name: round(median(times), 1) for name, times in whole.items()},
        "onnxruntime_times_faster": round(median(whole["torch"]) / median(whole["onnxruntime"]), 2),
    }


def milliseconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
