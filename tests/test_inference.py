"""Which arithmetic a machine scores in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from interbert.errors import UsageError
from interbert.training import inference
from interbert.training.inference import faster_of, measure, recorded, scoring_precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_what_was_measured_is_kept_and_decides() -> None:
    assert recorded() is None
    speeds = measure()
    assert recorded() == speeds
    assert scoring_precision("auto", CPU) == faster_of(speeds)


def test_a_precision_slower_than_float32_is_never_taken() -> None:
    assert faster_of({"fp32": 100.0, "bf16": 50.0}) == "fp32"
    assert faster_of({"fp32": 100.0, "bf16": 150.0, "int8": 900.0}) == "bf16"
    assert faster_of({"fp32": 100.0}) == "fp32"


def test_a_record_of_another_machine_or_a_broken_one_is_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    measure()
    monkeypatch.setattr(inference, "_machine", lambda: "another")
    assert recorded() is None
    inference._place().write_text("{")
    assert recorded() is None


def test_a_cache_that_can_not_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert measure()["fp32"] > 0
    assert recorded() is None


def test_int8_is_refused_where_the_cpu_has_no_such_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "can_prepare", lambda _: False)
    with pytest.raises(UsageError, match="wants a CPU with 8-bit products"):
        scoring_precision("int8", CPU)
    with pytest.raises(UsageError, match="got 'fp16'"):
        scoring_precision("fp16", CPU)
