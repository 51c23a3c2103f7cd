"""Explanations: by leaving out, with an answer that is known; by attention; drawn, and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from pretraining_helpers import random_regions, random_tokenizer
from task_helpers import CONFIG, saved_run

from interbert.batch import Regions, make_batch
from interbert.model.interbert import InterBert
from interbert.scoring.explain import (
    Explanation,
    draw,
    explanation,
    left_out,
    word_region_attention,
    words_of,
    write_explanation,
)
from interbert.scoring.scorer import Scorer, TextsCut, load

DOG = 7  # an id
TOKENIZER = random_tokenizer()


def regions(count: int, seed: int = 0) -> Regions:
    return random_regions(np.random.default_rng(seed), count)


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    return load(saved_run(tmp_path / "run", replace(CONFIG, initializer_range=0.4, interaction_layers=2)), device="cpu")


def margins_of(words: Sequence[Sequence[int]], pictures: Sequence[Regions]) -> NDArray[np.float32]:
    """A model whose answer is known: 4 for a dog among words and a region 2 on the left, a tenth for each region."""
    dogs = [DOG in text for text in words]
    seen = [bool((picture.labels == 2).any()) for picture in pictures]
    return np.array(
        [4.0 * (dog and see) + 0.1 * len(one) for dog, see, one in zip(dogs, seen, pictures, strict=True)], np.float32
    )


def test_what_carries_a_score_is_found_by_leaving_it_out() -> None:
    picture = replace(regions(4), labels=np.array([0, 2, 1, 0]))
    margin, of_words, of_regions = left_out(margins_of, [2, 5, DOG, 9, 3], [slice(1, 2), slice(2, 4)], picture)
    assert margin == pytest.approx(4.4)
    assert of_words.tolist() == pytest.approx([0, 4])
    assert of_regions.tolist() == pytest.approx([0.1, 4.1, 0.1, 0.1])


def test_leaving_out_the_best_region_costs_more_than_a_random_one() -> None:
    """Of 100 pairs whose answer is known, with the one region that matters in a random place."""
    random, falls = np.random.default_rng(0), []
    for at in range(100):
        labels = np.zeros(6, np.int64)
        labels[random.integers(6)] = 2
        picture = replace(regions(6, at), labels=labels)
        _, _, of_regions = left_out(margins_of, [2, DOG, 3], [slice(1, 2)], picture)
        best = int(of_regions.argmax())
        kept = np.arange(6)
        without = margins_of([[2, DOG, 3]] * 2, [picture.select(kept != best), picture.select(kept != (best + 1) % 6)])
        falls.append(without[1] - without[0])
    assert min(falls) == pytest.approx(4)


def test_a_weight_is_the_margin_with_it_less_the_margin_without_it(scorer: Scorer) -> None:
    picture, text = regions(4), "two cats playing on the road"
    found = explanation(scorer, text, picture)
    assert found.words == ["two", "cats", "playing", "on", "the", "road"]
    margin = scorer.margins([(text, picture)])[0]
    shorter = scorer.margins([("two playing on the road", picture), (text, picture.select([0, 1, 3]))])
    assert found.word_weights[1] == pytest.approx(margin - shorter[0], abs=1e-5)
    assert found.region_weights[2] == pytest.approx(margin - shorter[1], abs=1e-5)
    assert np.abs(found.region_weights).max() > 1e-3
    assert found.score == pytest.approx(float(scorer.predict((text, picture))), abs=1e-6)


def test_an_explanation_has_the_shapes_it_says(scorer: Scorer) -> None:
    picture = regions(5)
    found = scorer.explain("red dog", picture)
    assert found.weights.shape == (2, 5)
    assert (found.word_weights.shape, found.region_weights.shape) == ((2,), (5,))
    np.testing.assert_array_equal(found.boxes, picture.boxes)
    assert found.labels == [scorer.extractor.classes[at] for at in picture.labels]


def test_words_stand_at_their_characters() -> None:
    text = "  Two CATS, playing!"
    pieces, spans = words_of(TOKENIZER, text, 24)
    assert [text[begin:end] for begin, end in spans] == ["Two", "CATS", ",", "playing", "!"]
    assert pieces == [slice(1, 2), slice(2, 4), slice(4, 5), slice(5, 7), slice(7, 8)]


def test_attention_is_what_mixes_the_values(scorer: Scorer) -> None:
    layer = scorer.model.interaction.layers[0]
    states = torch.randn(2, 7, CONFIG.hidden_size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        weights = layer.attention.weights(states)
        mixed = weights @ layer.attention._heads(layer.attention.value(states))
        wanted = layer.attention(states, None)
        ours = layer.attention.output(mixed.transpose(1, 2).flatten(2))
    torch.testing.assert_close(ours, wanted)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, CONFIG.heads, 7))


def test_attention_to_regions_is_the_mean_over_layers_and_heads(scorer: Scorer) -> None:
    words, picture, kept = [2, 6, 7, 3], regions(3), []
    found = word_region_attention(scorer.model, words, picture)
    for layer in scorer.model.interaction.layers:
        layer.attention.register_forward_pre_hook(lambda module, given: kept.append(module.weights(given[0])))
    with torch.inference_mode():
        scorer.model(make_batch([""], [words], [picture]))
    wanted = torch.stack(kept).mean((0, 1, 2))[:4, 5:]
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-6)


def test_a_model_without_interaction_looks_at_nothing() -> None:
    torch.manual_seed(0)
    model = InterBert(replace(CONFIG, interaction_layers=0)).eval()
    assert word_region_attention(model, [2, 6, 3], regions(3)).tolist() == [[0.0] * 3] * 3


def test_a_text_without_words_and_a_picture_of_one_region_have_an_explanation(scorer: Scorer) -> None:
    found = scorer.explain("", regions(1))
    assert found.words == []
    assert found.weights.shape == (0, 1)
    assert np.isfinite(found.region_weights).all()


def test_of_a_text_that_was_cut_only_what_was_read_is_explained(scorer: Scorer) -> None:
    with pytest.warns(TextsCut):
        found = scorer.explain("dog " * 40, regions(2))
    assert len(found.words) == CONFIG.max_text_tokens - 2


def by_hand(text: str = "a <b> dog") -> Explanation:
    return Explanation(
        text=text,
        words=["a", "<b>", "dog"],
        spans=[(0, 1), (2, 5), (6, 9)],
        boxes=np.array([[10, 10, 40, 40], [50, 20, 90, 70], [0, 0, 5, 5]], np.float32),
        labels=["cat", "", "tree"],
        image_size=(100, 80),
        weights=np.full((3, 3), 0.125, np.float32),
        word_weights=np.array([0.0, -0.5, 1.5], np.float32),
        region_weights=np.array([0.25, 2.0, -1.0], np.float32),
        score=0.75,
    )


def test_only_regions_that_speak_for_the_pair_are_best() -> None:
    assert by_hand().best_regions(5) == [1, 0]
    assert by_hand().best_regions(1) == [1]
    assert by_hand().lines(5) == [
        "0.7500  a +0.00, <b> -0.50, dog +1.50",
        "+2.00  region at 50 20 90 70",
        "+0.25  cat at 10 10 40 40",
    ]


def test_boxes_are_drawn_where_they_are_also_in_a_picture_of_another_size() -> None:
    picture = Image.new("RGB", (200, 160), "white")
    drawn = draw(by_hand(), picture, best=1)
    assert picture.getcolors() == [(200 * 160, (255, 255, 255))]  # as it was
    assert drawn.size == (200, 160)
    assert drawn.getpixel((180, 100)) == (179, 84, 30)  # the right side of twice the box
    assert drawn.getpixel((20, 50)) == drawn.getpixel((140, 100)) == (255, 255, 255)


def test_the_page_has_words_as_text_and_the_picture_inside_it(tmp_path: Path) -> None:
    write_explanation(tmp_path / "page.html", by_hand(), Image.new("RGB", (100, 80)))
    page = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count('<img src="data:image/webp') == 1
    assert page.count("<td class=number>0.125</td>") == 3 * 2


def test_an_explanation_as_json_names_each_word_and_region() -> None:
    value = by_hand().to_json()
    assert value["words"][2] == {"word": "dog", "span": [6, 9], "weight": 1.5}
    assert value["regions"][0] == {"label": "cat", "box": [10, 10, 40, 40], "weight": 0.25}
