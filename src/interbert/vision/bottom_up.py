"""The detector of bottom-up attention (3.1): Faster R-CNN, ResNet-101 C4, trained on Visual Genome, in torch alone.

A picture's pixels -> the feature map res4 -> proposals -> for each its feature vector (2048 numbers), scores of 1600
classes and 400 attributes, and four box deltas for each class. Arithmetic and weights are those of the two published
programs (`bottom_up_config` says which). Batch norms are not folded into the convolutions: that would double the
distance from the published numbers (regressed boxes 3e-3 instead of 1.2e-3 pixels) for a few percent of the time.

Letters: P proposals, A anchors at a place, C classes, D feature size, h x w places of the feature map.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from interbert.vision.bottom_up_boxes import Overlap, anchor_grid, cut_boxes, moved_boxes, unrivalled
from interbert.vision.bottom_up_config import BottomUpConfig, BottomUpSizes
from interbert.vision.bottom_up_input import Resized
from interbert.vision.bottom_up_pool import RoiPool

_CHUNK = {"cpu": 8, "cuda": 128}  # regions that res5 sees at once: 1.6 MB each between two layers
_STRIDE = 16


@dataclass(frozen=True, eq=False)
class Proposals:
    """boxes: [P, 4] in pixels of the resized picture, best first.  scores: [P] logits ("unc") or probabilities."""

    boxes: Tensor
    scores: Tensor


@dataclass(frozen=True, eq=False)
class Found:
    """What the detector says of P boxes, on the CPU, with background and "no attribute" where the layout has them.

    features: [P, D].  class_logits: [P, C + 1].  attribute_logits: [P, attributes + 1].  deltas: [P, boxes, 4].
    """

    features: Tensor
    class_logits: Tensor
    attribute_logits: Tensor
    deltas: Tensor
    config: BottomUpConfig

    def classes(self) -> Tensor:
        """Probabilities [P, C] of the classes. They sum to 1 less that of the background."""
        return self.class_logits.softmax(1)[:, self.config.foreground]

    def attributes(self) -> Tensor:
        """Probabilities [P, attributes]. "No attribute" has its share of 1 in "caffe" and none in "unc"."""
        if self.config.caffe:
            return self.attribute_logits.softmax(1)[:, self.config.foreground]
        return self.attribute_logits[:, self.config.foreground].softmax(1)


class Plain(nn.Conv2d):
    """A convolution whose weights come from a file: drawing 65 million of them first would cost seconds."""

    def reset_parameters(self) -> None:
        """Leaves them as they are."""


class Linear(nn.Linear):
    """A linear layer whose weights come from a file."""

    def reset_parameters(self) -> None:
        """Leaves them as they are."""


class Embedding(nn.Embedding):
    """An embedding whose weights come from a file."""

    def reset_parameters(self) -> None:
        """Leaves them as they are."""


class Norm(nn.Module):
    """Batch norm that learns nothing. All [channels]."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, states: Tensor) -> Tensor:
        """[n, channels, h, w]. eps is 1e-5 in every norm, frozen or not."""
        return F.batch_norm(states, self.running_mean, self.running_var, self.weight, self.bias, eps=1e-5)


class Conv(Plain):
    """A convolution and its norm."""

    def __init__(
        self, inputs: int, outputs: int, side: int, *, stride: int = 1, padding: int = 0, dilation: int = 1
    ) -> None:
        super().__init__(inputs, outputs, side, stride, padding, dilation, bias=False)
        self.norm = Norm(outputs)

    def forward(self, states: Tensor) -> Tensor:
        normed: Tensor = self.norm(super().forward(states))
        return normed


class Block(nn.Module):
    """A bottleneck with Caffe's stride: in the first convolution and the shortcut."""

    def __init__(self, inputs: int, width: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv1 = Conv(inputs, width, 1, stride=stride)
        self.conv2 = Conv(width, width, 3, padding=dilation, dilation=dilation)
        self.conv3 = Conv(width, outputs, 1)
        self.shortcut = None if inputs == outputs else Conv(inputs, outputs, 1, stride=stride)

    def forward(self, states: Tensor) -> Tensor:
        """[n, inputs, h, w] -> [n, outputs, h / stride, w / stride]."""
        inner = self.conv2(self.conv1(states).relu_()).relu_()
        outputs: Tensor = self.conv3(inner)
        return outputs.add_(states if self.shortcut is None else self.shortcut(states)).relu_()


class ProposalHead(nn.Module):
    """res4 -> the raw maps of scores and deltas. anchors: [A, 4] around the first place."""

    anchors: Tensor

    def __init__(self, sizes: BottomUpSizes, scores: int) -> None:
        super().__init__()
        self.conv = Plain(4 * sizes.res2, sizes.rpn, 3, padding=1)
        self.objectness = Plain(sizes.rpn, scores * sizes.anchors, 1)
        self.deltas = Plain(sizes.rpn, 4 * sizes.anchors, 1)
        self.register_buffer("anchors", torch.zeros(sizes.anchors, 4))

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """[1, C, h, w] -> [scores * A, h, w] and [4 * A, h, w]."""
        states = self.conv(states).relu_()
        return self.objectness(states)[0], self.deltas(states)[0]


class RegionHead(nn.Module):
    """Feature vectors -> classes, attributes, box deltas. The likeliest class, background too, goes into attributes."""

    def __init__(self, sizes: BottomUpSizes, boxes: int) -> None:
        super().__init__()
        self.classes = Linear(sizes.features, sizes.classes + 1)
        self.boxes = Linear(sizes.features, 4 * boxes)
        self.class_embedding = Embedding(sizes.classes + 1, sizes.embedding)
        self.attribute_hidden = Linear(sizes.features + sizes.embedding, sizes.attribute_hidden)
        self.attributes = Linear(sizes.attribute_hidden, sizes.attributes + 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[P, D] -> class logits [P, C + 1], attribute logits [P, attributes + 1], deltas [P, boxes, 4]."""
        logits = self.classes(features)
        seen = torch.cat([features, self.class_embedding(logits.argmax(1))], 1)
        attributes = self.attributes(self.attribute_hidden(seen).relu_())
        return logits, attributes, self.boxes(features).unflatten(1, (-1, 4))


class BottomUp(nn.Module):
    """The network. Made without weights; `bottom_up_weights` fills it."""

    def __init__(self, config: BottomUpConfig, sizes: BottomUpSizes) -> None:
        super().__init__()
        self.config, self.sizes = config, sizes
        out, width = sizes.res2, sizes.width
        self.stem = Conv(3, sizes.stem, 7, stride=2, padding=3)
        self.res2 = _stage(sizes.blocks[0], sizes.stem, width, out)
        self.res3 = _stage(sizes.blocks[1], out, 2 * width, 2 * out, stride=2)
        self.res4 = _stage(sizes.blocks[2], 2 * out, 4 * width, 4 * out, stride=2)
        self.res5 = _stage(sizes.blocks[3], 4 * out, 8 * width, 8 * out, dilation=2)
        self.rpn = ProposalHead(sizes, scores=2 if config.caffe else 1)
        self.heads = RegionHead(sizes, boxes=sizes.classes + (1 if config.caffe else 0))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.stem.weight.device

    def stages(self, pixels: Tensor) -> Iterator[tuple[str, Tensor]]:
        """(name, map [1, channels, h, w]) of stem, res2, res3, res4: strides 4, 4, 8, 16. pixels: [3, H, W]."""
        states = pixels[None].to(self.device).contiguous(memory_format=torch.channels_last)
        with _exact(self.device):
            states = F.max_pool2d(self.stem(states).relu_(), 3, 2, ceil_mode=True)
        yield "stem", states
        for name, stage in (("res2", self.res2), ("res3", self.res3), ("res4", self.res4)):
            with _exact(self.device):
                states = stage(states)
            yield name, states

    def feature_map(self, pixels: Tensor) -> Tensor:
        """res4 of a picture: [1, 4 * res2, h, w]. pixels: [3, H, W]."""
        for _, states in self.stages(pixels):
            last = states
        return last

    def proposal_maps(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Raw scores [A or 2 * A, h, w] and deltas [4 * A, h, w] of res4, on the CPU."""
        with _exact(self.device):
            scores, deltas = self.rpn(states)
        return scores.cpu(), deltas.cpu()

    def proposals(self, scores: Tensor, deltas: Tensor, picture: Resized) -> Proposals:
        """The best boxes of the raw maps that are no rivals of better ones."""
        height, width = deltas.shape[1:]
        anchors = anchor_grid(self.rpn.anchors.cpu(), height, width, _STRIDE)
        flat = deltas.reshape(-1, 4, height, width).permute(2, 3, 0, 1).reshape(-1, 4)
        choose = _caffe_proposals if self.config.caffe else _unc_proposals
        return choose(proposal_scores(scores, self.config), flat, anchors, picture, self.config)

    def pool(self, states: Tensor, boxes: Tensor) -> RoiPool:
        """The places of res4 that boxes [N, 4] (resized pixels) cover."""
        return RoiPool(states[0], boxes.to(self.device), cells=self.config.pooled_side, stride=_STRIDE)

    def compute_regions_in(self, kind: torch.dtype) -> None:
        """Makes res5, nearly all of the work, compute in bfloat16 or float32; its norms stay float32."""
        for layer in self.res5.modules():
            if isinstance(layer, Conv):
                layer.weight.data = layer.weight.data.to(kind)

    def region_maps(self, pooled: Tensor) -> Tensor:
        """res5 of pooled regions: [n, D, cells, cells], in the type that res5's weights have."""
        kind = next(self.res5.parameters()).dtype
        with _exact(self.device) if kind == torch.float32 else nullcontext():
            maps: Tensor = self.res5(pooled.to(kind))
        return maps

    def found(self, states: Tensor, boxes: Tensor) -> Found:
        """What res5 and the heads make of boxes [P, 4] (resized pixels) on res4. No box is cut or moved here."""
        pool, step = self.pool(states, boxes), _CHUNK.get(self.device.type, 32)
        features = states.new_empty(len(boxes), self.sizes.features)  # small results among large ones scatter the heap
        for part in (slice(at, at + step) for at in range(0, len(boxes), step)):
            features[part] = self.region_maps(pool.pooled(part)).float().mean((2, 3))
        with _exact(self.device):
            classes, attributes, deltas = self.heads(features)
        return Found(features.cpu(), classes.cpu(), attributes.cpu(), deltas.cpu(), self.config)

    def forward(self, picture: Resized) -> tuple[Proposals, Found]:
        """One picture: padding a batch of several would change their features."""
        states = self.feature_map(picture.pixels)
        proposals = self.proposals(*self.proposal_maps(states), picture)
        return proposals, self.found(states, proposals.boxes)


def _stage(blocks: int, inputs: int, width: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    first = Block(inputs, width, outputs, stride=stride, dilation=dilation)
    return nn.Sequential(first, *(Block(outputs, width, outputs, dilation=dilation) for _ in range(blocks - 1)))


def _exact(device: torch.device) -> AbstractContextManager[None]:
    """Float32 products of CUDA in full: TensorFloat-32 would choose other proposals."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def proposal_scores(scores: Tensor, config: BottomUpConfig) -> Tensor:
    """[h * w * A], place by place: the logits, or in "caffe" the second of each pair's probabilities."""
    if config.caffe:
        scores = scores.reshape(2, -1, *scores.shape[1:]).softmax(0)[1]
    return scores.permute(1, 2, 0).flatten()


def _unc_proposals(
    scores: Tensor, deltas: Tensor, anchors: Tensor, picture: Resized, config: BottomUpConfig
) -> Proposals:
    """The best are chosen first, then those without area dropped."""
    scores, order = scores.sort(descending=True, stable=True)
    scores, order = scores[: config.proposals_considered], order[: config.proposals_considered]
    height, width = picture.size
    boxes = cut_boxes(moved_boxes(anchors[order], deltas[order], config.proposal_weights, 0), width, height)
    large = ((boxes[:, 2:] - boxes[:, :2]) > config.smallest_proposal).all(1)
    return _suppressed(Proposals(boxes[large], scores[large]), Overlap(config.proposal_overlap), config)


def _caffe_proposals(
    scores: Tensor, deltas: Tensor, anchors: Tensor, picture: Resized, config: BottomUpConfig
) -> Proposals:
    """Small ones are dropped first, then the best chosen."""
    assert picture.factor is not None
    height, width = picture.size
    boxes = cut_boxes(moved_boxes(anchors, deltas, config.proposal_weights, 1), width - 1, height - 1)
    sides = boxes[:, 2:] - boxes[:, :2]
    large = (sides > 0).all(1) & (sides + 1 > config.smallest_proposal * picture.factor).all(1)
    boxes, (scores, order) = boxes[large], scores[large].sort(descending=True, stable=True)
    boxes, scores = boxes[order[: config.proposals_considered]], scores[: config.proposals_considered]
    overlap = Overlap(config.proposal_overlap, extra=1, inclusive=True)
    return _suppressed(Proposals(boxes, scores), overlap, config)


def _suppressed(proposals: Proposals, overlap: Overlap, config: BottomUpConfig) -> Proposals:
    kept = torch.from_numpy(unrivalled(_array(proposals.boxes), _array(proposals.scores), overlap, config.proposals))
    return replace(proposals, boxes=proposals.boxes[kept], scores=proposals.scores[kept])


def _array(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.numpy()
    return array
