"""Ours against theirs: a converted checkpoint on a batch that the authors' code was run on, value by value.

The recorded batch, outputs, intermediate results ("trace") and gradient norms come in as safetensors files with the
names of the authors' release; differences and their limits leave. The losses are those of `objectives`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from interbert.batch import Batch, Output
from interbert.config import MATCH_CLASS
from interbert.errors import InterbertError
from interbert.model.interbert import InterBert
from interbert.pretraining.objectives import matching_loss, region_loss, scored_regions, scored_words, word_loss
from interbert.weights.released import Released, key_table
from interbert.weights.tables import listed, read_tensors, translated

TENSOR_LIMIT, LOSS_LIMIT = 1e-4, 1e-5  # absolute
GRADIENT_LIMIT, GRADIENT_FLOOR = 1e-3, 1e-5  # relative; absolute, for true zeros (biases of attention keys)
FINE_TUNED = "vl_"  # begins the names of what a fine-tuned model gave
LOSSES = ("loss_masked_lm", "loss_masked_region", "loss_itm")
LOSSES_FIXED = "losses_fixed"  # the same three, with conditional masking for the words too
TRACE = "trace.safetensors"
GRADIENTS = {"grads.safetensors": False, "grads_fixed.safetensors": True}  # of the sum of which losses: fixed or not
DIMENSIONS = {"input_ids": 2, "token_type_ids": 2, "attention_mask": 2}  # of the recorded batch, by their names
DIMENSIONS |= {"region_features": 3, "region_locations": 3, "region_mask": 2}
LABEL_DIMENSIONS = {"masked_lm_labels": 2, "region_labels": 2, "region_targets": 3, "itm_labels": 1}


@dataclass(frozen=True)
class Difference:
    """A value of theirs against ours.

    file: the file of theirs that has it.  kind: "tensor", "loss" or "gradient".  difference: the largest, absolute,
    where the batch is no padding.  limit: what it may be.
    """

    file: str
    name: str
    kind: str
    difference: float
    limit: float

    @property
    def is_within(self) -> bool:
        """Whether it is at most the limit; what is no number never is."""
        return self.difference <= self.limit

    def line(self) -> str:
        """For people."""
        verdict = "" if self.is_within else "   above the limit"
        return f"  {self.name:<32} {self.difference:8.1e}   of {self.limit:.0e}{verdict}"


@dataclass(frozen=True)
class Comparison:
    """All that was compared, and the names that were not, since the other kind of model gave them."""

    differences: tuple[Difference, ...]
    of_other_model: tuple[str, ...]

    @property
    def is_within(self) -> bool:
        """Whether every difference is within its limit."""
        return all(one.is_within for one in self.differences)

    def largest(self, kind: str) -> float:
        """The largest difference of a kind; 0 where nothing of it was compared."""
        return max((one.difference for one in self.differences if one.kind == kind), default=0.0)

    def lines(self) -> list[str]:
        """For people: a line for each tensor and loss; of the gradient norms of a file the worst, and all above."""
        lines: list[str] = []
        for file in dict.fromkeys(one.file for one in self.differences):
            rows = [one for one in self.differences if one.file == file]
            if rows[0].kind == "gradient":
                worst = max(rows, key=lambda one: (not one.is_within, one.difference / one.limit))
                lines.append(f"{file}: {len(rows)} gradient norms, the nearest to its limit")
                rows = [one for one in rows if one is worst or not one.is_within]
            else:
                lines.append(f"{file}: largest difference of")
            lines += [row.line() for row in rows]
        if self.of_other_model:
            count = len(self.of_other_model)
            lines.append(f"{count} not compared, of the other model: {listed(self.of_other_model)}")
        return lines


def compare(released: Released, inputs: Path, outputs: Path) -> Comparison:
    """Runs the model on their batch, in evaluation mode, and compares everything that they recorded.

    inputs, outputs: their files; a trace and gradient norms are taken where they lie beside `outputs` under the names
    TRACE and GRADIENTS. Of a fine-tuned checkpoint the names that begin with FINE_TUNED are compared, else the others.
    Raises InterbertError where a file holds what is not known here, or is of other sizes than the model.
    """
    batch = recorded_batch(inputs, released)
    ours = our_tensors(released, batch)
    found: list[Difference] = []
    others: list[str] = []
    for path in (outputs, outputs.with_name(TRACE)):
        if path == outputs or path.is_file():
            theirs, other = _of_this_model(read_tensors(path), fine_tuned=released.heads is not None)
            others += other
            found += _tensor_differences(path.name, theirs, ours)
            found += _loss_differences(path.name, theirs, released, batch)
    if not found:
        raise InterbertError(f"'{outputs}' holds nothing that this model gives; it is of the other kind of checkpoint")
    if released.heads is None:
        for name, fixed in GRADIENTS.items():
            path = outputs.with_name(name)
            if path.is_file():
                found += _gradient_differences(name, read_tensors(path), released, batch, fixed)
    return Comparison(tuple(found), tuple(others))


def recorded_batch(path: Path, released: Released) -> Batch:
    """Their batch as ours. Raises InterbertError where a part is missing or of other sizes than the model's."""
    theirs, config = read_tensors(path), released.model.config
    has_labels = all(name in theirs for name in LABEL_DIMENSIONS)
    for name, dimensions in (DIMENSIONS | (LABEL_DIMENSIONS if has_labels else {})).items():
        if name not in theirs or theirs[name].ndim != dimensions:
            got = f"shape {tuple(theirs[name].shape)}" if name in theirs else "none"
            raise InterbertError(f"'{path}': got {got} for {name}, wanted {dimensions} dimensions")
    size, words = theirs["region_features"].shape[2], theirs["input_ids"]
    if size != config.region_feature_size or int(words.max()) >= config.vocabulary_size:
        raise InterbertError(
            f"'{path}' is of another model: it has regions of {size} numbers and word ids up to {int(words.max())}; "
            f"wanted {config.region_feature_size} numbers and ids below {config.vocabulary_size}"
        )
    batch = Batch(
        ids=[str(at) for at in range(len(words))],
        words=words.long(),
        words_valid=theirs["attention_mask"] != 0,
        token_types=theirs["token_type_ids"].long(),
        features=theirs["region_features"].float(),
        locations=theirs["region_locations"].float(),
        regions_valid=theirs["region_mask"] != 0,
    )
    return _with_labels(batch, theirs) if has_labels else batch


def _with_labels(batch: Batch, theirs: Mapping[str, Tensor]) -> Batch:
    """Theirs have no column for slot 0 of the regions; it is never scored."""
    words = theirs["masked_lm_labels"].long()
    return replace(
        batch,
        masked_words=words != -1,
        word_targets=words.clamp(min=0),
        masked_regions=pad(theirs["region_labels"] == 1, (1, 0)),
        region_targets=pad(theirs["region_targets"].float(), (0, 0, 1, 0)),
        is_match=theirs["itm_labels"] == MATCH_CLASS,
    )


def our_tensors(released: Released, batch: Batch) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Everything that they record of a forward pass, by their names, each with its valid positions (bool) or None."""
    model, text, image = released.model.eval(), batch.words_valid, batch.regions_valid
    assert text is not None
    assert image is not None
    with torch.no_grad(), _watched(model) as seen:
        output = model(batch)
        words, regions = _parts(output)
        given = dict(seen) | {
            "sequence_text": words,
            "sequence_regions": regions,
            "mlm_logits": model.word_logits(words),
            "region_class_logits": model.region_logits(regions),
        }
        vectors = _vectors(output)
        fused = model.fusion(*vectors)
        pooled = dict(zip(("pooled_text", "pooled_regions"), vectors, strict=True)) | {"pooled_fused": fused}
        pooled["itm_logits"] = model.match_logits(*vectors)
        if released.heads is not None:
            heads = released.heads
            pooled |= {"prediction": heads.answer(fused), "logit": heads.choice(fused)}
            given |= {"region_logit": heads.region(regions), "text_logit": heads.word(words)}
    found: dict[str, tuple[Tensor, Tensor | None]] = {name: (tensor, None) for name, tensor in pooled.items()}
    for name, tensor in given.items():
        if name.startswith("single_stream"):  # theirs: regions first
            length = text.shape[1]
            turned = torch.cat([tensor[:, length:], tensor[:, :length]], 1)
            found[name] = turned, torch.cat([image, text], 1)
        else:
            found[name] = tensor, text if "text" in name or name == "mlm_logits" else image
    return found


def _parts(output: Output) -> tuple[Tensor, Tensor]:
    assert output.text_states is not None
    assert output.image_states is not None
    return output.text_states, output.image_states


def _vectors(output: Output) -> tuple[Tensor, Tensor]:
    assert output.text_vector is not None
    assert output.image_vector is not None
    return output.text_vector, output.image_vector


@contextmanager
def _as_padded(model: InterBert) -> Iterator[None]:
    """Inside, layers work on padding too, as theirs do."""
    packed = {stream: stream.packs for stream in (model.interaction, model.text_stream, model.image_stream)}
    for stream in packed:
        stream.packs = False
    try:
        yield
    finally:
        for stream, packs in packed.items():
            stream.packs = packs


@contextmanager
def _watched(model: InterBert) -> Iterator[dict[str, Tensor]]:
    """Inside, what every embedding and layer gives is kept under their name."""
    watched: dict[str, nn.Module] = {"embeddings_text": model.text_embedding}
    watched["embeddings_regions"] = model.image_embedding
    streams = {"single_stream": model.interaction, "text_stream": model.text_stream}
    streams["region_stream"] = model.image_stream
    watched |= {f"{name}.{i}": layer for name, stream in streams.items() for i, layer in enumerate(stream.layers)}
    seen: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _module, _inputs, output: seen.update({name: output}))

    handles = [keep(name, module) for name, module in watched.items()]
    try:
        with _as_padded(model):
            yield seen
    finally:
        for handle in handles:
            handle.remove()


def losses(released: Released, batch: Batch, fixed: bool) -> Tensor:
    """[words, regions, matching], with a gradient. fixed: no loss of words on negative pairs, as of regions.

    Not fixed, as released: words are averaged over all pairs, and are no number where none is scored.
    """
    model = released.model.eval()
    if batch.is_match is None:
        raise InterbertError(f"losses were recorded, but the batch has no labels; wanted {', '.join(LABEL_DIMENSIONS)}")
    with _as_padded(model):
        output = model(batch)
    of_words = batch if fixed else replace(batch, is_match=torch.ones_like(batch.is_match))
    words = scored_words(of_words).sum()
    regions = scored_regions(batch).sum().clamp(min=1)
    of_regions = _feature_loss if released.config.regresses_features else region_loss
    return torch.stack(
        [
            word_loss(model, output, of_words) / (words.clamp(min=1) if fixed else words),
            of_regions(model, output, batch) / regions,
            matching_loss(model, output, batch) / len(batch),
        ]
    )


def _feature_loss(model: InterBert, output: Output, batch: Batch) -> Tensor:
    """Their `predict_feature`: the squared error of the features of masked regions, summed."""
    assert batch.region_targets is not None
    scored = scored_regions(batch)
    return (model.region_logits(_parts(output)[1][scored]) - batch.region_targets[scored]).square().sum()


def _of_this_model(theirs: Mapping[str, Tensor], fine_tuned: bool) -> tuple[dict[str, Tensor], list[str]]:
    """Their tensors of a kind of model, and the names of the other kind's."""
    mine = {name: tensor for name, tensor in theirs.items() if name.startswith(FINE_TUNED) == fine_tuned}
    return mine, [name for name in theirs if name not in mine]


def _tensor_differences(
    file: str, theirs: Mapping[str, Tensor], ours: Mapping[str, tuple[Tensor, Tensor | None]]
) -> Iterator[Difference]:
    for name, tensor in theirs.items():
        if name in (*LOSSES, LOSSES_FIXED):
            continue
        known = name.removeprefix(FINE_TUNED)
        if known not in ours:
            raise InterbertError(f"{file}: '{name}' is nothing that this model gives; wanted {listed(ours)}")
        mine, valid = ours[known]
        if mine.shape != tensor.shape:
            raise InterbertError(
                f"{file}: {name} has shape {tuple(tensor.shape)}, ours {tuple(mine.shape)}; they are of two models"
            )
        apart = (mine - tensor.float()).abs()
        apart = apart if valid is None else apart[valid]
        yield Difference(file, name, "tensor", float(apart.max()) if apart.numel() else 0.0, TENSOR_LIMIT)


def _loss_differences(
    file: str, theirs: Mapping[str, Tensor], released: Released, batch: Batch
) -> Iterator[Difference]:
    recorded = {name: float(theirs[name]) for name in LOSSES if name in theirs}
    if recorded:
        with torch.no_grad():
            mine = dict(zip(LOSSES, losses(released, batch, fixed=False).tolist(), strict=True))
        for name, value in recorded.items():
            yield Difference(file, name, "loss", _apart(value, mine[name]), LOSS_LIMIT)
    if LOSSES_FIXED in theirs:
        with torch.no_grad():
            fixed = losses(released, batch, fixed=True).tolist()
        for name, value, wanted in zip(LOSSES, fixed, theirs[LOSSES_FIXED].tolist(), strict=True):
            yield Difference(file, f"{LOSSES_FIXED} {name}", "loss", _apart(wanted, value), LOSS_LIMIT)


def _apart(theirs: float, ours: float) -> float:
    """Two that are both no number (their loss of no words) agree."""
    return 0.0 if math.isnan(theirs) and math.isnan(ours) else abs(theirs - ours)


def _gradient_differences(
    file: str, theirs: Mapping[str, Tensor], released: Released, batch: Batch, fixed: bool
) -> Iterator[Difference]:
    model = released.model
    losses(released, batch, fixed).sum().backward()  # type: ignore[no-untyped-call]
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    table = key_table(model.config)
    for name, norm in theirs.items():
        ours = translated(name.removeprefix("module."), table)
        if ours not in norms:
            raise InterbertError(f"{file}: '{name}' is no parameter of this model")
        limit = GRADIENT_LIMIT * abs(float(norm)) + GRADIENT_FLOOR
        yield Difference(file, name, "gradient", _apart(float(norm), norms[ours]), limit)
