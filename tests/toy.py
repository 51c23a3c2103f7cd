"""A toy to train in tests: a few hundred weights that learn which of 20 words a text has, and whether it matches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interbert.batch import Batch
from interbert.draws import generator_for
from interbert.training.journal import TIMING, read_journal

WORDS, TEXT = 20, 6


class ToyModel(nn.Module):
    """Words -> states through two layers with dropout; heads for words and matching, used outside `forward`."""

    def __init__(self, dropout: float = 0.1, size: int = 16) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.embedding = nn.Embedding(WORDS, size)
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(size, size), nn.Tanh()) for _ in range(2)])
        self.norm, self.dropout = nn.LayerNorm(size), nn.Dropout(dropout)
        self.word_head, self.match_head = nn.Linear(size, WORDS), nn.Linear(size, 2)
        self.word_head.weight = self.embedding.weight  # tied, as in BERT
        self.register_buffer("scale", torch.full((), 1.5))
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)

    def forward(self, batch: Batch) -> Tensor:
        assert batch.words is not None
        states = self.embedding(batch.words) * self.scale
        for layer in self.layers:
            states = self.norm(states + self.dropout(layer(states)))
        return states


class ToyJob:
    """8 pairs a step, in micro-batches of 4 or fewer over however many processes there are."""

    def __init__(self, total_steps: int = 12, seed: int = 3, micro_batch: int = 4) -> None:
        self.total_steps, self.seed, self.micro_batch = total_steps, seed, micro_batch

    def stage(self, step: int) -> str:
        return "first" if step < self.total_steps // 2 else "second"

    def batches(self, step: int, rank: int, world: int) -> list[Batch]:
        generator = generator_for(self.seed, step)
        batch = Batch(
            ids=[f"{step}-{at}" for at in range(8)],
            words=torch.randint(WORDS, (8, TEXT), generator=generator),
            words_valid=torch.ones(8, TEXT, dtype=torch.bool),
            masked_words=torch.rand(8, TEXT, generator=generator) < 0.3,
            is_match=torch.rand(8, generator=generator) < 0.5,
        )
        return [batch.select(part) for part in torch.arange(rank, 8, world).split(self.micro_batch)]

    def counts(self, batch: Batch) -> dict[str, float]:
        assert batch.masked_words is not None
        return {"words": float(batch.masked_words.sum()), "matching": float(len(batch))}

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        assert isinstance(model, ToyModel)
        assert batch.masked_words is not None
        assert batch.words is not None
        assert batch.is_match is not None
        states, scored = model(batch), batch.masked_words
        words = nn.functional.cross_entropy(model.word_head(states[scored]), batch.words[scored], reduction="sum")
        match = nn.functional.cross_entropy(model.match_head(states[:, 0]), batch.is_match.long(), reduction="sum")
        return {"words": words, "matching": match}

    def validate(self, model: nn.Module, step: int) -> dict[str, float]:
        assert not model.training
        [batch] = ToyJob(seed=99, micro_batch=8).batches(0, 0, 1)
        return {"words": float(self.losses(model, batch.to(next(model.parameters()).device))["words"])}

    def fingerprint(self) -> dict[str, Any]:
        return {"seed": self.seed, "pairs_per_step": 8}


def lines_without_timing(out: Path) -> list[dict[str, Any]]:
    """The log of a run as it must be equal in another run of the same."""
    lines = read_journal(out / "training.jsonl")
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]
