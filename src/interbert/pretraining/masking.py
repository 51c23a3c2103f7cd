"""What is hidden from the model: MLM, MSM, MOM and MRM as pure functions (section 3.3).

Words or boxes and a generator come in, booleans leave. Easy pair: MLM and MOM hide single words and single regions.
Hard pair: MSM hides segments of words, MRM hides regions with every neighbour that would give the answer away.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from interbert.vision.boxes import box_iou


def masked_singles(maskable: Tensor, generator: Generator, rate: float = 0.15) -> Tensor:
    """MLM and MOM: each place on its own (3.3). maskable: bool [S]. Returns bool [S], only where maskable.

    >>> masked_singles(torch.tensor([False, True, True, False]), torch.Generator().manual_seed(0), rate=1.0).tolist()
    [False, True, True, False]
    """
    return maskable & (torch.rand(maskable.shape, generator=generator) < rate)


def masked_segments(maskable: Tensor, generator: Generator, rate: float = 0.10, max_following: int = 2) -> Tensor:
    """MSM: anchors, each followed by 0 to `max_following` more words, uniformly; segments may overlap (3.3).

    maskable: bool [S].  rate: share of anchors.  Returns bool [S]. A text may get no anchor: P = (1 - rate)^L.

    An anchor at 1 with two followers and one at 4 with none hide 1, 2, 3 and 4; with rate 1 everything is an anchor:

    >>> masked_segments(torch.tensor([False, True, True, False]), torch.Generator().manual_seed(0), rate=1.0).tolist()
    [False, True, True, False]
    """
    anchors = masked_singles(maskable, generator, rate)
    following = torch.randint(max_following + 1, maskable.shape, generator=generator)
    masked = anchors.clone()
    for distance in range(1, max_following + 1):
        masked[distance:] |= (anchors & (following >= distance))[:-distance]
    return masked & maskable


def word_numbers(continues: Tensor, special: Tensor) -> Tensor:
    """Which word each piece of a text belongs to, for masking whole words.

    continues: bool [T], pieces that go on with the word before them.  special: bool [T].  Returns int64 [T]; specials
    get -1.

    >>> continues = torch.tensor([False, False, True, False, False])       # [CLS] play ##ing play [SEP]
    >>> word_numbers(continues, torch.tensor([True, False, False, False, True])).tolist()
    [-1, 0, 0, 1, -1]
    """
    numbers = (~special & ~continues).long().cumsum(0) - 1
    return torch.where(special, -1, numbers.clamp(min=0))


def replaced_words(words: Tensor, masked: Tensor, generator: Generator, mask_id: int, choices: Tensor) -> Tensor:
    """BERT's replacement of masked words: 80 % `[MASK]`, 10 % a random word, 10 % unchanged (3.3).

    words: int64 [T].  masked: bool [T].  choices: int64 [K], the words a random one is drawn from. Returns int64 [T].

    >>> none = torch.tensor([False, False])
    >>> replaced_words(torch.tensor([5, 6]), none, torch.Generator(), mask_id=4, choices=torch.tensor([7])).tolist()
    [5, 6]
    """
    draw = torch.rand(words.shape, generator=generator)
    random = choices[torch.randint(len(choices), words.shape, generator=generator)]
    hidden = torch.where(draw < 0.8, torch.full_like(words, mask_id), torch.where(draw < 0.9, random, words))
    return torch.where(masked, hidden, words)


def masked_neighbours(boxes: Tensor, anchors: Tensor, threshold: float = 0.4, inclusive: bool = False) -> Tensor:
    """Regions hidden with their anchors, so that no overlapping neighbour gives the answer away (3.3, "MRM").

    boxes: [R, 4] xyxy.  anchors: bool [R].  Returns bool [R]: anchors, and every region whose IoU with one is above the
    threshold. inclusive: also those exactly at it (the release).

    >>> boxes = torch.tensor([[0., 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30]])  # IoU 0.8 of the first two
    >>> masked_neighbours(boxes, torch.tensor([True, False, False])).tolist()
    [True, True, False]
    """
    overlap = box_iou(boxes, boxes[anchors])
    return anchors | (overlap >= threshold if inclusive else overlap > threshold).any(dim=1)


def masked_regions(
    boxes: Tensor, generator: Generator, rate: float = 0.15, threshold: float = 0.4, inclusive: bool = False
) -> Tensor:
    """MRM: anchors at `rate`, and their neighbours (3.3). boxes: [R, 4] xyxy without slot 0. Returns bool [R].

    >>> masked_regions(torch.tensor([[0., 0, 9, 9], [50, 50, 60, 60]]), torch.Generator(), rate=0.0).tolist()
    [False, False]
    """
    anchors = masked_singles(torch.ones(len(boxes), dtype=torch.bool), generator, rate)
    return masked_neighbours(boxes, anchors, threshold, inclusive)
