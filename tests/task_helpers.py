"""What tests of tasks are given: a tiny model, its vocabulary, and a run's folder that holds them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pretraining_helpers import EXTRACTOR, random_tokenizer
from torch import nn

from interbert.config import ModelConfig
from interbert.model.interbert import InterBert
from interbert.tasks.task import Given, TaskModel

TOKENIZER = random_tokenizer()
CONFIG = ModelConfig(
    vocabulary_size=TOKENIZER.vocabulary_size,
    hidden_size=16,
    feed_forward_size=32,
    interaction_layers=1,
    independence_layers=1,
    heads=2,
    fusion_size=12,
    text_position="table",
    max_text_tokens=24,
    region_feature_size=8,
    region_classes=5,
    dropout=0.0,
    attention_dropout=0.0,
)


def given(name: str, **changes: Any) -> Given:
    return replace(Given(name, TOKENIZER, EXTRACTOR, CONFIG), **changes)


def task_model(head: nn.Module | None, config: ModelConfig = CONFIG, seed: int = 0) -> TaskModel:
    torch.manual_seed(seed)
    return TaskModel(InterBert(config), head).eval()


def saved_run(folder: Path, config: ModelConfig = CONFIG) -> Path:
    torch.manual_seed(0)
    InterBert(config).save_pretrained(folder)
    TOKENIZER.save(folder / "tokenizer.json")
    EXTRACTOR.save(folder / "extractor.json")
    return folder
