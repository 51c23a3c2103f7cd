"""One kernel for sequences of unlike lengths: its arguments, and what they give where the kernel is a plain loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from test_interbert import a_batch
from test_prepared import CONFIG, made
from torch import Tensor

from interbert.model import flash, layers
from interbert.model.flash import attend_flash, flash_attends
from interbert.model.interbert import layer_sizes
from interbert.model.packing import Packed, attend

HEADS = 4


def plain_kernel(q: Tensor, k: Tensor, v: Tensor, ends_q: Tensor, ends_k: Tensor, max_q: int, max_k: int) -> Tensor:
    """torch's `varlen_attn`, a sequence after the other: rows [T, heads, D], the ends of sequences int32 [B + 1]."""
    found = []
    for begin, end, low, high in zip(ends_q[:-1], ends_q[1:], ends_k[:-1], ends_k[1:], strict=True):
        assert end - begin <= max_q
        assert high - low <= max_k
        one, two, three = (rows.transpose(0, 1) for rows in (q[begin:end], k[low:high], v[low:high]))
        weights = torch.softmax(one @ two.transpose(1, 2) * q.shape[2] ** -0.5, -1)
        found.append((weights @ three).transpose(0, 1))
    return torch.cat(found)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", plain_kernel)
    flash._is_right.cache_clear()
    yield
    flash._is_right.cache_clear()


def rows_of(seed: int, wanted: int | None = None) -> tuple[Packed, Tensor, Tensor, Tensor]:
    torch.manual_seed(seed)
    packed = Packed(torch.arange(9) < torch.tensor([4, 9, 1, 4, 7])[:, None])
    query, key, value = torch.randn(3, 25, 32)
    return packed, packed.first(query, wanted), key, value


@pytest.mark.parametrize("wanted", [None, 1, 5])
def test_rows_and_ends_are_those_of_each_sequence(wanted: int | None, kernel: None) -> None:
    packed, query, key, value = rows_of(0, wanted)
    plain = attend(packed.groups(query, key, value, wanted), HEADS, 0.0)
    assert (attend_flash(packed, query, key, value, HEADS, wanted) - plain).abs().max() < 1e-6


def test_torch_takes_these_arguments() -> None:
    packed, *rows = rows_of(0)
    query, key, value = (one.to("meta", torch.bfloat16) for one in rows)
    found = attend_flash(packed, query, key, value, HEADS)
    assert (found.shape, found.dtype) == ((25, 32), torch.bfloat16)


def test_a_model_that_attends_so_gives_the_padded_paths_numbers(kernel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = made(3), a_batch(pairs=6, words=9, regions=12)
    plain = model(batch, 1)
    monkeypatch.setattr(layers, "flash_attends", lambda states, heads: True)
    monkeypatch.setattr(layers, "attend", None)
    packed = model(batch, 1)
    assert (packed.text_vector - plain.text_vector).abs().max() < 1e-5
    assert (packed.image_vector - plain.image_vector).abs().max() < 1e-5


@pytest.mark.parametrize(("drops", "packs"), [(0.0, True), (0.1, False)])
def test_a_gpu_packs_unless_attention_weights_are_dropped(
    drops: float, packs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = layers.Stream(1, layer_sizes(replace(CONFIG, attention_dropout=drops)))
    monkeypatch.setattr(layers, "flash_attends", lambda states, heads: True)
    assert stream._can_pack(torch.empty(1, 2, 96, device="meta")) is packs
    assert stream.eval()._can_pack(torch.empty(1, 2, 96, device="meta"))


def test_no_kernel_is_looked_for_on_a_cpu() -> None:
    assert not flash_attends(torch.zeros(2, 3, 32, dtype=torch.bfloat16), HEADS)


def test_a_kernel_is_taken_after_it_was_compared(kernel: None) -> None:
    assert flash._is_right(torch.device("cpu"), torch.bfloat16, HEADS, 8)


@pytest.mark.parametrize(("found", "said"), [("zeros", "differs by"), ("fails", "no attention without padding on cpu")])
def test_a_kernel_that_fails_or_differs_is_said_and_not_taken(
    found: str, said: str, kernel: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def other(query: Tensor, *others: object) -> Tensor:
        if found == "fails":
            raise RuntimeError("not on this GPU")
        return torch.zeros_like(query)

    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", other)
    assert not flash._is_right(torch.device("cpu"), torch.bfloat16, HEADS, 8)
    assert said in caplog.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_padded_paths_numbers_without_padding() -> None:
    model, batch = made(3).cuda(), a_batch(pairs=6, words=9, regions=12).to(torch.device("cuda"))
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
        packed = model(batch, 1)
        for name in ("interaction", "text_stream", "image_stream"):
            model.get_submodule(name).packs = False
        plain = model(batch, 1)
    assert (packed.text_vector - plain.text_vector).abs().max() < 0.1 * plain.text_vector.abs().max()
