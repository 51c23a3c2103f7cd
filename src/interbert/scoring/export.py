"""A run as ONNX, for servers in other languages: the margin of a pair (3.3, "ITM"), and the vector of each side alone.

In: a scorer. Out: a folder with `pair.onnx`, `text.onnx` and `image.onnx` in float32, for any number of pairs, words
and regions, compared with the model's own answers by ONNX Runtime before the folder is there.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from interbert.batch import Batch, Regions, make_batch
from interbert.errors import InterbertError
from interbert.files import sync_folder
from interbert.model.alone import image_alone, text_alone
from interbert.model.interbert import InterBert
from interbert.model.matching import margin
from interbert.scoring.scorer import Scorer

EXTRA = "pip install 'interbert[onnx]'"
OPSET = 17
MOST_DIFFERENT = 1e-4  # of a margin or a vector's number, as a share where it is above 1
TEXT = ("words", "words_valid")
IMAGE = ("features", "locations", "confidence", "regions_valid")
FILES = {"pair.onnx": (*TEXT, *IMAGE), "text.onnx": TEXT, "image.onnx": IMAGE}
KEPT = ("config.json", "tokenizer.json", "extractor.json", "calibration.json")
README = """# An export of interbert, for ONNX Runtime and its like

- `pair.onnx`: a text and a picture read together. Out: `margin` [B]; the score is 1 / (1 + exp(-margin)), or what
  `calibration.json` makes of the margin where there is one.
- `text.onnx`, `image.onnx`: each side read alone. Out: `vector` [B, F]. The inner product of a text's and a picture's
  is their margin alone, less a constant of the text: a vector index can hold the pictures.

All numbers are float32. T words, R regions; a shorter text or picture is padded with zeros, and False in its `_valid`.

| input | shape | what |
|---|---|---|
| `words` | int64 [B, T] | ids of `tokenizer.json` (the tokenizers library): `[CLS]`, words, `[SEP]` |
| `words_valid` | bool [B, T] | False where it is padding |
| `features` | [B, R, D] | of regions, by the extractor of `extractor.json`; slot 0: the mean of the picture's own |
| `locations` | [B, R, 5] | x1, y1, x2, y2 as shares of width and height, the share of the area; slot 0: 0 0 1 1 1 |
| `confidence` | [B, R] | the detector's; slot 0: 1. Only where the file has this input |
| `regions_valid` | bool [B, R] | False where it is padding |
"""


@dataclass(frozen=True)
class Exported:
    """out: the folder.  largest_difference: between any of its answers and the model's own, on drawn pairs."""

    out: Path
    largest_difference: float


def export_onnx(scorer: Scorer, run: Path, out: Path) -> Exported:
    """Writes the folder `out`, new or empty. run: the folder that the scorer was loaded from.

    Raises InterbertError where the extra `onnx` is not installed, `out` has something, or answers differ.
    """
    _check_installed()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InterbertError(f"--out: '{out}' is there already; give a new folder")
    model = deepcopy(scorer.model).cpu().eval()
    for stream in (model.interaction, model.text_stream, model.image_stream):
        stream.packs = False  # a file has no sequences of unlike lengths without padding
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as made:
            folder = Path(made) / out.name
            folder.mkdir()
            found = max(_write(model, name, folder) for name in FILES)
            for name in KEPT:
                if (run / name).is_file():
                    shutil.copyfile(run / name, folder / name)
            (folder / "README.md").write_text(README, "utf-8")
            os.replace(folder, out)
            sync_folder(out.parent)
    except OSError as error:
        raise InterbertError(f"--out: '{out}' cannot be written ({error.strerror}); give another folder") from error
    return Exported(out, found)


class _Answer(nn.Module):
    """What a file computes. inputs: the fields of a batch, in this order."""

    def __init__(self, model: InterBert, inputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, *tensors: Tensor) -> Tensor:
        batch = Batch([], **dict(zip(self.inputs, tensors, strict=True)))
        if batch.words is None:
            return image_alone(self.model, batch)
        if batch.features is None:
            return _query(self.model, text_alone(self.model, batch))
        output = self.model(batch, 1)
        return margin(self.model, output.text_vector, output.image_vector)


def _query(model: InterBert, vector: Tensor) -> Tensor:
    """A text's vector as its inner products with pictures' want it."""
    if model.alone is not None:
        return vector
    return vector * model.match_direction if model.fusion.by_product else model.match_direction.expand_as(vector)


def _write(model: InterBert, name: str, folder: Path) -> float:
    """One file. Returns the largest difference of its answers. Raises InterbertError where it is too large."""
    inputs = tuple(one for one in FILES[name] if one != "confidence" or model.config.region_confidence)
    answer, output = _Answer(model, inputs).eval(), "margin" if name == "pair.onnx" else "vector"
    axes = {one: {0: "B", 1: "T" if one in TEXT else "R"} for one in inputs} | {output: {0: "B"}}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: that sizes are seen as constants is what the comparison is for
        torch.onnx.export(
            answer, _drawn(model, inputs, 0, [3, 2]), str(folder / name), input_names=list(inputs),
            output_names=[output], dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip
    found = _difference(answer, folder / name, [_drawn(model, inputs, 1, [1]), _drawn(model, inputs, 2, [7, 4, 9])])
    if not found <= MOST_DIFFERENT:
        raise InterbertError(
            f"{name} differs from the model by {found:.1e}, above {MOST_DIFFERENT}: this torch or ONNX Runtime does "
            "not compute it; try other versions"
        )
    return found


def _difference(answer: _Answer, path: Path, batches: list[tuple[Tensor, ...]]) -> float:
    import onnxruntime

    session, largest = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]), 0.0
    for tensors in batches:
        with torch.inference_mode():
            wanted = answer(*tensors).numpy()
        fed = {name: tensor.numpy() for name, tensor in zip(answer.inputs, tensors, strict=True)}
        difference = np.abs(session.run(None, fed)[0] - wanted) / np.maximum(1, np.abs(wanted))
        largest = max(largest, float(difference.max()))
    return largest


def _drawn(model: InterBert, inputs: tuple[str, ...], seed: int, lengths: list[int]) -> tuple[Tensor, ...]:
    """Pairs of so many words, and some more regions."""
    random, config = np.random.default_rng(seed), model.config
    words = [random.integers(1, config.vocabulary_size, min(count, config.max_text_tokens)) for count in lengths]
    regions = []
    for count in (2 * length for length in lengths):
        corner = random.uniform(0, 300, (count, 2))
        boxes = np.concatenate([corner, corner + random.uniform(20, 200, (count, 2))], 1).astype(np.float32)
        features = random.exponential(0.5, (count, config.region_feature_size)).astype(np.float32)
        scores = random.uniform(0.2, 1, count).astype(np.float32)
        regions.append(Regions(features, boxes, (500, 500), np.zeros(count, np.int64), scores))
    batch = make_batch([""] * len(lengths), [one.tolist() for one in words], regions)
    return tuple(getattr(batch, name) for name in inputs)


def _check_installed() -> None:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise InterbertError(f"an export to ONNX needs onnx and onnxruntime ({error});  {EXTRA}") from error
    del onnx, onnxruntime
