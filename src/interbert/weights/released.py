"""The authors' checkpoints: their file and their config.json come in, an `InterBert` with the same numbers leaves.

The tables are of their release (black4321/InterBERT). Their joint sequence is regions first, then text, ours text
first: no weight depends on it. Every key of the file and every field of the configuration is known here or an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from interbert.config import ModelConfig, with_settings
from interbert.errors import InterbertError, UsageError
from interbert.files import whole_file
from interbert.model.heads import ReleasedHeads
from interbert.model.interbert import InterBert
from interbert.weights.tables import BERT_LAYER_TO_OURS, Table, fill, listed, read_tensors, with_new_norm_names

# Theirs, without "module." -> ours. {i} counts layers; {n+i} goes on counting behind the single stream's.
RELEASED_TO_OURS: Table = [
    ("bert.embeddings.word_embeddings.weight", "text_embedding.words.weight"),
    ("bert.embeddings.position_embeddings.weight", "text_embedding.positions.table.weight"),
    ("bert.embeddings.token_type_embeddings.weight", "text_embedding.token_types.weight"),
    ("bert.embeddings.LayerNorm", "text_embedding.norm"),
    ("bert.v_embeddings.image_embeddings", "image_embedding.features"),
    ("bert.v_embeddings.image_location_embeddings", "image_embedding.locations"),
    ("bert.v_embeddings.LayerNorm", "image_embedding.norm"),
    ("bert.encoder.layer.{i}", "interaction.layers.{i}"),  # within a layer: BERT_LAYER_TO_OURS
    ("bert.encoder.layer.{n+i}", "text_stream.layers.{i}"),
    ("bert.encoder.v_layer.{i}", "image_stream.layers.{i}"),
    ("bert.t_pooler.dense", "fusion.text"),
    ("bert.v_pooler.dense", "fusion.image"),
    ("cls.predictions.transform.dense", "word_head.transform.dense"),
    ("cls.predictions.transform.LayerNorm", "word_head.transform.norm"),
    ("cls.predictions.bias", "word_head.bias"),
    ("cls.imagePredictions.transform.dense", "region_head.transform.dense"),
    ("cls.imagePredictions.transform.LayerNorm", "region_head.transform.norm"),
    ("cls.imagePredictions.decoder", "region_head.decoder"),
    ("cls.bi_seq_relationship", "match_head"),
]
HEADS_TO_OURS: Table = [  # of fine-tuned models
    ("vil_prediction", "answer"),
    ("vil_logit", "choice"),
    ("vision_logit", "region"),
    ("linguisic_logit", "word"),  # spelled like this
]
WORDS, TIED = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"  # one tensor, stored twice

CONFIG_TO_OURS = [  # their field, ours, what their code takes where the file lacks it (... : it must be there)
    ("vocab_size", "vocabulary_size", ...),
    ("hidden_size", "hidden_size", 768),
    ("intermediate_size", "feed_forward_size", 3072),
    ("v_intermediate_size", "image_feed_forward_size", 3072),
    ("num_hidden_layers", "interaction_layers", 12),
    ("t_num_hidden_layers", "independence_layers", ...),
    ("v_num_hidden_layers", "image_layers", 3),
    ("num_attention_heads", "heads", 12),
    ("v_num_attention_heads", "image_heads", 12),
    ("bi_hidden_size", "fusion_size", 1024),
    ("fusion_method", "fusion", "mul"),
    ("max_position_embeddings", "max_text_tokens", 512),
    ("type_vocab_size", "token_types", 2),
    ("v_feature_size", "region_feature_size", 2048),
    ("v_target_size", "region_classes", 1601),
    ("hidden_dropout_prob", "dropout", 0.1),
    ("attention_probs_dropout_prob", "attention_dropout", 0.1),
    ("v_hidden_dropout_prob", "image_dropout", 0.1),
    ("initializer_range", "initializer_range", 0.02),
]
SAME_AS = {  # ours that say "as that one" by None
    "image_feed_forward_size": "feed_forward_size",
    "image_layers": "independence_layers",
    "image_heads": "heads",
    "image_dropout": "dropout",
}
ONE_VALUE = {"hidden_act": "gelu", "v_hidden_act": "gelu"}  # another would compute other numbers
READ_BY_NOTHING = {  # in their files or their code's defaults, without effect on what this model computes
    *("fast_mode", "in_batch_pairs", "v_initializer_range", "pooling_method", "conv_layer", "max_region_length"),
    *("max_seq_length", "bi_num_attention_heads", "v_biattention_id", "t_biattention_id", "fixed_v_layer"),
    *("fixed_t_layer", "intra_gate", "with_coattention"),
}
HEADS = "heads.safetensors"  # in a run's folder, beside the model


@dataclass(frozen=True)
class ReleasedConfig:
    """Their config.json in our words.

    regresses_features: their `predict_feature`: the region head gives a feature in place of class logits.
    notes: what a reader should know: values that the file lacks, and what is not kept.
    """

    model: ModelConfig
    regresses_features: bool
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Released:
    """A converted checkpoint. heads: of a fine-tuned one, else None."""

    model: InterBert
    heads: ReleasedHeads | None
    config: ReleasedConfig


def read_released(file: Path, config: Path) -> Released:
    """The model of a checkpoint of the release, pretrained or fine-tuned, with or without `module.` before its keys.

    Raises UsageError where a file is missing, InterbertError where the checkpoint cannot be read, is of another model
    or of other sizes, or where the configuration asks for another arithmetic.
    """
    ours = released_config(config)
    tensors = {key.removeprefix("module."): tensor for key, tensor in read_tensors(file).items()}
    tensors = with_new_norm_names(tensors)
    _require_interbert(file, tensors)
    theirs = {key: tensor for key, tensor in tensors.items() if key.split(".")[0] not in dict(HEADS_TO_OURS)}
    with torch.device("meta"):  # sizes alone; no weight of it is kept
        model = InterBert(ours.model)
    what = f"'{file}' does not fit the model that '{config}' describes"
    table = key_table(ours.model)
    found = fill(theirs, table, model.state_dict(), what, not_used=(TIED,))
    if TIED in theirs and not torch.equal(theirs[TIED], theirs[WORDS]):
        raise InterbertError(f"{what}: {TIED} is not {WORDS}; in InterBERT they are one tensor")
    model.load_state_dict(found.tensors, assign=True)
    heads = _heads({key: tensors[key] for key in tensors if key not in theirs}, ours.model, what)
    return Released(model.eval(), heads, ours)


def released_config(path: Path) -> ReleasedConfig:
    """Their config.json in our words. Raises InterbertError for a field or a value whose effect is not known here."""
    theirs = _json_object(path)
    known = {field for field, _, _ in CONFIG_TO_OURS} | set(ONE_VALUE) | READ_BY_NOTHING
    known |= {"v_hidden_size", "v_attention_probs_dropout_prob", "predict_feature"}
    if unknown := sorted(set(theirs) - known):
        raise InterbertError(
            f"'{path}' has fields that are not known: {listed(unknown)}; wanted the release's config.json"
        )
    if missing := [field for field, _, default in CONFIG_TO_OURS if default is ... and field not in theirs]:
        raise InterbertError(f"'{path}' lacks {', '.join(missing)}; wanted the release's config.json")
    for field, wanted in ONE_VALUE.items():
        if theirs.get(field, wanted) != wanted:
            raise InterbertError(f"'{path}': got {field} {theirs[field]!r}, wanted {wanted!r}, the only one known here")
    regresses_features = theirs.get("predict_feature", False)
    if not isinstance(regresses_features, bool):
        raise InterbertError(f"'{path}': got predict_feature {regresses_features!r}, wanted true or false")
    values = {ours: theirs.get(field, default) for field, ours, default in CONFIG_TO_OURS}
    if theirs.get("v_hidden_size", 768) != values["hidden_size"]:
        raise InterbertError(
            f"'{path}': got v_hidden_size {theirs.get('v_hidden_size', 768)} and hidden_size {values['hidden_size']}; "
            "wanted them equal, since words and regions go through one stream"
        )
    values |= {ours: None for ours, other in SAME_AS.items() if values[ours] == values[other]}
    if too_small := [
        name for name, value in values.items() if isinstance(value, int) and value < ("layers" not in name)
    ]:
        raise InterbertError(f"'{path}': got {too_small[0]} {values[too_small[0]]}, wanted at least 1")
    try:
        model = with_settings(ModelConfig(text_position="table"), values)
    except UsageError as error:
        raise InterbertError(f"'{path}': {error}") from error
    return ReleasedConfig(model, regresses_features, tuple(_notes(theirs)))


def _notes(theirs: Mapping[str, Any]) -> list[str]:
    """What the configuration leaves open, and what of it is not kept."""
    taken = [f"{field} {default}" for field, _, default in CONFIG_TO_OURS if field not in theirs]
    notes = [f"not in the configuration, so as in the authors' code: {', '.join(taken)}"] if taken else []
    dropouts = [theirs.get(f"{side}attention_probs_dropout_prob", 0.1) for side in ("", "v_")]
    if dropouts[0] != dropouts[1]:
        notes.append(f"attention dropout of the image stream is {dropouts[0]} from here on, was {dropouts[1]}")
    if theirs.get("predict_feature"):
        notes.append("the region head gives features (predict_feature), no classes: pretraining needs a new one")
    return notes


def key_table(config: ModelConfig) -> Table:
    """`RELEASED_TO_OURS` with the layers counted out."""
    image_layers = config.independence_layers if config.image_layers is None else config.image_layers
    counts = {"interaction": config.interaction_layers, "text_stream": config.independence_layers}
    counts["image_stream"] = image_layers
    rows: Table = []
    for theirs, ours in RELEASED_TO_OURS:
        if "{i}" not in ours:
            rows.append((theirs, ours))
            continue
        for i in range(counts[ours.split(".")[0]]):
            their_layer = theirs.replace("{i}", str(i)).replace("{n+i}", str(config.interaction_layers + i))
            our_layer = ours.replace("{i}", str(i))
            rows += [(f"{their_layer}.{a}", f"{our_layer}.{b}") for a, b in BERT_LAYER_TO_OURS]
    return rows


def _require_interbert(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raises InterbertError for a checkpoint of another model."""
    parts = ("bert.embeddings", "bert.v_embeddings", "bert.encoder.layer", "bert.t_pooler", "cls.bi_seq_relationship")
    missing = [part for part in parts if not any(key.startswith(part + ".") for key in tensors)]
    if missing:
        hint = "; for a BERT, see  interbert convert bert --help" if "bert.v_embeddings" in missing else ""
        raise InterbertError(
            f"'{file}' is no InterBERT of the authors' release: it has no {listed(missing)}, "
            f"but {listed(sorted(tensors), 3)}{hint}"
        )


def _heads(theirs: Mapping[str, Tensor], config: ModelConfig, what: str) -> ReleasedHeads | None:
    """The heads of a fine-tuned model; how many answers it knows is in no configuration."""
    if not theirs:
        return None
    answers = theirs.get("vil_prediction.weight")
    with torch.device("meta"):
        count = len(answers) if answers is not None and answers.ndim else 1
        heads = ReleasedHeads(config.hidden_size, config.fusion_size, count)
    heads.load_state_dict(fill(theirs, HEADS_TO_OURS, heads.state_dict(), what).tensors, assign=True)
    return heads.eval()


def save_heads(heads: ReleasedHeads, run: Path) -> None:
    """Writes them beside a run's model."""
    with whole_file(run / HEADS, "wb") as file:
        file.write(save({name: tensor.contiguous() for name, tensor in heads.state_dict().items()}))


def load_heads(run: Path) -> ReleasedHeads:
    """The heads of a run that was converted from a fine-tuned model. Raises InterbertError where it has none."""
    if not (run / HEADS).is_file():
        raise InterbertError(f"'{run}' has no {HEADS}; wanted a run converted from a fine-tuned checkpoint")
    tensors = load_file(run / HEADS)
    answer, region = tensors["answer.weight"], tensors["region.weight"]
    heads = ReleasedHeads(region.shape[1], answer.shape[1], len(answer))
    heads.load_state_dict(tensors)
    return heads.eval()


def _json_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"--config: there is no file '{path}'; wanted the release's config.json")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InterbertError(f"'{path}' is no JSON object; wanted the release's config.json")
    return value
