"""Published weights of the bottom-up detector -> our network. Both layouts; every key is in a table, others are errors.

Conversion is renaming: no number changes. Nothing but tensors is ever unpickled.
"""

from __future__ import annotations

import hashlib
import logging
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from interbert.errors import InterbertError
from interbert.vision.bottom_up import BottomUp
from interbert.vision.bottom_up_boxes import caffe_anchors
from interbert.vision.bottom_up_config import BottomUpConfig, BottomUpSizes, Layout, PublishedConfig

log = logging.getLogger(__name__)

TRUNK_TO_OURS = [  # published key -> ours; also what follows it: a block's number, a convolution, its norm
    ("backbone.stem.conv1", "stem"),
    ("backbone.res2", "res2"),
    ("backbone.res3", "res3"),
    ("backbone.res4", "res4"),
    ("roi_heads.res5", "res5"),
]
HEADS_TO_OURS = [
    ("proposal_generator.rpn_head.conv", "rpn.conv"),
    ("proposal_generator.rpn_head.objectness_logits", "rpn.objectness"),
    ("proposal_generator.rpn_head.anchor_deltas", "rpn.deltas"),
    ("roi_heads.box_predictor.cls_score", "heads.classes"),
    ("roi_heads.box_predictor.bbox_pred", "heads.boxes"),
]
ATTRIBUTES_TO_OURS: dict[Layout, list[tuple[str, str]]] = {
    "unc": [
        ("roi_heads.box_predictor.cls_embedding", "heads.class_embedding"),
        ("roi_heads.box_predictor.fc_attr", "heads.attribute_hidden"),
        ("roi_heads.box_predictor.attr_score", "heads.attributes"),
    ],
    "caffe": [
        ("roi_heads.box_predictor.cls_embed", "heads.class_embedding"),
        ("roi_heads.box_predictor.attr_linear1", "heads.attribute_hidden"),
        ("roi_heads.box_predictor.attr_linear2", "heads.attributes"),
    ],
}
ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"  # may be missing
_SHOWN = 12  # problems that an error names


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a published file, by its keys; also where they stand under "model".

    Raises InterbertError where the file is missing, cut off, holds something else than tensors (which is not run), or
    a tensor that is not finite.
    """
    path = Path(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InterbertError(f"'{path}' does not exist; give the detector's published weights") from error
    except pickle.UnpicklingError as error:
        raise InterbertError(f"'{path}' was not loaded: {_reason(error)}") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        raise InterbertError(
            f"'{path}' is cut off or no file of weights ({_first_line(error)}); download it again"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InterbertError(f"'{path}' holds a {type(content).__name__} that is no table of tensors; wanted weights")
    tensors = {str(name): tensor for name, tensor in content.items()}
    if broken := [n for n, t in tensors.items() if t.is_floating_point() and not t.isfinite().all()]:
        raise InterbertError(f"'{path}': {broken[0]} and {len(broken) - 1} others have numbers that are not finite")
    return tensors


def _reason(error: Exception) -> str:
    """What torch's unpickler refused, in a sentence."""
    named = re.search(r"GLOBAL (\S+)|Unsupported (?:global|class|operand)[^:]*:? *(\S+)", str(error))
    if named is None:
        return f"it holds something else than tensors ({_first_line(error)}); nothing in it was run"
    name = (named[1] or named[2]).strip("`'\",.")
    return f"it would run '{name}', and weights hold nothing but tensors; nothing in it was run. Do not trust this file"


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def layout_of(tensors: Iterable[str]) -> Layout | None:
    """Which project's keys these are, or None."""
    for layout, table in ATTRIBUTES_TO_OURS.items():
        if f"{table[0][0]}.weight" in tensors:
            return layout
    return None


def bottom_up_from(tensors: Mapping[str, Tensor], config: BottomUpConfig, name: str) -> BottomUp:
    """The network with published weights. name: of their file, for errors.

    Raises InterbertError with the unknown and missing keys and the shapes that do not fit.
    """
    layout = layout_of(tensors)
    if layout is None:
        raise InterbertError(
            f"'{name}' holds another model: it has no {ATTRIBUTES_TO_OURS['unc'][0][0]} (unc-nlp) and no "
            f"{ATTRIBUTES_TO_OURS['caffe'][0][0]} (MILVLG); its first keys are {', '.join(list(tensors)[:3])}"
        )
    if layout != config.layout:
        raise InterbertError(
            f"'{name}' is of the layout '{layout}', its config of '{config.layout}'; give the right one"
        )
    given = {key: tensor for key, tensor in tensors.items() if not key.endswith(".num_batches_tracked")}
    sizes = sizes_of(given, config)
    with torch.device("meta"):
        model = BottomUp(config, sizes)
    names = published_names(model)
    _check(given, names, model, name)
    if ANCHORS not in given:
        given[ANCHORS] = _made_anchors(config, sizes, name)
    return filled(model, {ours: given[theirs].float() for ours, theirs in names.items()})


def filled(model: BottomUp, state: Mapping[str, Tensor]) -> BottomUp:
    """A network made without memory, with copies of these weights, ready to be used.

    Copies, since tensors of a safetensors file keep all of it in memory, and convolutions want their channels last.
    """
    formats = {4: torch.channels_last}
    own = {
        key: value.clone(memory_format=formats.get(value.ndim, torch.contiguous_format)) for key, value in state.items()
    }
    model.load_state_dict(own, assign=True)
    return model.requires_grad_(False).eval()


def check_stated(published: PublishedConfig, sizes: BottomUpSizes) -> None:
    """Raises InterbertError where the config names other sizes than the weights have."""
    wrong = [
        f"{name} {stated}, the weights have {getattr(sizes, name)}"
        for name, stated in published.sizes.items()
        if getattr(sizes, name) != stated
    ]
    if wrong:
        raise InterbertError(f"'{published.path}' is of another model: it says {'; '.join(wrong)}")


def sizes_of(tensors: Mapping[str, Tensor], config: BottomUpConfig) -> BottomUpSizes:
    """What the shapes say; of a tensor that is missing, the published size."""
    full, predictor = BottomUpSizes(), "roi_heads.box_predictor"
    attributes = [theirs for theirs, _ in ATTRIBUTES_TO_OURS[config.layout]]

    def shape(key: str, side: int, otherwise: int) -> int:
        tensor = tensors.get(f"{key}.weight")
        return otherwise if tensor is None or tensor.ndim <= side else int(tensor.shape[side])

    blocks = tuple(_blocks(tensors, prefix) for prefix, _ in TRUNK_TO_OURS[1:])
    return BottomUpSizes(
        stem=shape("backbone.stem.conv1", 0, full.stem),
        width=shape("backbone.res2.0.conv1", 0, full.width),
        res2=shape("backbone.res2.0.conv3", 0, full.res2),
        blocks=(blocks[0], blocks[1], blocks[2], blocks[3]),
        rpn=shape("proposal_generator.rpn_head.conv", 0, full.rpn),
        anchors=shape("proposal_generator.rpn_head.anchor_deltas", 0, 4 * full.anchors) // 4,
        classes=shape(f"{predictor}.cls_score", 0, full.classes + 1) - 1,
        attributes=shape(attributes[2], 0, full.attributes + 1) - 1,
        embedding=shape(attributes[0], 1, full.embedding),
        attribute_hidden=shape(attributes[1], 0, full.attribute_hidden),
    )


def _blocks(tensors: Iterable[str], prefix: str) -> int:
    """How many blocks a stage has: one more than the highest number."""
    numbers = (re.match(rf"{re.escape(prefix)}\.(\d{{1,3}})\.", key) for key in tensors)
    return 1 + max((int(found[1]) for found in numbers if found), default=0)


def published_names(model: BottomUp) -> dict[str, str]:
    """Our key -> the published one."""
    table = TRUNK_TO_OURS + HEADS_TO_OURS + ATTRIBUTES_TO_OURS[model.config.layout] + [(ANCHORS, "rpn.anchors")]
    found = {
        key: (theirs, own) for key in model.state_dict() for theirs, own in table if f"{key}.".startswith(f"{own}.")
    }
    return {key: theirs + key[len(own) :] for key, (theirs, own) in found.items()}


def _check(given: Mapping[str, Tensor], names: Mapping[str, str], model: BottomUp, file: str) -> None:
    shapes = {names[ours]: tuple(tensor.shape) for ours, tensor in model.state_dict().items()}
    problems = [f"unknown key {key}" for key in given if key not in shapes]
    problems += [f"missing: {key}" for key in shapes if key not in given and key != ANCHORS]
    problems += [
        f"{key}: got shape {tuple(given[key].shape)}, wanted {shape}"
        for key, shape in shapes.items()
        if key in given and tuple(given[key].shape) != shape
    ]
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise InterbertError("\n  ".join([f"'{file}' does not fit this detector:", *problems[:_SHOWN], *more]))


def _made_anchors(config: BottomUpConfig, sizes: BottomUpSizes, file: str) -> Tensor:
    made = caffe_anchors(config.anchor_scales, config.anchor_ratios, 7.5 if config.caffe else 8.5)
    if len(made) != sizes.anchors:
        raise InterbertError(f"'{file}' lacks {ANCHORS}, and its config makes {len(made)} anchors for {sizes.anchors}")
    log.info("'%s' lacks its anchors; they are made from the config", file)
    return made


def digest(model: BottomUp) -> str:
    """Hexadecimal sha256 of the network's float32 weights, by name: the same for published and for converted files."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
