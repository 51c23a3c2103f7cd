"""Whether a detector computes what the published program did: every stage against a fixture's recorded tensors.

A fixture is a folder with `images/` and `outputs.safetensors`, whose keys are `PICTURE/STAGE`: `img0/rpn.proposals`.
Indices, counts and sizes must be equal; for the rest, each kind of number has its limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from interbert.errors import InterbertError
from interbert.vision.bottom_up import BottomUp, Found, Proposals, proposal_scores
from interbert.vision.bottom_up_boxes import anchor_grid
from interbert.vision.bottom_up_choice import (
    all_moved_boxes,
    best_boxes,
    choose_confident,
    choose_final,
    choose_moved,
    confidences,
)
from interbert.vision.bottom_up_input import Resized, resized
from interbert.vision.images import open_image

Stages = Iterator[tuple[str, Tensor]]

EXACT = 0.0
_GIVEN = "given.boxes"  # boxes that the program was given, in pixels of the file
_PUBLISHED, _THRESHOLD = (10, 100), 0.2  # the 10-100 rule
LIMITS = (  # (stage, largest difference for "unc", for "caffe"); the first that fits counts
    (r"image", 2e-4, 2e-4),
    (r"backbone\..*|rpn\..*_map|roi\.res5_first1|roi\.pooled_first2", 5e-5, 5e-5),
    (r"roi\.pooled_sum", 3e-2, 3e-2),
    (r".*logits|.*deltas", 5e-5, 5e-5),
    (r".*normalized_boxes", 1e-5, 1e-5),
    (r"rpn\.anchors|scales_yx|im_scale|.*nms_thresh|.*tried", EXACT, EXACT),
    (r".*boxes.*|.*best_box|.*proposals|.*proposals_orig", 3e-3, 4e-3),  # pixels
    (r".*features", 1e-5, 2e-5),
    (r".*probs|.*conf|.*scores?|.*best_score", 1e-5, 1e-5),
)


@dataclass(frozen=True)
class Difference:
    """A stage over all pictures that have it. largest: absolute difference.  note: of what, where it isn't a number."""

    stage: str
    largest: float
    limit: float
    pictures: int
    note: str = ""

    @property
    def fine(self) -> bool:
        return not self.note and self.largest <= self.limit

    def __str__(self) -> str:
        found = self.note or ("equal" if self.largest == 0 else f"{self.largest:.1e}")
        allowed = "" if self.limit == EXACT else f" (limit {self.limit:.0e})"
        return f"{'ok  ' if self.fine else 'OFF '} {self.stage}: {found}{allowed}"


@torch.inference_mode()
def check_detector(model: BottomUp, fixture: str | Path) -> list[Difference]:
    """Every stage that the fixture has, in the order of computation.

    Raises InterbertError where the fixture cannot be read, has no pictures, or stages that are unknown for this layout.
    """
    fixture = Path(fixture)
    wanted = _recorded(fixture)
    merged: dict[str, Difference] = {}
    for picture, stages in wanted.items():
        image = open_image(_picture_file(fixture, picture))
        compute = _caffe_stages if model.config.caffe else _unc_stages
        left = {name: tensor for name, tensor in stages.items() if name != _GIVEN}
        for name, ours in compute(model, resized(image, model.config), stages):
            if name in left:
                _merge(merged, _difference(name, ours, left.pop(name), model.config.caffe))
        if left:
            raise InterbertError(
                f"'{fixture}' records {', '.join(sorted(left)[:5])} of '{picture}', which a detector of the layout "
                f"'{model.config.layout}' does not have; is it the other layout's fixture?"
            )
    return list(merged.values())


def _recorded(fixture: Path) -> dict[str, dict[str, Tensor]]:
    path = fixture / "outputs.safetensors"
    wanted: dict[str, dict[str, Tensor]] = {}
    try:
        with safe_open(path, "pt") as file:
            for key in file.keys():  # noqa: SIM118  # it is no dictionary
                picture, slash, stage = key.partition("/")
                if not slash:
                    raise InterbertError(f"'{path}': got the key '{key}', wanted PICTURE/STAGE")
                wanted.setdefault(picture, {})[stage] = file.get_tensor(key)
    except (OSError, SafetensorError) as error:
        raise InterbertError(f"'{path}' cannot be read ({error}); wanted a fixture's recorded outputs") from error
    if not wanted:
        raise InterbertError(f"'{path}' records nothing; wanted a fixture's outputs")
    return wanted


def _picture_file(fixture: Path, picture: str) -> Path:
    found = [path for path in sorted((fixture / "images").glob("*")) if path.stem == picture]
    if len(found) != 1:
        raise InterbertError(f"'{fixture}/images' has {len(found)} pictures named '{picture}'; wanted one")
    return found[0]


def _difference(stage: str, ours: Tensor, theirs: Tensor, caffe: bool) -> Difference:
    limit = EXACT
    if theirs.is_floating_point():
        limits = (row[2] if caffe else row[1] for row in LIMITS if re.fullmatch(row[0], stage))
        limit = next(limits, EXACT)
    if ours.shape != theirs.shape:
        return Difference(stage, 0, limit, 1, f"got shape {tuple(ours.shape)}, wanted {tuple(theirs.shape)}")
    distance = (ours.double() - theirs.double()).abs()
    if distance.isnan().any():
        return Difference(stage, 0, limit, 1, "got numbers that are not finite")
    return Difference(stage, float(distance.max()) if distance.numel() else 0.0, limit, 1)


def _merge(merged: dict[str, Difference], new: Difference) -> None:
    old = merged.get(new.stage)
    if old is not None:
        largest = max(old.largest, new.largest)
        new = Difference(new.stage, largest, new.limit, old.pictures + 1, old.note or new.note)
    merged[new.stage] = new


@dataclass(eq=False)
class _Pass:
    """A picture's way through the network, with what the recorded stages need."""

    model: BottomUp
    picture: Resized
    states: Tensor = field(init=False)
    maps: tuple[Tensor, Tensor] = field(init=False)
    proposals: Proposals = field(init=False)
    found: Found = field(init=False)

    def run(self) -> Stages:
        yield "size_original_hw", torch.tensor(self.picture.original)
        yield "size_resized_hw", torch.tensor(self.picture.size)
        yield "image", self.picture.pixels
        for name, states in self.model.stages(self.picture.pixels):
            self.states = states
            yield f"backbone.{name}", states[0].cpu()
        self.maps = self.model.proposal_maps(self.states)
        yield "rpn.objectness_map", self.maps[0]
        yield "rpn.deltas_map", self.maps[1]
        yield "rpn.anchors", anchor_grid(self.model.rpn.anchors.cpu(), *self.maps[1].shape[1:])
        self.proposals = self.model.proposals(*self.maps, self.picture)
        yield "rpn.proposals", self.proposals.boxes
        pool = self.model.pool(self.states, self.proposals.boxes)
        first = pool.pooled(slice(2))
        yield "roi.pooled_first2", first.cpu()
        yield "roi.pooled_sum", pool.pooled(slice(None)).double().sum((1, 2, 3)).cpu()
        yield "roi.res5_first1", self.model.region_maps(first[:1]).float().cpu()
        self.found = self.model.found(self.states, self.proposals.boxes)
        yield "roi.features", self.found.features
        yield "roi.attr_logits", self.found.attribute_logits
        yield "roi.box_deltas", self.found.deltas.flatten(1)


def _unc_stages(model: BottomUp, picture: Resized, wanted: Mapping[str, Tensor]) -> Stages:
    run = _Pass(model, picture)
    yield "scales_yx", picture.scales
    yield from run.run()
    found, proposals = run.found, run.proposals
    yield "rpn.proposal_logits", proposals.scores
    yield "roi.obj_logits", found.class_logits
    yield "roi.obj_probs", found.class_logits.softmax(1)
    yield "roi.attr_probs", found.attributes()
    yield "roi.boxes_unclipped", all_moved_boxes(found, proposals.boxes, picture)
    best = best_boxes(found, proposals.boxes, picture)
    yield "roi.best_class", best.classes
    yield "roi.best_score", best.scores
    yield "roi.best_box", best.boxes
    for rule in _rules(wanted, r"final(?:_(\d+)_(\d+))?"):
        least, most = (int(rule[1]), int(rule[2])) if rule[1] else (model.config.final_min, model.config.final_max)
        yield from _final_stages(rule[0], run, least, most)
    original = picture.to_original(proposals.boxes)
    confidence = confidences(original, found.classes())
    yield "butd.proposals_orig", original
    yield "butd.max_conf", confidence
    yield "butd.keep", choose_confident(confidence, *_PUBLISHED, _THRESHOLD)
    yield from _confident(wanted, confidence, "butd_")


def _final_stages(name: str, run: _Pass, least: int, most: int) -> Stages:
    best = best_boxes(run.found, run.proposals.boxes, run.picture)
    chosen = choose_final(best, run.model.config.final_overlaps, least, most)
    kept, boxes = chosen.kept, run.picture.to_original(best.boxes[chosen.kept])
    yield f"{name}.keep", kept
    yield f"{name}.nms_thresh", torch.tensor(chosen.overlap, dtype=torch.float64)
    yield f"{name}.tried", torch.tensor(chosen.tried, dtype=torch.float64)
    yield f"{name}.num", torch.tensor(len(kept))
    yield f"{name}.boxes", boxes
    yield f"{name}.normalized_boxes", boxes / torch.tensor(run.picture.original)[[1, 0, 1, 0]]
    yield f"{name}.obj_ids", best.classes[kept]
    yield f"{name}.obj_probs", best.scores[kept]
    sure, attributes = run.found.attributes()[kept].max(1)
    yield f"{name}.attr_ids", attributes
    yield f"{name}.attr_probs", sure
    yield f"{name}.roi_features", run.found.features[kept]


def _caffe_stages(model: BottomUp, picture: Resized, wanted: Mapping[str, Tensor]) -> Stages:
    run = _Pass(model, picture)
    yield "im_scale", torch.tensor([picture.factor], dtype=torch.float64)
    yield from run.run()
    found, proposals = run.found, run.proposals
    yield "rpn.scores", proposal_scores(run.maps[0], model.config)
    yield "rpn.proposal_scores", proposals.scores
    yield "roi.cls_logits", found.class_logits
    yield "roi.cls_probs", found.class_logits.softmax(1)
    yield "roi.attr_probs", found.attribute_logits.softmax(1)
    yield "roi.boxes_regressed", all_moved_boxes(found, proposals.boxes, picture)
    original = picture.to_original(proposals.boxes)
    confidence = confidences(original, found.classes())
    yield "sel.boxes_original", original
    yield "sel.max_conf", confidence
    for rule in _rules(wanted, r"final|fixed(\d+)"):
        least, most = (int(rule[1]), int(rule[1])) if rule[1] else _PUBLISHED
        yield from _kept_stages(rule[0], found, original, choose_confident(confidence, least, most, _THRESHOLD))
    yield from _confident(wanted, confidence, "")
    best = best_boxes(found, proposals.boxes, picture)
    for rule in _rules(wanted, r"bboxes(\d+)"):
        yield f"{rule[0]}.boxes", best.boxes[choose_moved(best, found, int(rule[1]))]
    if _GIVEN in wanted:
        given = model.found(run.states, picture.to_resized(wanted[_GIVEN]))
        yield "given.features", given.features
        yield "given.cls_probs", given.class_logits.softmax(1)
        yield "given.attr_probs", given.attribute_logits.softmax(1)


def _kept_stages(name: str, found: Found, boxes: Tensor, kept: Tensor) -> Stages:
    yield f"{name}.keep", kept
    yield f"{name}.boxes", boxes[kept]
    yield f"{name}.features", found.features[kept]
    for kind, probabilities in (("objects", found.classes()), ("attrs", found.attributes())):
        sure, numbers = probabilities[kept].max(1)
        yield f"{name}.{kind}_id", numbers
        yield f"{name}.{kind}_conf", sure


def _confident(wanted: Mapping[str, Tensor], confidence: Tensor, prefix: str) -> Stages:
    """The 10-100 rule with other thresholds (conf09) and other maxima (max12)."""
    for rule in _rules(wanted, rf"{prefix}conf0(\d+)"):
        yield f"{rule[0]}.keep", choose_confident(confidence, *_PUBLISHED, float(f"0.{rule[1]}"))
    for rule in _rules(wanted, rf"{prefix}max(\d+)"):
        yield f"{rule[0]}.keep", choose_confident(confidence, _PUBLISHED[0], int(rule[1]), _THRESHOLD)


def _rules(wanted: Mapping[str, Tensor], pattern: str) -> list[re.Match[str]]:
    """The rules among the recorded stages' first parts."""
    names = dict.fromkeys(stage.partition(".")[0] for stage in wanted)
    return [found for name in names if (found := re.fullmatch(pattern, name))]
