"""Draws by their purpose."""

from __future__ import annotations

import itertools

import torch

from interbert.draws import generator_for, seed_for


def test_a_draw_depends_on_its_key_alone() -> None:
    first = torch.rand(4, generator=generator_for(3, "pair", 7))
    torch.rand(9, generator=generator_for(3, "pair", 8))
    assert torch.equal(first, torch.rand(4, generator=generator_for(3, "pair", 7)))


def test_every_part_of_a_key_and_their_order_count() -> None:
    keys = [(0, 7, 1), (0, 1, 7), (7, 0, 1), (0, "7", 1), (0, 71), (0, 7), ("0", 7, 1)]
    assert all(seed_for(*one) != seed_for(*two) for one, two in itertools.combinations(keys, 2))


def test_a_seed_has_63_bits_evenly_used() -> None:
    seeds = [seed_for(0, number) for number in range(2000)]
    assert max(seeds) < 2**63
    shares = [sum(seed >> bit & 1 for seed in seeds) / len(seeds) for bit in range(63)]
    assert min(shares) > 0.44
    assert max(shares) < 0.56
