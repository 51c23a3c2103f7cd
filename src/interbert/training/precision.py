"""Which arithmetic a device is good at: bfloat16 autocast, and the faster of two float32 routes on a CPU."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from interbert.errors import UsageError

_lock = threading.Lock()
_inside: list[None] = []  # one for each block that is inside the oneDNN route, of all threads
_before: list[str] = []  # how the switch stood before the first of them


def chosen_precision(wanted: str, device: torch.device) -> str:
    """ "fp32" or "bf16" for "auto"; raises UsageError where bf16 is wanted of a device that can not do it."""
    if wanted == "fp32":
        return "fp32"
    able = (
        torch.cuda.is_bf16_supported(including_emulation=False)
        if device.type == "cuda"
        else _cpu_has("avx512_bf16", "amx_bf16")
    )
    if wanted == "bf16" and not able and device.type != "cpu":
        raise UsageError(f"precision: got bf16, which {device} does not have; wanted fp32 or auto")
    return "bf16" if able or wanted == "bf16" else "fp32"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Products in bfloat16 where `precision` says so; weights, sums and losses stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def fast_matmul(always: bool = False) -> Iterator[bool]:
    """Float32 products of the CPU through oneDNN inside the block, where that is both exact and faster. Yields whether.

    PyTorch takes MKL for float32, which on AMD runs its AVX2 kernels: half the speed of a core with full 512-bit units
    (Zen 5: 1.9 times as fast through oneDNN, forward and backward; Zen 4: nothing to gain, and small products lose).
    The switch that chooses oneDNN also permits it to round to bfloat16, which CPUs with AMX do: so the products are
    compared with float64 first, and the switch stays off where they are not float32.

    always: wherever the products are exact, on whichever CPU. The old route is restored on leaving.
    """
    used = (always or full_float32_is_slow()) and _route_is_exact()
    with _onednn_route() if used else _as_it_is():
        yield used


@contextmanager
def _onednn_route() -> Iterator[None]:
    """The switch is one for all threads: the first that comes turns it, the last that goes turns it back."""
    switch: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # made when torch is imported
    with _lock:
        if not _inside:
            _before[:] = [switch.fp32_precision]
            switch.fp32_precision = "bf16"
        _inside.append(None)
    try:
        yield
    finally:
        with _lock:
            _inside.pop()
            if not _inside:
                switch.fp32_precision = _before[0]


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


def _cpu_has(*features: str) -> bool:
    able = torch.cpu.get_capabilities()
    return any(able.get(feature, False) for feature in features)


def full_float32_is_slow() -> bool:
    """Whether torch's own float32 route leaves half of this CPU unused: AMD's with full 512-bit units."""
    return "AMD" in str(torch.cpu.get_capabilities().get("cpu_name")) and _cpu_has("avx_vnni", "avx512_vp2intersect")


@functools.cache
def _route_is_exact() -> bool:
    """Whether random products of a layer's sizes differ from float64 by less than 1e-5 of the largest entry."""
    able: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not able or _cpu_has("amx_bf16"):
        return False
    generator = torch.Generator().manual_seed(0)
    with _onednn_route():
        for rows, inner, columns in ((512, 768, 768), (37, 768, 3072), (64, 3072, 768)):
            left = torch.randn(rows, inner, generator=generator)
            right = torch.randn(columns, inner, generator=generator)
            exact = left.double() @ right.double().T
            if float((left @ right.T - exact).abs().max() / exact.abs().max()) > 1e-5:
                return False
    return True
