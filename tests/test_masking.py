"""Masking: the paper's statistics, counted over many draws."""

from __future__ import annotations

import torch

from interbert.pretraining.masking import (
    masked_neighbours,
    masked_regions,
    masked_segments,
    masked_singles,
    replaced_words,
    word_numbers,
)

DRAWS = 20_000
TEXT = torch.tensor([False, *[True] * 10, False])  # [CLS], ten words, [SEP]


def segments(maskable: torch.Tensor = TEXT, draws: int = DRAWS) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([masked_segments(maskable, generator) for _ in range(draws)])


def test_msm_hides_the_first_word_in_10_the_second_in_16_and_the_others_in_19_percent() -> None:
    share = segments().float().mean(0)
    assert abs(share[1] - 0.10) < 0.01
    assert abs(share[2] - (1 - 0.9 * (1 - 0.1 * 2 / 3))) < 0.01  # 0.16
    assert (share[3:11] - 0.188).abs().max() < 0.012


def test_msm_hides_nothing_with_probability_0_9_to_the_length() -> None:
    nothing = (~segments().any(1)).float().mean()
    assert abs(nothing - 0.9**10) < 0.012


def test_msm_segments_have_a_mean_length_of_two_before_they_overlap() -> None:
    long_text = torch.ones(3000, dtype=torch.bool)
    masked = masked_segments(long_text, torch.Generator().manual_seed(1), rate=0.002)
    starts = masked & ~torch.cat([torch.tensor([False]), masked[:-1]])
    many = [masked_segments(long_text, torch.Generator().manual_seed(s), rate=0.002) for s in range(200)]
    total = sum(int(m.sum()) for m in many)
    runs = sum(int((m & ~torch.cat([torch.tensor([False]), m[:-1]])).sum()) for m in many)
    assert int(starts.sum()) > 0
    assert abs(total / runs - 2.0) < 0.1


def test_special_tokens_are_never_hidden() -> None:
    assert not segments(draws=2000)[:, [0, 11]].any()
    singles = torch.stack([masked_singles(TEXT, torch.Generator().manual_seed(s), rate=0.9) for s in range(50)])
    assert not singles[:, [0, 11]].any()


def test_single_masking_hides_15_percent() -> None:
    everywhere = torch.ones(200_000, dtype=torch.bool)
    assert abs(masked_singles(everywhere, torch.Generator().manual_seed(0)).float().mean() - 0.15) < 0.003


def test_hidden_words_become_mask_random_or_stay_by_80_10_10() -> None:
    words, masked = torch.full((100_000,), 7), torch.ones(100_000, dtype=torch.bool)
    choices = torch.arange(10, 1010)
    new = replaced_words(words, masked, torch.Generator().manual_seed(0), mask_id=4, choices=choices)
    assert abs((new == 4).float().mean() - 0.8) < 0.005
    assert abs((new == 7).float().mean() - 0.1) < 0.005
    assert abs((new >= 10).float().mean() - 0.1) < 0.005


def test_words_that_are_not_hidden_stay() -> None:
    words, masked = torch.arange(100, 200), torch.zeros(100, dtype=torch.bool)
    masked[3] = True
    new = replaced_words(words, masked, torch.Generator().manual_seed(0), 4, torch.arange(10))
    assert torch.equal(new[~masked], words[~masked])


def test_mrm_hides_exactly_the_neighbours_of_its_anchors() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4], [50, 50, 60, 60]])  # IoU with 0: 1, .5, .4, 0
    anchors = torch.tensor([True, False, False, False])
    assert masked_neighbours(boxes, anchors).tolist() == [True, True, False, False]
    assert masked_neighbours(boxes, anchors, inclusive=True).tolist() == [True, True, True, False]


def test_mrm_without_an_anchor_hides_nothing() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]])
    assert not masked_regions(boxes, torch.Generator(), rate=0.0).any()


def test_mrm_anchors_are_15_percent_where_nothing_overlaps() -> None:
    corner = torch.arange(5000.0) * 10
    boxes = torch.stack([corner, corner, corner + 5, corner + 5], 1)
    assert abs(masked_regions(boxes, torch.Generator().manual_seed(0)).float().mean() - 0.15) < 0.015


def test_whole_words_share_a_number_and_specials_have_none() -> None:
    continues = torch.tensor([False, False, True, True, False, False])
    special = torch.tensor([True, False, False, False, False, True])
    assert word_numbers(continues, special).tolist() == [-1, 0, 0, 0, 1, -1]


def test_equal_generators_give_equal_masks() -> None:
    first, second = (masked_segments(TEXT, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
