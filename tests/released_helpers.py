"""The authors' release in small, written after its description: random checkpoints in its format, and its forward pass.

Regions come before text, masks are added, words are decoded with their own table. Everything is computed in double
precision with plain operations, so that it shares nothing with the model it is compared with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

CONFIG: dict[str, Any] = {  # sizes that all differ, so that none is taken for another
    "vocab_size": 37,
    "hidden_size": 24,
    "v_hidden_size": 24,
    "intermediate_size": 40,
    "v_intermediate_size": 28,
    "num_hidden_layers": 1,
    "t_num_hidden_layers": 3,
    "v_num_hidden_layers": 2,
    "num_attention_heads": 3,
    "v_num_attention_heads": 4,
    "bi_hidden_size": 20,
    "fusion_method": "mul",
    "max_position_embeddings": 16,
    "type_vocab_size": 2,
    "v_feature_size": 10,
    "v_target_size": 6,
    "hidden_act": "gelu",
    "v_hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "v_hidden_dropout_prob": 0.2,
    "v_attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
}
PAIRS, WORDS, SLOTS = 4, 9, 7
Named = dict[str, Tensor]


def released_tensors(config: Mapping[str, Any] = CONFIG, answers: int | None = None, seed: int = 0) -> Named:
    """A random state dict of the release, float32. answers: of a fine-tuned model; None: a pretrained one."""
    wide, fused = config["hidden_size"], config["bi_hidden_size"]
    linear: dict[str, tuple[int, int]] = {}
    norms = ["bert.embeddings.LayerNorm", "bert.v_embeddings.LayerNorm"]
    single = config["num_hidden_layers"] + config["t_num_hidden_layers"]
    layers = [(f"bert.encoder.layer.{i}", config["intermediate_size"]) for i in range(single)]
    layers += [
        (f"bert.encoder.v_layer.{i}", config["v_intermediate_size"]) for i in range(config["v_num_hidden_layers"])
    ]
    for place, inner in layers:
        linear |= {f"{place}.attention.self.{name}": (wide, wide) for name in ("query", "key", "value")}
        linear |= {f"{place}.attention.output.dense": (wide, wide)}
        linear |= {f"{place}.intermediate.dense": (inner, wide), f"{place}.output.dense": (wide, inner)}
        norms += [f"{place}.attention.output.LayerNorm", f"{place}.output.LayerNorm"]
    for head in ("predictions", "imagePredictions"):
        linear[f"cls.{head}.transform.dense"] = wide, wide
        norms.append(f"cls.{head}.transform.LayerNorm")
    linear |= {"bert.v_embeddings.image_embeddings": (wide, config["v_feature_size"])}
    linear |= {"bert.v_embeddings.image_location_embeddings": (wide, 5)}
    linear |= {"bert.t_pooler.dense": (fused, wide), "bert.v_pooler.dense": (fused, wide)}
    linear |= {"cls.imagePredictions.decoder": (config["v_target_size"], wide), "cls.bi_seq_relationship": (2, fused)}
    if answers is not None:
        linear |= {"vil_prediction": (answers, fused), "vil_logit": (1, fused)}
        linear |= {"vision_logit": (1, wide), "linguisic_logit": (1, wide)}
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random) * 0.3

    tensors = {
        "bert.embeddings.word_embeddings.weight": normal(config["vocab_size"], wide),
        "bert.embeddings.position_embeddings.weight": normal(config["max_position_embeddings"], wide),
        "bert.embeddings.token_type_embeddings.weight": normal(config["type_vocab_size"], wide),
        "cls.predictions.bias": normal(config["vocab_size"]),
    }
    for name, shape in linear.items():
        tensors |= {f"{name}.weight": normal(*shape), f"{name}.bias": normal(shape[0])}
    for name in norms:
        tensors |= {f"{name}.weight": 1 + normal(wide), f"{name}.bias": normal(wide)}
    return tensors | {"cls.predictions.decoder.weight": tensors["bert.embeddings.word_embeddings.weight"]}


def random_inputs(config: Mapping[str, Any] = CONFIG, seed: int = 1) -> Named:
    """A batch with padding on both sides, labels on positive and negative pairs."""
    random = torch.Generator().manual_seed(seed)
    lengths, regions = torch.tensor([WORDS, 5, 2, 7]), torch.tensor([4, SLOTS, 3, 2])
    words = torch.randint(1, config["vocab_size"], (PAIRS, WORDS), generator=random)
    text, image = torch.arange(WORDS) < lengths[:, None], torch.arange(SLOTS) < regions[:, None]
    scored = (torch.rand(PAIRS, WORDS, generator=random) < 0.5) & text
    hidden = (torch.rand(PAIRS, SLOTS - 1, generator=random) < 0.6) & image[:, 1:]
    return {
        "input_ids": torch.where(text, words, 0),
        "token_type_ids": torch.randint(0, config["type_vocab_size"], (PAIRS, WORDS), generator=random),
        "attention_mask": text.long(),
        "region_features": torch.randn(PAIRS, SLOTS, config["v_feature_size"], generator=random),
        "region_locations": torch.rand(PAIRS, SLOTS, 5, generator=random),
        "region_mask": image.long(),
        "masked_lm_labels": torch.where(scored, words, -1),
        "region_labels": torch.where(hidden, 1, -1),
        "region_targets": torch.rand(PAIRS, SLOTS - 1, config["v_target_size"], generator=random).softmax(-1),
        "itm_labels": torch.tensor([0, 1, 0, 1]),
    }


class Theirs:
    """The release's forward pass over named tensors."""

    def __init__(self, tensors: Named, config: Mapping[str, Any] = CONFIG) -> None:
        self.config = config
        self.of = {name: tensor.double().requires_grad_() for name, tensor in tensors.items()}
        self.of["cls.predictions.decoder.weight"] = self.of["bert.embeddings.word_embeddings.weight"]

    def linear(self, name: str, states: Tensor) -> Tensor:
        return states @ self.of[f"{name}.weight"].T + self.of[f"{name}.bias"]

    def norm(self, name: str, states: Tensor) -> Tensor:
        apart = states - states.mean(-1, keepdim=True)
        scaled = apart / (apart.square().mean(-1, keepdim=True) + 1e-12).sqrt()
        return scaled * self.of[f"{name}.LayerNorm.weight"] + self.of[f"{name}.LayerNorm.bias"]

    def layer(self, place: str, states: Tensor, mask: Tensor, heads: int) -> Tensor:
        pairs, length, wide = states.shape

        def split(part: str) -> Tensor:
            projected = self.linear(f"{place}.attention.self.{part}", states)
            return projected.view(pairs, length, heads, wide // heads).permute(0, 2, 1, 3)

        scores = split("query") @ split("key").transpose(-1, -2) / math.sqrt(wide // heads)
        shares = (scores + (1 - mask.double())[:, None, None, :] * -10000).softmax(-1)
        mixed = (shares @ split("value")).permute(0, 2, 1, 3).reshape(pairs, length, wide)
        output = f"{place}.attention.output"
        inner = self.norm(output, self.linear(f"{output}.dense", mixed) + states)
        opened = gelu(self.linear(f"{place}.intermediate.dense", inner))
        return self.norm(f"{place}.output", self.linear(f"{place}.output.dense", opened) + inner)

    def head(self, name: str, states: Tensor) -> Tensor:
        return self.norm(f"cls.{name}.transform", gelu(self.linear(f"cls.{name}.transform.dense", states)))

    def run(self, inputs: Named) -> Named:
        """Outputs and trace of a batch, by the names of the recorded ones."""
        config, of, seen = self.config, self.of, {}
        text, image = inputs["attention_mask"], inputs["region_mask"]
        ids, words = inputs["input_ids"], "bert.embeddings"
        summed = of[f"{words}.word_embeddings.weight"][ids]
        summed = summed + of[f"{words}.position_embeddings.weight"][: ids.shape[1]]
        summed = summed + of[f"{words}.token_type_embeddings.weight"][inputs["token_type_ids"]]
        seen["embeddings_text"] = self.norm(words, summed)
        regions = self.linear("bert.v_embeddings.image_embeddings", inputs["region_features"].double())
        places = self.linear("bert.v_embeddings.image_location_embeddings", inputs["region_locations"].double())
        seen["embeddings_regions"] = self.norm("bert.v_embeddings", regions + places)
        joint, mask = torch.cat([seen["embeddings_regions"], seen["embeddings_text"]], 1), torch.cat([image, text], 1)
        single, heads = config["num_hidden_layers"], config["num_attention_heads"]
        for i in range(single):
            joint = seen[f"single_stream.{i}"] = self.layer(f"bert.encoder.layer.{i}", joint, mask, heads)
        v, t = joint[:, : image.shape[1]], joint[:, image.shape[1] :]
        for i in range(config["t_num_hidden_layers"]):
            t = seen[f"text_stream.{i}"] = self.layer(f"bert.encoder.layer.{single + i}", t, text, heads)
        for i in range(config["v_num_hidden_layers"]):
            place = f"bert.encoder.v_layer.{i}"
            v = seen[f"region_stream.{i}"] = self.layer(place, v, image, config["v_num_attention_heads"])
        return seen | self.heads(t, v, image)

    def heads(self, t: Tensor, v: Tensor, image: Tensor) -> Named:
        seen = {"sequence_text": t, "sequence_regions": v}
        seen["pooled_text"] = self.linear("bert.t_pooler.dense", t[:, 0]).clamp(min=0)
        seen["pooled_regions"] = self.linear("bert.v_pooler.dense", v[:, 0]).clamp(min=0)
        by_product = self.config["fusion_method"] == "mul"
        one, other = seen["pooled_text"], seen["pooled_regions"]
        fused = seen["pooled_fused"] = one * other if by_product else one + other
        decoder, bias = self.of["cls.predictions.decoder.weight"], self.of["cls.predictions.bias"]
        seen["mlm_logits"] = self.head("predictions", t) @ decoder.T + bias
        seen["region_class_logits"] = self.linear("cls.imagePredictions.decoder", self.head("imagePredictions", v))
        seen["itm_logits"] = self.linear("cls.bi_seq_relationship", fused)
        if "vil_logit.weight" in self.of:
            seen["prediction"], seen["logit"] = self.linear("vil_prediction", fused), self.linear("vil_logit", fused)
            seen["region_logit"] = self.linear("vision_logit", v) + (1 - image.double())[..., None] * -10000
            seen["text_logit"] = self.linear("linguisic_logit", t)
        return seen

    def losses(self, inputs: Named, fixed: bool) -> Tensor:
        """[words, regions, matching], one pair and one position after the other."""
        seen, match = self.run(inputs), inputs["itm_labels"] == 0
        words, regions = [], []
        for pair in range(len(match)):
            for at, word in enumerate(inputs["masked_lm_labels"][pair].tolist()):
                if word != -1 and (match[pair] or not fixed):
                    words.append(-seen["mlm_logits"][pair, at].log_softmax(-1)[word])
            for at, label in enumerate(inputs["region_labels"][pair].tolist()):
                if label == 1 and match[pair]:
                    target = inputs["region_targets"][pair, at].double()
                    logits = seen["region_class_logits"][pair, at + 1]
                    kl = (target * (target.log() - logits.log_softmax(-1))).sum()
                    regions.append((logits - target).square().sum() if self.config.get("predict_feature") else kl)
        labels = inputs["itm_labels"]
        matching = -seen["itm_logits"].log_softmax(-1)[torch.arange(len(labels)), labels].mean()
        nothing = torch.zeros((), dtype=torch.double)
        mean_word = torch.stack(words).mean() if words else nothing if fixed else nothing / 0
        return torch.stack([mean_word, torch.stack(regions).mean() if regions else nothing, matching])

    def gradient_norms(self, inputs: Named, fixed: bool) -> Named:
        """Of the sum of the losses, by parameter; the decoder has no entry of its own."""
        named = {name: tensor for name, tensor in self.of.items() if name != "cls.predictions.decoder.weight"}
        total = self.losses(inputs, fixed).sum()
        found = torch.autograd.grad(total, list(named.values()), allow_unused=True, materialize_grads=True)
        return {name: gradient.norm().float() for name, gradient in zip(named, found, strict=True)}


def gelu(states: Tensor) -> Tensor:
    return states * 0.5 * (1 + torch.erf(states / math.sqrt(2)))


OUTPUTS = ("mlm_logits", "region_class_logits", "itm_logits", "sequence_text", "sequence_regions", "pooled_text")
OUTPUTS += ("pooled_regions", "prediction", "logit")


def write_fixture(
    folder: Path, config: Mapping[str, Any] = CONFIG, answers: int | None = None, inputs: Named | None = None
) -> Path:
    """A folder like the authors' recorded ones: config.json, model.bin, inputs, outputs, trace, gradient norms."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    tensors, inputs = released_tensors(config, answers), random_inputs(config) if inputs is None else inputs
    torch.save(tensors, folder / "model.bin")
    theirs = Theirs(tensors, config)
    begin = "" if answers is None else "vl_"
    seen = {begin + name: tensor.detach().float().contiguous() for name, tensor in theirs.run(inputs).items()}
    outputs = {name: tensor for name, tensor in seen.items() if name.removeprefix("vl_") in OUTPUTS}
    trace = {name: tensor for name, tensor in seen.items() if name not in outputs}
    if answers is None:
        released = theirs.losses(inputs, fixed=False).detach().float()
        names = ("loss_masked_lm", "loss_masked_region", "loss_itm")
        outputs |= {name: value.reshape(1).clone() for name, value in zip(names, released, strict=True)}
        outputs["losses_fixed"] = theirs.losses(inputs, fixed=True).detach().float()
        for name, fixed in (("grads", False), ("grads_fixed", True)):
            save_file(theirs.gradient_norms(inputs, fixed), folder / f"{name}.safetensors")
    for name, part in (("inputs", inputs), ("outputs", outputs), ("trace", trace)):
        save_file(part, folder / f"{name}.safetensors")
    return folder
