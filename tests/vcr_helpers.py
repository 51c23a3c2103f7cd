"""A few questions of visual commonsense reasoning about pictures of a tiny store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pretraining_helpers import EXTRACTOR, random_regions
from task_helpers import CONFIG, given, task_model

from interbert.tasks.task import TaskModel
from interbert.tasks.vcr import Vcr, VcrOptions
from interbert.tasks.vcr_head import ChoiceHead, LinkedBatch
from interbert.vision.store import RegionStore


def row(at: int, right: int = 0, **changes: Any) -> dict[str, Any]:
    """Question `at` about picture `at`, of a person, a dog and another person; its rationales are not its answers."""
    return {
        "annot_id": f"val-{at}",
        "img_fn": f"films/picture {at}.jpg",
        "metadata_fn": f"films/picture {at}.json",
        "objects": ["person", "dog", "person"],
        "question": ["two", [0, 2], "on", "the", "road", "?"],
        "answer_choices": [[[1], "play"], ["a", "cat"], ["red", [0]], ["big", "tree"]],
        "answer_label": right,
        "rationale_choices": [["old"], ["red", [2]], ["a", "dog"], ["cats", "play"]],
        "rationale_label": (right + 1) % 4,
        **changes,
    }


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def metadata(path: Path, boxes: Sequence[Sequence[float]], names: Sequence[str] = ("person", "dog", "person")) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"boxes": boxes, "names": names, "width": 100, "height": 80, "segms": []}))
    return path


def store(folder: Path, pictures: int = 4) -> Path:
    """Pictures "picture 0" … of 4 regions each."""
    random = np.random.default_rng(0)
    with RegionStore.writer(folder / "regions", EXTRACTOR) as writer:
        for number in range(pictures):
            writer.append(f"picture {number}", random_regions(random, 4))
    return folder / "regions"


def opened(folder: Path, options: VcrOptions | None = None, pictures: int = 4, **changes: Any) -> Vcr:
    """Four questions to train and four to validate, about pictures 0 to 3; the first `pictures` have regions."""
    for name in ("train", "val"):
        written(folder / "data" / f"{name}.jsonl", [row(at, right=at, **changes) for at in range(4)])
    options = options or VcrOptions()
    return Vcr.open(folder / "data", options, given("vcr", store=store(folder, pictures)))


def batch_of(task: Vcr, *places: int) -> LinkedBatch:
    batch = task.make(np.array(places), [torch.Generator()] * len(places), 0)
    assert isinstance(batch, LinkedBatch)
    return batch


def linked(task: Vcr, seed: int = 0) -> TaskModel:
    """A model whose links say something."""
    model = task_model(task.head(CONFIG), seed=seed)
    assert isinstance(model.head, ChoiceHead)
    torch.nn.init.normal_(model.head.link.weight)
    return model
