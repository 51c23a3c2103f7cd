"""The model's configuration and its presets; and how any frozen dataclass of settings is read from text.

The paper and the authors' release differ in places; where they do, the field says which is which.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from interbert.errors import UsageError, unknown_name

MATCH_CLASS = 0  # of the two matching classes, the one that says "belong together" (the release's order)


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of an InterBERT (sections 3.1 and 3.2). Frozen; change with `dataclasses.replace`."""

    vocabulary_size: int = 30522
    hidden_size: int = 768
    feed_forward_size: int = 3072
    interaction_layers: int = 12  # paper 12 (BERT-base), release 6
    independence_layers: int = 6  # of each stream; 0 is the paper's single-stream baseline
    image_layers: int | None = None  # of the image stream where it differs; None: as independence_layers
    heads: int = 12
    image_heads: int | None = None  # of the image stream; release 8; None: as heads
    image_feed_forward_size: int | None = None  # of the image stream; None: as feed_forward_size
    fusion_size: int = 1024  # width of text_vector and image_vector; the paper gives none, release 1024
    fusion: Literal["mul", "sum"] = "mul"  # paper 3.1: element-wise product
    text_position: Literal["mlp", "table"] = "mlp"  # paper "an MLP", release a learned table
    max_text_tokens: int = 512
    token_types: int = 2
    region_feature_size: int = 2048
    region_classes: int = 1601
    region_confidence: bool = False  # beyond the paper: the detector's confidence as a sixth location number
    alone_projections: bool = False  # beyond the paper: vectors of a side alone are corrected, to follow the score
    region_standardised: bool = False  # beyond the paper: features to mean 0 and deviation 1, channel by channel
    layer_norm_eps: float = 1e-12
    dropout: float = 0.1
    attention_dropout: float = 0.1
    image_dropout: float | None = None  # inside the image stream's layers; release 0.2; None: as dropout
    initializer_range: float = 0.02
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        for name, heads in (("heads", self.heads), ("image_heads", self.image_heads or self.heads)):
            if heads < 1 or self.hidden_size % heads:
                raise UsageError(f"{name}: got {heads}, which does not divide hidden_size {self.hidden_size}")

    def to_json(self) -> dict[str, Any]:
        """What `config.json` holds."""
        return {"model_type": "interbert", **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ModelConfig:
        """From what `config.json` holds. Raises UsageError where that is another model's, or has unknown fields."""
        if value.get("model_type") != "interbert":
            raise UsageError(f"config: got model_type {value.get('model_type')!r}, wanted 'interbert'")
        return with_settings(cls(), {k: v for k, v in value.items() if k != "model_type"}, "config field")


PRESETS: dict[str, ModelConfig] = {
    "paper": ModelConfig(),
    "released": ModelConfig(interaction_layers=6, image_heads=8, text_position="table", image_dropout=0.2),
    "small": ModelConfig(
        hidden_size=384,
        feed_forward_size=1536,
        interaction_layers=6,
        independence_layers=3,
        fusion_size=512,
        text_position="table",
        region_feature_size=736,
        region_classes=80,
        region_confidence=True,
        region_standardised=True,
    ),
    "tiny": ModelConfig(
        hidden_size=64,
        feed_forward_size=256,
        interaction_layers=2,
        independence_layers=1,
        heads=4,
        fusion_size=64,
        text_position="table",
        max_text_tokens=64,
        region_feature_size=736,
        region_classes=80,
        region_confidence=True,
        region_standardised=True,
    ),
}


def preset(name: str) -> ModelConfig:
    """The configuration of that name. Raises UsageError with the nearest name."""
    if name not in PRESETS:
        raise UsageError(unknown_name("preset", name, PRESETS))
    return PRESETS[name]


Settings = TypeVar("Settings")


def with_settings(settings: Settings, changes: dict[str, Any], what: str = "setting", prefix: str = "") -> Settings:
    """A copy of a frozen dataclass with fields changed; `a.b` reaches into a dataclass held by field `a`.

    Values may be text as given on the command line: they are read as the field's type. prefix: what stands before the
    names in messages. Raises UsageError for a field that does not exist (the nearest is suggested) or a value that does
    not fit.

    >>> with_settings(PRESETS["tiny"], {"heads": "8", "fusion": "sum"}).heads
    8
    """
    kinds = typing.get_type_hints(type(settings))
    known = {f.name: kinds[f.name] for f in dataclasses.fields(settings)}  # type: ignore[arg-type]
    changed: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}  # those of one part are checked together: one alone may not fit yet
    for key, value in changes.items():
        name, _, rest = key.partition(".")
        if name not in known:
            raise UsageError(unknown_name(what, prefix + name, [prefix + field for field in known]))
        if rest:
            parts.setdefault(name, {})[rest] = value
        else:
            changed[name] = _read(value, known[name], prefix + key)
    for name, of_part in parts.items():
        inner = changed.get(name, getattr(settings, name))
        if not dataclasses.is_dataclass(inner):
            key = f"{prefix}{name}.{next(iter(of_part))}"
            raise UsageError(f"{what} '{key}': '{prefix}{name}' has no parts; give {prefix}{name}=VALUE")
        changed[name] = with_settings(inner, of_part, what, f"{prefix}{name}.")
    return replace(settings, **changed)  # type: ignore[type-var]


def _read(value: Any, kind: Any, key: str) -> Any:
    """`value` as the type `kind`. Text is read as JSON where the type is not text."""
    choices = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        if type(None) in choices and (value is None or str(value).lower() in ("none", "null")):
            return None
        return _read(value, next(c for c in choices if c is not type(None)), key)
    if origin is Literal:
        if value not in choices:
            raise UsageError(f"{key}: got '{value}', wanted one of {', '.join(map(str, choices))}")
        return value
    if kind is str:
        return str(value)
    try:
        read = json.loads(value.lower() if kind is bool else value) if isinstance(value, str) else value
        if kind is float and isinstance(read, int) and not isinstance(read, bool):
            read = float(read)
        if isinstance(read, float) and not math.isfinite(read):
            raise ValueError
        if origin is tuple:
            if not isinstance(read, list | tuple):
                raise ValueError
            return tuple(_read(v, choices[0] if choices else Any, key) for v in read)
        if isinstance(kind, type) and (not isinstance(read, kind) or (kind is not bool and isinstance(read, bool))):
            raise ValueError
    except ValueError:
        wanted = 'a list, as in ["a", "b"] or [1, 2]' if origin is tuple else getattr(kind, "__name__", kind)
        raise UsageError(f"{key}: got '{value}', wanted {wanted}") from None
    return read
