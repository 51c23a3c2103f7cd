"""A model made ready to score on a CPU: weights laid out for its matrix units once, not at every product."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from interbert.model.interbert import InterBert
from interbert.model.layers import Layer
from interbert.model.unfilled import unfilled

ROWS = 1024  # of a matrix that the layout is chosen for
KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16}  # what is between the products
BLOCK = 1 << 16  # numbers that become bytes at once: they stay in the cache
GELU: tuple[Any, ...] = ("gelu", [], "none")
NOTHING: tuple[Any, ...] = ("none", [], "")


def can_prepare(precision: str) -> bool:
    """Whether this CPU, and this build of torch, have the products that `prepared` uses for a precision."""
    able = torch.cpu.get_capabilities()
    onednn = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")  # type: ignore[no-untyped-call]
    wanted = {"fp32": "avx2", "bf16": "avx512_bf16", "int8": "avx512_vnni"}[precision]
    return bool(onednn and able.get(wanted))


def prepared(model: InterBert, precision: str) -> InterBert:
    """The model for scoring in "fp32", "bf16" or "int8"; its other weights are the model's own.

    The layers and the embedding of regions work in that precision, what reads them in float32. Without gradients, and
    not to be saved.
    """
    kind = KINDS[precision]
    with unfilled():
        made = InterBert(model.config)
    made.load_state_dict(model.state_dict(), assign=True)
    for stream in (made.interaction, made.text_stream, made.image_stream):
        stream.activations = kind
        for layer in cast(list[Layer], list(stream.layers)):
            _prepare(layer, _Int8Linear if precision == "int8" else _Linear, kind)
    made.image_embedding.features = cast(Any, _Linear(made.image_embedding.features, kind))
    return made.eval()


class _Linear(nn.Module):
    """A linear layer, with GELU where one follows."""

    def __init__(self, linear: nn.Linear, kind: torch.dtype, with_gelu: bool = False) -> None:
        super().__init__()
        self.kind, self.then = kind, GELU if with_gelu else NOTHING
        self.bias = linear.bias.detach().to(kind)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(kind), ROWS)

    def forward(self, rows: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise(rows.to(self.kind), self.weight, self.bias, *self.then))


class _Int8Linear(nn.Module):
    """The same with both factors rounded to 8 bits: weights with a scale for each output, rows with one for them all.

    So a score depends a little on what else is scored with it.
    """

    def __init__(self, linear: nn.Linear, kind: torch.dtype, with_gelu: bool = False) -> None:
        super().__init__()
        self.kind, self.then, self.bias = kind, GELU if with_gelu else NOTHING, linear.bias.detach().float()
        weight = linear.weight.detach().float()
        self.scale = weight.abs().amax(1).clamp(min=1e-12) / 127
        self.weight = torch.ops.onednn.qlinear_prepack((weight / self.scale[:, None]).round().to(torch.int8), None)
        self.zero = torch.zeros(len(weight), dtype=torch.int64)

    def forward(self, rows: Tensor) -> Tensor:
        """[..., in] to [..., out]."""
        low, high = (float(one) for one in torch.aminmax(rows))
        if not math.isfinite(high - low):
            return rows.new_full((*rows.shape[:-1], len(self.zero)), math.nan)  # whoever reads it says so
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / 254 or 1.0
        zero = math.floor(-low / scale) + 1  # `low` is at most 1 then, `high` at most 255: none wraps around
        product = torch.ops.onednn.qlinear_pointwise(
            _bytes(rows, scale, zero), scale, zero, self.weight, self.scale, self.zero, self.bias, 1.0, 0, self.kind,
            *self.then,
        )  # fmt: skip
        return cast(Tensor, product)


def _bytes(rows: Tensor, scale: float, zero: int) -> Tensor:
    """uint8 of the same shape: zero + rows / scale, rounded."""
    found = torch.empty(rows.shape, dtype=torch.int8)  # torch converts to it several times as fast as to uint8
    offset = torch.tensor(float(zero - 128))
    height = max(1, BLOCK // (rows[0].numel() or 1)) if len(rows) else 1
    for part, to in zip(torch.split(rows, height), torch.split(found, height), strict=True):
        to.copy_(torch.add(offset, part.float(), alpha=1 / scale).round_())
    return found.view(torch.uint8).bitwise_xor_(128)


def _prepare(layer: Layer, linear: type[_Linear] | type[_Int8Linear], kind: torch.dtype) -> None:
    for name in ("query", "key", "value", "output"):
        setattr(layer.attention, name, linear(getattr(layer.attention, name), kind))
    layer.contract = cast(Any, linear(layer.contract, kind))
    layer.expand = cast(Any, linear(layer.expand, kind, with_gelu=True))
    layer.activation = nn.Identity()
