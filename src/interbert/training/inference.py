"""How a machine scores: the arithmetic it takes, measured once and kept, and a model made ready for it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from interbert.config import ModelConfig
from interbert.errors import UsageError
from interbert.files import write_json
from interbert.model.interbert import InterBert
from interbert.model.prepared import can_prepare, prepared
from interbert.training.precision import autocast, chosen_precision, fast_matmul, full_float32_is_slow

PRECISIONS = ("auto", "fp32", "bf16", "int8")
SEQUENCES, LENGTH, LAYERS, ROUNDS = 4, 100, 2, 3  # of the measurement
FILE = "arithmetic.json"


def scoring_precision(wanted: str, device: torch.device) -> str:
    """ "fp32", "bf16" or "int8". "auto": of fp32 and bf16 the faster, as `measure` found or as the CPU's kind says.

    Raises UsageError for a name that is none, or what the device can not do.
    """
    if wanted not in PRECISIONS:
        raise UsageError(f"precision: got '{wanted}', wanted one of {', '.join(PRECISIONS)}")
    if wanted == "int8" and not (device.type == "cpu" and can_prepare("int8")):
        raise UsageError("precision: got int8, which wants a CPU with 8-bit products (AVX-512 VNNI) and oneDNN; "
                         "take bf16, fp32 or auto")  # fmt: skip
    if wanted != "auto" or device.type != "cpu":
        return wanted if wanted == "int8" else chosen_precision(wanted, device)
    speeds = recorded()
    return chosen_precision("auto", device) if speeds is None else faster_of(speeds)


def faster_of(speeds: dict[str, float]) -> str:
    """bf16 where it is the faster one, else fp32; int8 has to be asked for, since it rounds more."""
    return "bf16" if speeds.get("bf16", 0) > speeds["fp32"] else "fp32"


def ready(model: InterBert, precision: str) -> InterBert:
    """What scores in place of `model` inside `scoring(precision, …)`: laid out anew where that pays, else itself.

    It has the weights of now; with float32, those that it does not lay out anew are the model's own.
    """
    pays = precision != "fp32" or full_float32_is_slow()
    on_cpu = next(model.parameters()).device.type == "cpu"
    return prepared(model, precision) if on_cpu and pays and can_prepare(precision) else model


@contextmanager
def scoring(precision: str, device: torch.device) -> Iterator[None]:
    """Inside, a model made `ready` for that precision scores, without gradients."""
    low = precision if device.type != "cpu" or not can_prepare(precision) else "fp32"  # a ready model rounds by itself
    with torch.inference_mode(), fast_matmul(), autocast(low, device):
        yield


def measure() -> dict[str, float]:
    """Rows a second that this CPU takes through a layer of BERT's size, by precision; written down for `recorded`."""
    config = ModelConfig(vocabulary_size=8, region_feature_size=8, region_classes=2, interaction_layers=LAYERS,
                         independence_layers=0, text_position="table", max_text_tokens=8)  # fmt: skip
    device, model = torch.device("cpu"), InterBert(config).eval()
    rows = torch.randn(SEQUENCES, LENGTH, config.hidden_size, generator=torch.Generator().manual_seed(0))
    able = [name for name in ("fp32", "bf16", "int8") if name == "fp32" or can_prepare(name)]
    speeds = {}
    for name in able:
        made, seconds = ready(model, name), []
        with scoring(name, device):
            for _ in range(ROUNDS + 1):
                began = time.process_time()
                made.interaction(rows, None)
                seconds.append(time.process_time() - began)
        speeds[name] = SEQUENCES * LENGTH * LAYERS / max(min(seconds[1:]), 1e-9)
    _record(speeds)
    return speeds


def recorded() -> dict[str, float] | None:
    """What `measure` wrote on this machine with this torch; None where it has not."""
    try:
        found = json.loads(_place().read_text(encoding="utf-8"))
        speeds = {str(name): float(speed) for name, speed in found["rows_per_second"].items()}
        return speeds if found["machine"] == _machine() and "fp32" in speeds else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _record(speeds: dict[str, float]) -> None:
    try:
        _place().parent.mkdir(parents=True, exist_ok=True)
        write_json(_place(), {"machine": _machine(), "rows_per_second": speeds})
    except OSError:  # a home that can not be written: measured again next time
        return


def _machine() -> str:
    able: Mapping[str, Any] = torch.cpu.get_capabilities()
    return f"{able.get('cpu_name') or able.get('architecture')}, torch {torch.__version__}"


def _place() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "interbert" / FILE
