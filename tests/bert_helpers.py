"""A small BERT as a folder, with the names that Hugging Face's files have."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

SIZES = {"vocab_size": 19, "hidden_size": 12, "intermediate_size": 20, "num_attention_heads": 2}
CONFIG = SIZES | {"model_type": "bert", "hidden_act": "gelu", "max_position_embeddings": 16, "type_vocab_size": 2}
CONFIG |= {"layer_norm_eps": 1e-12, "num_hidden_layers": 4}


def bert_tensors(layers: int = 4, prefix: str = "", heads: bool = False) -> dict[str, Tensor]:
    """Random weights of a BERT. heads: with those of its own pretraining, as `BertForPreTraining` saves them."""
    wide, inner = 12, 20
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (19, wide),
        "embeddings.position_embeddings.weight": (16, wide),
        "embeddings.token_type_embeddings.weight": (2, wide),
    }
    linear = {"pooler.dense": (wide, wide)}
    norms = ["embeddings.LayerNorm"]
    for at in range(layers):
        place = f"encoder.layer.{at}"
        linear |= {f"{place}.attention.self.{name}": (wide, wide) for name in ("query", "key", "value")}
        linear |= {f"{place}.attention.output.dense": (wide, wide), f"{place}.intermediate.dense": (inner, wide)}
        linear |= {f"{place}.output.dense": (wide, inner)}
        norms += [f"{place}.attention.output.LayerNorm", f"{place}.output.LayerNorm"]
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        shapes |= {f"{name}.weight": (wide,), f"{name}.bias": (wide,)}
    shapes = {prefix + name: shape for name, shape in shapes.items()}
    if heads:
        shapes |= {"cls.predictions.bias": (19,), "cls.predictions.decoder.weight": (19, wide)}
        shapes |= {"cls.seq_relationship.weight": (2, wide), "cls.seq_relationship.bias": (2,)}
        for part in ("dense", "LayerNorm"):
            shape = (wide, wide) if part == "dense" else (wide,)
            shapes |= {
                f"cls.predictions.transform.{part}.weight": shape,
                f"cls.predictions.transform.{part}.bias": (wide,),
            }
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def write_bert(folder: Path, tensors: dict[str, Tensor] | None = None, **changes: object) -> Path:
    """A folder with config.json and model.safetensors. changes: of the configuration; None takes a field away."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {name: value for name, value in (CONFIG | changes).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(bert_tensors() if tensors is None else tensors, folder / "model.safetensors")
    return folder
