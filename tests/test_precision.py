"""interbert.training.precision"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from interbert.errors import UsageError
from interbert.training import precision
from interbert.training.precision import autocast, chosen_precision, fast_matmul

CPU = torch.device("cpu")
SWITCH: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


def test_auto_takes_bf16_where_the_cpu_has_its_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, wanted in (({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx512_f": True}, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert chosen_precision("auto", CPU) == wanted
    assert chosen_precision("fp32", CPU) == "fp32"
    assert chosen_precision("bf16", CPU) == "bf16"


def test_autocast_rounds_products_only_in_bf16() -> None:
    matrix = torch.ones(2, 2)
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(name, CPU):
            assert (matrix @ matrix).dtype == kind


def test_the_fast_route_is_exact_where_it_is_taken_and_restored_afterwards() -> None:
    before, matrix = SWITCH.fp32_precision, torch.randn(300, 700)
    with fast_matmul(always=True) as used:
        assert SWITCH.fp32_precision == ("bf16" if used else before)
        product = matrix @ matrix.T
    assert SWITCH.fp32_precision == before
    assert float((product - (matrix.double() @ matrix.double().T)).abs().max()) < 1e-5 * float(product.abs().max())


def test_the_fast_route_is_restored_after_an_error() -> None:
    before = SWITCH.fp32_precision
    with pytest.raises(KeyError), fast_matmul(always=True):
        raise KeyError
    assert SWITCH.fp32_precision == before


def test_a_cpu_that_would_round_never_takes_the_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_route_is_exact", lambda: False)
    with fast_matmul(always=True) as used:
        assert not used


def test_the_route_is_left_alone_where_nothing_is_gained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_route_is_exact", lambda: True)
    for able, gains in (
        ({"cpu_name": "AMD EPYC", "avx_vnni": True}, True),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True}, False),
        ({"cpu_name": "Intel(R) Xeon(R)", "avx_vnni": True}, False),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        with fast_matmul() as used:
            assert used is gains


def test_the_route_is_one_for_all_threads_and_restored_by_the_last() -> None:
    before, second = SWITCH.fp32_precision, precision._onednn_route()
    with precision._onednn_route():
        second.__enter__()
    assert SWITCH.fp32_precision == "bf16"  # the second is still inside
    second.__exit__(None, None, None)
    assert SWITCH.fp32_precision == before


def test_a_gpu_that_only_emulates_bf16_works_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert chosen_precision("auto", torch.device("cuda")) == "fp32"
    with pytest.raises(UsageError, match="got bf16, which cuda does not have"):
        chosen_precision("bf16", torch.device("cuda"))
