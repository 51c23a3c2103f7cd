"""InterBERT (section 3): one interaction stream over words and regions, then a stream of its own for each side.

A batch comes in, states and vectors leave (`Output`). Losses are elsewhere: a model gives states.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from interbert.batch import Batch, Output
from interbert.config import MATCH_CLASS, ModelConfig
from interbert.model.embeddings import ImageEmbedding, TextEmbedding
from interbert.model.heads import AloneProjection, Fusion, RegionHead, WordHead
from interbert.model.layers import LayerSizes, Stream
from interbert.model.pretrained import Pretrained

Embedded = tuple[Tensor, Tensor]  # states [B, S, H], and bool [B, S]: which of them are no padding


class InterBert(Pretrained):
    """The model of the paper with its heads of pretraining. Weights start at N(0, initializer_range), biases at 0.

    `model(batch)` takes a Batch whose text or image side may be absent (the `alone` mode, and GLUE's); the joint
    sequence is text first, then regions.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.text_embedding = TextEmbedding(config)
        self.image_embedding = ImageEmbedding(config)
        checkpointing = config.gradient_checkpointing
        image_layers = config.independence_layers if config.image_layers is None else config.image_layers
        self.interaction = Stream(config.interaction_layers, layer_sizes(config), checkpointing)
        self.text_stream = Stream(config.independence_layers, layer_sizes(config), checkpointing)
        self.image_stream = Stream(image_layers, image_layer_sizes(config), checkpointing)
        self.fusion = Fusion(config)
        self.word_head = WordHead(config)
        self.region_head = RegionHead(config)
        self.match_head = nn.Linear(config.fusion_size, 2)
        self.alone: nn.ModuleDict | None = None
        if config.alone_projections:
            self.alone = nn.ModuleDict({side: AloneProjection(config) for side in ("text", "image")})
        self.apply(self._start)
        if self.alone is not None:
            for side in self.alone.values():
                nn.init.zeros_(side.get_submodule("contract").get_parameter("weight"))

    def _start(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])

    def forward(self, batch: Batch, positions: int | None = None) -> Output:
        """States of both streams and their vectors. Raises ValueError where both sides are absent.

        positions: states of so many from the start of each side are enough; 1 gives the vectors, at less cost.
        """
        return self.read(self.embed_text(batch), self.embed_image(batch), positions)

    def read(self, text: Embedded | None, image: Embedded | None, positions: int | None = None) -> Output:
        """What `forward` gives, of sides that were embedded before."""
        if text is not None and image is not None:
            length = text[0].shape[1]
            valid = torch.cat([text[1], image[1]], dim=1)
            joint = self.interaction(torch.cat([text[0], image[0]], dim=1), valid)
            text, image = (joint[:, :length], text[1]), (joint[:, length:], image[1])
        elif text is not None:
            text = self.interaction(*text), text[1]
        elif image is not None:
            image = self.interaction(*image), image[1]
        else:
            raise ValueError("batch: got neither words nor features, wanted at least one side")
        output = Output()
        if text is not None:
            output.text_states = self.text_stream(*text, positions)
            output.text_vector = self.fusion.text_vector(output.text_states)
        if image is not None:
            output.image_states = self.image_stream(*image, positions)
            output.image_vector = self.fusion.image_vector(output.image_states)
        return output

    def embed_text(self, batch: Batch) -> Embedded | None:
        """The words before the interaction; None where there are none."""
        if batch.words is None or batch.words_valid is None:
            return None
        if batch.words.shape[1] > self.config.max_text_tokens:
            raise ValueError(
                f"words: got {batch.words.shape[1]} positions, wanted at most {self.config.max_text_tokens}"
            )
        return self.text_embedding(batch.words, batch.token_types), batch.words_valid

    def embed_image(self, batch: Batch) -> Embedded | None:
        """The regions before the interaction; None where there are none."""
        if batch.features is None or batch.locations is None or batch.regions_valid is None:
            return None
        return self.image_embedding(batch.features, batch.locations, batch.confidence), batch.regions_valid

    def word_logits(self, states: Tensor) -> Tensor:
        """States [..., H] to logits over the vocabulary [..., V]."""
        return torch.as_tensor(self.word_head(states, self.text_embedding.words.weight))

    def region_logits(self, states: Tensor) -> Tensor:
        """States [..., H] to logits over the detector's classes [..., C]."""
        return torch.as_tensor(self.region_head(states))

    def match_logits(self, text_vector: Tensor, image_vector: Tensor) -> Tensor:
        """Two [..., F] to the two matching classes [..., 2] (3.3, "ITM"); class MATCH_CLASS says "belong together"."""
        with torch.autocast(text_vector.device.type, enabled=False):  # a score of 8 bits would tie too often
            return torch.as_tensor(self.match_head(self.fusion(text_vector.float(), image_vector.float())))

    @property
    def match_direction(self) -> Tensor:
        """[F]: the margin of a fused vector is its inner product with this, and a constant."""
        return self.match_head.weight[MATCH_CLASS] - self.match_head.weight[1 - MATCH_CLASS]

    def margins_alone(self, text_vectors: Tensor, image_vectors: Tensor) -> Tensor:
        """The matching margin of every text with every picture, each read alone: [N, F] and [M, F] to [N, M].

        The margin is the logit of "belong together" less the other; of vectors read alone it is an inner product.
        The vectors are those of `alone.py`.
        """
        texts, images = text_vectors.float(), image_vectors.float()
        direction = self.match_direction
        offset = self.match_head.bias[MATCH_CLASS] - self.match_head.bias[1 - MATCH_CLASS]
        with torch.autocast(texts.device.type, enabled=False):
            if self.alone is not None:
                return texts @ images.T + offset
            if self.fusion.by_product:
                return (texts * direction) @ images.T + offset
            return (texts @ direction)[:, None] + (images @ direction)[None, :] + offset

    def match_probability(self, text_vector: Tensor, image_vector: Tensor) -> Tensor:
        """The score in [0, 1] that text and picture belong together. Two [..., F] to [...]."""
        return self.match_logits(text_vector, image_vector).softmax(-1)[..., MATCH_CLASS]


def layer_sizes(config: ModelConfig) -> LayerSizes:
    """Sizes of the interaction stream's and the text stream's layers."""
    return LayerSizes(
        hidden=config.hidden_size,
        feed_forward=config.feed_forward_size,
        heads=config.heads,
        dropout=config.dropout,
        attention_dropout=config.attention_dropout,
        layer_norm_eps=config.layer_norm_eps,
    )


def image_layer_sizes(config: ModelConfig) -> LayerSizes:
    """Sizes of the image stream's layers: the same unless the configuration says otherwise."""
    return LayerSizes(
        hidden=config.hidden_size,
        feed_forward=config.image_feed_forward_size or config.feed_forward_size,
        heads=config.image_heads or config.heads,
        dropout=config.dropout if config.image_dropout is None else config.image_dropout,
        attention_dropout=config.attention_dropout,
        layer_norm_eps=config.layer_norm_eps,
    )
