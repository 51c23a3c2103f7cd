"""How fast are scoring and a training step beside the peers of this model, at the same shapes and in one process?

    python benchmarks/peers.py [--mode score --lengths retrieval --preset paper --batch 12 --rounds 5]
    python benchmarks/peers.py --mode train --lengths pretraining --peers padded,visualbert,lxmert --batch 16

Peers: transformers' LXMERT, VisualBERT, BERT (words and regions in one row) and ViLT (pixels), built from their
published sizes with random weights, as they come: padded, float32; and `padded`, this model as one would first run it.
Ours: no padding, weights laid out once, the arithmetic that the machine does best, no more of the last layers than is
read, logits where words are hidden. One step of every contestant a round, one after the other; the first is not
counted. Ratios are medians over the rounds with the smallest and the largest, by processor time and by the clock; more
than 1 says that ours is faster. `useful_gflop` counts the products of a pair's own words and regions, without padding;
`share_of_limit` holds what was reached against the faster of two products of a layer's size, timed in every round, in
the precision that ours works in.

`scorer()` and `train_step()` are made for other people's benchmarks: tensors in, scores or one update out.
Prints one JSON object, and on stderr how far it is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import linear
from training_step import CPU, as_batch, plain_step, sizes, train_step, with_padding

from interbert.batch import Batch
from interbert.config import ModelConfig
from interbert.model.interbert import InterBert
from interbert.training.inference import PRECISIONS, ready, scoring, scoring_precision
from interbert.training.precision import chosen_precision, fast_matmul

__all__ = ["scorer", "train_step"]

HIDDEN, INNER, FEATURES, WORDS, TEXT = 768, 3072, 2048, 30522, 36
PIXELS, PATCHES = 384, 144
REGIONS = {"pretraining": (10, 36), "retrieval": (90, 100)}  # of a picture, without slot 0
MEAN_EXTRA = {"pretraining": 6.3, "retrieval": 7.4}  # word pieces beyond 8: Conceptual Captions, Flickr30k
FULL_SHARE = 0.38  # pretraining pictures that have all of their 36 regions
PEERS = ("padded", "visualbert", "lxmert", "bert", "vilt")
Call = Callable[..., Tensor]
Seconds = tuple[float, float]  # of the processor, of the clock


def scorer(preset: str = "paper", precision: str = "auto") -> Call:
    """Ours: words [B, T], their mask, features [B, R, D], locations [B, R, 5], their mask, to B matching scores."""
    arithmetic = scoring_precision(precision, CPU)
    model = ready(InterBert(sizes(preset)).eval(), arithmetic)

    def score(*tensors: Tensor) -> Tensor:
        with scoring(arithmetic, CPU):
            return matched(model, scored_batch(*tensors), positions=1)

    return score


def plain_scorer(preset: str) -> Call:
    """The same model padded, in float32, every position of every layer."""
    model = with_padding(InterBert(sizes(preset)).eval())
    return without_gradients(lambda *tensors: matched(model, scored_batch(*tensors), positions=None))


def scored_batch(words: Tensor, words_valid: Tensor, features: Tensor, locations: Tensor, valid: Tensor) -> Batch:
    """Tensors as a Batch without objectives."""
    nothing = torch.full_like(words, -100)
    batch = as_batch(words, words_valid, features, locations, valid, nothing, torch.ones(len(words)))
    batch.masked_words = batch.word_targets = batch.is_match = None
    return batch


def matched(model: InterBert, batch: Batch, positions: int | None) -> Tensor:
    """The scores of a batch."""
    output = model(batch, positions)
    assert output.text_vector is not None
    assert output.image_vector is not None
    return model.match_probability(output.text_vector, output.image_vector)


def peer(name: str, mode: str, preset: str) -> Call:
    """A contestant, ready to be called with the tensors of a round. Raises SystemExit for an unknown name."""
    if name == "padded":
        return plain_step(preset) if mode == "train" else plain_scorer(preset)
    makers: dict[str, Callable[[], tuple[nn.Module, Call]]] = {
        "visualbert": visualbert,
        "lxmert": lxmert,
        "bert": bert,
        "vilt": partial(vilt, mode == "train"),
    }
    if name not in makers:
        raise SystemExit(f"--peers: got '{name}', wanted some of {', '.join(PEERS)}")
    model, call = makers[name]()
    model.train(mode == "train")
    return updating(model, call) if mode == "train" else without_gradients(call)


def without_gradients(call: Call) -> Call:
    """A forward pass without gradients."""
    return torch.inference_mode()(call)


def updating(model: nn.Module, call: Call) -> Call:
    """Loss, gradients, and an update by AdamW as torch has it by default."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, eps=1e-6, weight_decay=0.01)

    def step(*tensors: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = call(*tensors)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def visualbert() -> tuple[nn.Module, Call]:
    """One stream of 12 layers over words and regions."""
    config = transformers.VisualBertConfig(vocab_size=WORDS, hidden_size=HIDDEN, visual_embedding_dim=FEATURES)
    model = transformers.VisualBertForPreTraining(config)

    def call(
        words: Tensor, valid: Tensor, features: Tensor, locations: Tensor, seen: Tensor, *labels: Tensor
    ) -> Tensor:
        given = {"input_ids": words, "attention_mask": valid.long(), "visual_embeds": features,
                 "visual_attention_mask": seen.long(),
                 "visual_token_type_ids": torch.ones_like(seen).long()}  # fmt: skip
        if not labels:
            return torch.as_tensor(model.cls.seq_relationship(model.visual_bert(**given).pooler_output)[:, 1])
        everywhere = torch.cat([labels[0], labels[0].new_full(seen.shape, -100)], 1)
        return torch.as_tensor(model(**given, labels=everywhere, sentence_image_labels=labels[1]).loss)

    return model, call


def lxmert() -> tuple[nn.Module, Call]:
    """9 layers of words, 5 of regions, 5 across."""
    config = transformers.LxmertConfig(vocab_size=WORDS, visual_feat_dim=FEATURES, visual_pos_dim=4,
                                       task_obj_predict=False, task_qa=False)  # fmt: skip
    model = transformers.LxmertForPreTraining(config)

    def call(
        words: Tensor, valid: Tensor, features: Tensor, locations: Tensor, seen: Tensor, *labels: Tensor
    ) -> Tensor:
        given = {"input_ids": words, "attention_mask": valid.long(), "visual_feats": features,
                 "visual_pos": locations[..., :4], "visual_attention_mask": seen.long()}  # fmt: skip
        if not labels:
            return torch.as_tensor(model.cls.seq_relationship(model.lxmert(**given).pooled_output)[:, 1])
        return torch.as_tensor(model(**given, labels=labels[0], matched_label=labels[1]).loss)

    return model, call


def bert() -> tuple[nn.Module, Call]:
    """12 layers that take regions for words: no part of it knows of pictures."""
    model = transformers.BertForPreTraining(transformers.BertConfig(vocab_size=WORDS))
    model.regions = nn.Linear(FEATURES, HIDDEN)

    def call(
        words: Tensor, valid: Tensor, features: Tensor, locations: Tensor, seen: Tensor, *labels: Tensor
    ) -> Tensor:
        embedded = torch.cat([model.bert.embeddings.word_embeddings(words), model.regions(features)], 1)
        given = {"inputs_embeds": embedded, "attention_mask": torch.cat([valid, seen], 1).long()}
        if not labels:
            return torch.as_tensor(model.cls.seq_relationship(model.bert(**given).pooler_output)[:, 1])
        everywhere = torch.cat([labels[0], labels[0].new_full(seen.shape, -100)], 1)
        return torch.as_tensor(model(**given, labels=everywhere, next_sentence_label=labels[1]).loss)

    return model, call


def vilt(train: bool) -> tuple[nn.Module, Call]:
    """12 layers over words and 144 patches: it needs no detector and pays for it here."""
    config = transformers.ViltConfig(vocab_size=WORDS, image_size=PIXELS, patch_size=32, max_position_embeddings=40)
    model: Any = (transformers.ViltForMaskedLM if train else transformers.ViltForImageAndTextRetrieval)(config)
    pictures: dict[int, Tensor] = {}

    def call(
        words: Tensor, valid: Tensor, features: Tensor, locations: Tensor, seen: Tensor, *labels: Tensor
    ) -> Tensor:
        size = len(words)
        pixels = pictures.setdefault(size, torch.zeros(size, 3, PIXELS, PIXELS))
        given = {"input_ids": words, "attention_mask": valid.long(), "pixel_values": pixels,
                 "pixel_mask": torch.ones(size, PIXELS, PIXELS, dtype=torch.long)}  # fmt: skip
        return torch.as_tensor(model(**given, labels=labels[0]).loss if labels else model(**given).logits[:, 0])

    return model, call


def a_round(lengths: str, size: int, seed: int) -> tuple[Tensor, ...]:
    """Random tensors with the lengths that real captions and pictures have, padded to what loaders pad to."""
    g = torch.Generator().manual_seed(seed)
    extra = torch.empty(size).exponential_(1 / MEAN_EXTRA[lengths], generator=g).floor()
    fewest, most = REGIONS[lengths]
    counts = torch.randint(fewest, most + 1, (size,), generator=g)
    if lengths == "pretraining":
        counts[torch.rand(size, generator=g) < FULL_SHARE] = most
    valid = torch.arange(TEXT)[None] < (8 + extra).clamp(8, TEXT)[:, None]
    seen = torch.arange(most + 1)[None] < (counts + 1)[:, None]
    words = torch.randint(1000, WORDS, (size, TEXT), generator=g) * valid
    features = torch.rand(size, most + 1, FEATURES, generator=g) * seen[..., None]
    corners = torch.rand(size, most + 1, 2, 2, generator=g).sort(dim=2).values.flatten(2)
    area = (corners[..., 2] - corners[..., 0]) * (corners[..., 3] - corners[..., 1])
    locations = torch.cat([corners, area[..., None]], -1) * seen[..., None]
    hidden = valid & (torch.rand(size, TEXT, generator=g) < 0.2)
    return words, valid, features, locations, seen, torch.where(hidden, words, -100), torch.arange(size) % 2


def useful_gflop(config: ModelConfig, words: int, slots: int) -> float:
    """Products of a pair's forward pass, two operations each, every position of every layer; no vocabulary."""

    hidden, inner = config.hidden_size, config.feed_forward_size

    def layers(count: int, length: int, inner: int) -> int:
        return count * (length * (8 * hidden**2 + 4 * hidden * inner) + 4 * length**2 * hidden)

    image = config.independence_layers if config.image_layers is None else config.image_layers
    both = layers(config.interaction_layers, words + slots, inner) + layers(config.independence_layers, words, inner)
    image_side = layers(image, slots, config.image_feed_forward_size or inner)
    return (both + image_side + 2 * slots * FEATURES * hidden) / 1e9


def limits() -> dict[str, float]:
    """GFLOP of a processor second in products of a layer's size: float32 by the faster route, bfloat16, 8 bits."""
    rows, weight = torch.randn(1168, HIDDEN), torch.randn(INNER, HIDDEN)
    low = rows.bfloat16(), weight.bfloat16()

    def rate(left: Tensor, right: Tensor, product: Call = linear) -> float:
        product(left, right)
        spent = []
        for _ in range(5):
            begin = time.process_time()
            product(left, right)
            spent.append(time.process_time() - begin)
        return 2 * left.shape[0] * HIDDEN * INNER / 1e9 / statistics.median(spent)

    with torch.inference_mode():
        plain = rate(rows, weight)
        with fast_matmul(always=True):
            other = rate(rows, weight)
        whole = [torch.randint(-127, 128, shape, dtype=torch.int8) for shape in ((1168, HIDDEN), (HIDDEN, INNER))]
        return {"fp32": max(plain, other), "bf16": rate(*low), "int8": rate(*whole, torch._int_mm)}


def spread(values: list[float]) -> list[float]:
    """Median, smallest, largest."""
    return [round(value, 3) for value in (statistics.median(values), min(values), max(values))]


def over(ours: list[Seconds], theirs: list[Seconds]) -> dict[str, list[float]]:
    """Their seconds over ours, round by round: by processor time and by the clock."""
    both = list(zip(theirs, ours, strict=True))
    return {kind: spread([slow[at] / fast[at] for slow, fast in both]) for at, kind in enumerate(("cpu", "clock"))}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=["score", "train"], default="score")
    parser.add_argument("--lengths", choices=list(REGIONS), default="retrieval")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--peers", default="padded,visualbert,lxmert")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    train = options.mode == "train"
    calls: dict[str, Call] = {name: peer(name, options.mode, options.preset) for name in options.peers.split(",")}
    calls["ours"] = (train_step if train else scorer)(options.preset, options.precision)
    seconds: dict[str, list[Seconds]] = {name: [] for name in calls}
    rates, useful = [], []
    for number in range(options.rounds + 1):
        tensors = a_round(options.lengths, options.batch, number)
        for name, call in calls.items():
            clock, cpu = time.perf_counter(), time.process_time()
            call(*tensors[: 7 if train else 5])
            spent = time.process_time() - cpu, time.perf_counter() - clock
            if number:
                seconds[name].append(spent)
        if number:
            rates.append(limits())
            pairs = zip(tensors[1].sum(1).tolist(), tensors[4].sum(1).tolist(), strict=True)
            useful.append(sum(useful_gflop(sizes(options.preset), *pair) for pair in pairs) * (3 if train else 1))
        print(f"round {number} of {options.rounds}", file=sys.stderr)
    arithmetic = (chosen_precision if train else scoring_precision)(options.precision, CPU)
    ours = seconds.pop("ours")
    shares = [work / cpu / rate[arithmetic] for work, (cpu, _), rate in zip(useful, ours, rates, strict=True)]
    found = {
        **vars(options),
        "precision": arithmetic,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "load": os.getloadavg()[0],
        "useful_gflop_of_a_pair": round(statistics.median(useful) / options.batch, 2),
        "limit_gflops": {kind: spread([rate[kind] for rate in rates]) for kind in rates[0]},
        "share_of_limit": spread(shares),
        "pairs_per_cpu_second": spread([options.batch / cpu for cpu, _ in ours]),
        "ours_over": {name: over(ours, theirs) for name, theirs in seconds.items()},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
