"""Why this score? A text and a picture's regions in; how much each word and each region carried, out.

Leaving out: a word or a region is absent from the sequence as if it had never been there, positions and `o[CLS]`, the
mean of the regions, with it; its weight is the margin with it less the margin without. Attention: how much each word
takes of each region in the interaction stream (3.2), the mean over its layers, heads and the word's pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from interbert.batch import Regions, make_batch
from interbert.model.interbert import InterBert
from interbert.text.encoding import readable
from interbert.text.tokenizer import Tokenizer
from interbert.webpage import picture_uri, write_page

if TYPE_CHECKING:
    from interbert.scoring.scorer import Scorer

Weights = NDArray[np.float32]
MarginsOf = Callable[[Sequence[Sequence[int]], Sequence[Regions]], Weights]
SHOWN_PIXELS = 900  # of a picture on a page
COLOUR = "#b3541e"  # white on it can be read (5.0 : 1)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What carried a score: W words and N regions.

    words: as the text has them, at the characters spans: [W] (begin, end) of it.  boxes: float32 [N, 4] xyxy in pixels
    of the upright picture of image_size (width, height).  labels: [N] names of the detector's classes, or "".
    word_weights: float32 [W], region_weights: float32 [N]: margin (logits of the score as the model gives it) with it
    less without it; above 0 speaks for the pair, +0.69 is twice the odds. What several regions show, the loss of
    one hardly changes.  weights: float32 [W, N] in 0..1, attention of words to regions.  score: in [0, 1].
    """

    text: str
    words: list[str]
    spans: list[tuple[int, int]]
    boxes: Weights
    labels: list[str]
    image_size: tuple[int, int]
    weights: Weights
    word_weights: Weights
    region_weights: Weights
    score: float

    def best_regions(self, count: int) -> list[int]:
        """The regions that speak for the pair, at most `count`, the weightiest first."""
        order = np.argsort(-self.region_weights, kind="stable")[:count]
        return [int(at) for at in order if self.region_weights[at] > 0]

    def to_json(self) -> dict[str, Any]:
        """Everything, for --json."""
        words = zip(self.words, self.spans, self.word_weights.tolist(), strict=True)
        regions = zip(self.labels, self.boxes.tolist(), self.region_weights.tolist(), strict=True)
        return {
            "text": self.text,
            "score": self.score,
            "image_size": list(self.image_size),
            "words": [{"word": word, "span": list(span), "weight": weight} for word, span, weight in words],
            "regions": [{"label": label, "box": box, "weight": weight} for label, box, weight in regions],
            "weights": self.weights.tolist(),
        }

    def lines(self, best: int) -> list[str]:
        """For people: every word, and the best regions."""
        words = ", ".join(f"{word} {weight:+.2f}" for word, weight in zip(self.words, self.word_weights, strict=True))
        regions = [
            f"{self.region_weights[at]:+.2f}  {self.labels[at] or 'region'} at {_place(self.boxes[at])}"
            for at in self.best_regions(best)
        ]
        return [f"{self.score:.4f}  {words}", *(regions or ["no region speaks for the pair"])]


def explanation(scorer: Scorer, text: str, regions: Regions, batch_size: int = 32) -> Explanation:
    """The explanation of a text with a picture's regions: one score for each word, for each region and for the pair."""
    [words] = scorer.words([text])
    begins, spans = words_of(scorer.tokenizer, text, len(words))
    margin, of_words, of_regions = left_out(
        lambda some_words, some_regions: scorer.margins_of(some_words, some_regions, batch_size, False),
        words,
        begins,
        regions,
    )
    attention = word_region_attention(scorer.model, words, regions)
    classes, shown = scorer.extractor.classes, readable(text)
    return Explanation(
        text=shown,
        words=[shown[begin:end] for begin, end in spans],
        spans=spans,
        boxes=regions.boxes,
        labels=[classes[at] if at < len(classes) else "" for at in regions.labels.tolist()],
        image_size=regions.image_size,
        weights=np.stack([attention[at].mean(0) for at in begins])
        if begins
        else np.zeros((0, len(regions)), np.float32),
        word_weights=of_words,
        region_weights=of_regions,
        score=float(scorer.probabilities(margin)),
    )


def words_of(tokenizer: Tokenizer, text: str, tokens: int) -> tuple[list[slice], list[tuple[int, int]]]:
    """Where each word of a text is among its token ids, and among its characters. tokens: how many ids are read."""
    ids, places = tokenizer.encode_places(text, tokens)
    pieces: list[slice] = []
    spans: list[tuple[int, int]] = []
    for at in range(1, len(ids) - 1):
        if pieces and tokenizer.is_continuation[ids[at]]:
            pieces[-1], spans[-1] = slice(pieces[-1].start, at + 1), (spans[-1][0], places[at][1])
        else:
            pieces.append(slice(at, at + 1))
            spans.append(places[at])
    return pieces, spans


def left_out(
    margins_of: MarginsOf, words: Sequence[int], pieces: Sequence[slice], regions: Regions
) -> tuple[Weights, Weights, Weights]:
    """The margin, and how much it falls without each word [W] and without each region [N].

    margins_of: the margins of texts, as token ids, with regions.  pieces: where each word is among `words`.
    """
    texts = [list(words), *([*words[: at.start], *words[at.stop :]] for at in pieces)]
    count = len(regions)
    pictures = [regions.select(np.arange(count) != at) for at in range(count)]
    found = margins_of(texts + [list(words)] * count, [regions] * len(texts) + pictures)
    margin, without = found[0], found[1:]
    return margin, margin - without[: len(pieces)], margin - without[len(pieces) :]


@torch.inference_mode()
def word_region_attention(model: InterBert, words: Sequence[int], regions: Regions) -> Weights:
    """How much each token takes of each region: float32 [T, N], the mean over the interaction's layers and heads.

    A row and what it takes of the other tokens and of `o[CLS]` add up to 1. 0 for a model without interaction.
    """
    batch = make_batch([""], [list(words)], [regions]).to(next(model.parameters()).device)
    text, image = model.embed_text(batch), model.embed_image(batch)
    assert text is not None
    assert image is not None
    states, found = torch.cat([text[0], image[0]], 1), torch.zeros(len(words), len(regions))
    for layer in model.interaction.layers:
        heads = layer.attention.weights(states)[0].float().cpu()  # type: ignore[operator, union-attr]
        found += heads.mean(0)[: len(words), len(words) + 1 :]
        states = layer(states, None)
    return np.asarray((found / max(1, len(model.interaction.layers))).numpy(), np.float32)


def draw(found: Explanation, picture: Image.Image, best: int = 5) -> Image.Image:
    """The picture with the boxes of its best regions and their weights; the weightiest has the thickest line."""
    drawn = picture.convert("RGB")
    scale = np.array([*drawn.size, *drawn.size]) / np.array([*found.image_size, *found.image_size])
    unit = max(drawn.size) / 300
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(max(10, 7 * unit))
    chosen = found.best_regions(best)
    for at in reversed(chosen):  # the best on top
        x1, y1, x2, y2 = (found.boxes[at] * scale).tolist()
        share = float(found.region_weights[at] / found.region_weights[chosen[0]])
        pen.rectangle((x1, y1, x2, y2), outline=COLOUR, width=max(1, round(unit * (1 + 2 * share))))
        label = f"{found.labels[at]} {found.region_weights[at]:+.2f}".strip()
        ground = pen.textbbox((x1, y1), label, font)
        pen.rectangle(ground, fill=COLOUR)
        pen.text((x1, y1), label, "white", font)
    return drawn


def write_explanation(out: Path, found: Explanation, picture: Image.Image, best: int = 5) -> None:
    """One HTML file: the words by their weight, the picture with its best boxes, and which words look at them."""
    uri = picture_uri(draw(found, picture, best), SHOWN_PIXELS)
    chosen = found.best_regions(best)
    head = "".join(
        f"<th class=number>{escape(found.labels[at] or 'region')} {_place(found.boxes[at])}</th>" for at in chosen
    )
    own = "".join(f"<td class=number>{found.region_weights[at]:+.2f}</td>" for at in chosen)
    rows = "".join(
        f"<tr><td>{escape(word)}</td><td class=number>{found.word_weights[at]:+.2f}</td>"
        + "".join(f"<td class=number>{found.weights[at, region]:.3f}</td>" for region in chosen)
        + "</tr>"
        for at, word in enumerate(found.words)
    )
    body = (
        f"<h1>{found.score:.2f}</h1><section><p style='font-size:1.3rem'>{_coloured(found)}</p>"
        f'<img src="{uri}" alt="{escape(found.text)}" style="max-width:100%">'
        "<p class=soft>Green words and the boxes speak for the pair, red words against it. A weight is what the "
        "score's log odds lose where the word or region is left out.</p></section>"
        "<section><h2>Which words look at which regions</h2><p class=soft>Attention, the mean over layers and heads; "
        "beside and above it what is lost by leaving out.</p><div style='overflow-x:auto'><table>"
        f"<tr><th></th><th class=number>left out</th>{head}</tr><tr><td>left out</td><td></td>{own}</tr>{rows}"
        "</table></div></section>"
    )
    write_page(out, found.text, body)


def _coloured(found: Explanation) -> str:
    most = float(np.abs(found.word_weights).max(initial=0)) or 1.0
    parts, last = [], 0
    for (begin, end), weight in zip(found.spans, found.word_weights.tolist(), strict=True):
        colour = "10,135,84" if weight > 0 else "200,60,60"
        strength = f"background:rgba({colour},{0.6 * abs(weight) / most:.2f})"
        parts += [escape(found.text[last:begin]), f'<span style="{strength}">{escape(found.text[begin:end])}</span>']
        last = end
    return "".join([*parts, escape(found.text[last:])])


def _place(box: NDArray[np.float32]) -> str:
    return " ".join(f"{side:.0f}" for side in box.tolist())
