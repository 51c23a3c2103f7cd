"""Scores, rankings and vectors of a run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from interbert.batch import Regions, make_batch
from interbert.config import MATCH_CLASS, ModelConfig
from interbert.errors import InterbertError, UsageError
from interbert.model.interbert import InterBert
from interbert.model.prepared import can_prepare
from interbert.scoring.calibration import RAW
from interbert.scoring.scorer import READY_FROM, Scorer, TextsCut, load
from interbert.text.tokenizer import Tokenizer
from interbert.vision.extractor import EXTRACTORS, Extractor
from interbert.vision.provenance import ExtractorInfo

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "two", "dog", "dogs", "cat", "play", "red"]
SIZE = 6  # numbers a region
INFO = ExtractorInfo(
    "by-colour", SIZE, ("thing",), settings={"max_regions": 36, "min_regions": 10, "min_confidence": 0.2}
)


class ByColour(Extractor):
    """Regions out of a picture's first pixel: as many as its red says, features of its green and blue."""

    def __init__(self) -> None:
        self.seen = 0

    @property
    def info(self) -> ExtractorInfo:
        return INFO

    def extract(self, images: Sequence[Any]) -> list[Regions]:
        self.seen += len(images)
        return [some_regions(*(opened(image).getpixel((0, 0)))) for image in images]


def opened(image: Any) -> Image.Image:
    return (
        image
        if isinstance(image, Image.Image)
        else Image.open(io.BytesIO(image) if isinstance(image, bytes) else image)
    )


def some_regions(count: int, green: int = 0, blue: int = 0, size: int = SIZE) -> Regions:
    numbers = np.random.default_rng([count, green, blue]).normal(size=(count, size)).astype(np.float32)
    corners = np.arange(count, dtype=np.float32)[:, None]
    boxes = np.concatenate([corners, corners, corners + 5, corners + 9], axis=1)
    confidence = np.linspace(0.9, 0.3, count, dtype=np.float32)
    return Regions(numbers, boxes, (64, 64), np.zeros(count, np.int64), confidence)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "dogs.png"
    Image.new("RGB", (8, 8), (5, 1, 2)).save(path)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a model whose weights are large enough to tell pairs apart."""
    config = ModelConfig(
        vocabulary_size=len(PIECES),
        hidden_size=16,
        feed_forward_size=32,
        interaction_layers=1,
        independence_layers=1,
        heads=2,
        fusion_size=8,
        text_position="table",
        max_text_tokens=8,
        region_feature_size=SIZE,
        region_classes=1,
        initializer_range=0.5,
    )
    torch.manual_seed(0)
    folder = tmp_path / "run"
    InterBert(config).save_pretrained(folder)
    Tokenizer({piece: at for at, piece in enumerate(PIECES)}, lower_case=True).save(folder / "tokenizer.json")
    INFO.save(folder / "extractor.json")
    return folder


@pytest.fixture
def extractor(monkeypatch: pytest.MonkeyPatch) -> ByColour:
    made = ByColour()
    monkeypatch.setitem(EXTRACTORS, "by-colour", lambda argument, settings: made)
    return made


@pytest.fixture
def scorer(run: Path, extractor: ByColour) -> Scorer:
    return load(run, device="cpu")


def test_a_run_with_a_head_of_its_own_is_said_to_be_no_matcher(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(run)
    assert not caplog.text
    (run / "head.safetensors").touch()
    load(run)
    assert "a task with a head of its own: its matching scores mean little" in caplog.text


def test_a_score_is_the_softmax_of_the_class_that_means_match(scorer: Scorer) -> None:
    words, regions = scorer.tokenizer.encode("two dogs"), some_regions(4)
    output = scorer.model(make_batch(["x"], [words], [regions]))
    with torch.inference_mode():
        logits = scorer.model.match_logits(output.text_vector, output.image_vector)[0].tolist()
    by_hand = np.exp(logits[MATCH_CLASS]) / np.exp(logits).sum()
    assert scorer.predict([("two dogs", regions)])[0] == pytest.approx(by_hand, abs=1e-6)


def test_scores_come_in_the_order_of_the_pairs_whatever_the_batches(scorer: Scorer) -> None:
    pairs = [(text, some_regions(n)) for text, n in (("dogs", 3), ("two red dogs play", 9), ("a cat", 1), ("red", 6))]
    together = scorer.predict(pairs, batch_size=2)
    alone = [scorer.predict(pair) for pair in pairs]
    assert together.dtype == np.float32
    assert len(set(together.round(4))) == 4
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_many_pairs_are_scored_as_few_are(scorer: Scorer) -> None:
    pairs = [("two red dogs play"[: 4 + at % 13], some_regions(1 + at % 9)) for at in range(READY_FROM)]
    few = scorer.predict(pairs[:9])
    np.testing.assert_allclose(scorer.predict(pairs)[:9], few, atol=1e-5)


def test_a_lower_precision_gives_nearly_the_same_scores_and_an_unknown_one_is_refused(
    run: Path, scorer: Scorer
) -> None:
    pairs = [("two dogs", some_regions(at)) for at in range(1, 9)]
    for precision in ("bf16", "int8", "auto"):
        if precision == "auto" or can_prepare(precision):
            found = load(run, device="cpu", precision=precision).predict(pairs)
            np.testing.assert_allclose(found, scorer.predict(pairs), atol=0.1)
    with pytest.raises(UsageError, match="got 'fp8', wanted one of auto, fp32, bf16, int8"):
        load(run, device="cpu", precision="fp8")


def test_a_path_bytes_a_picture_and_its_regions_give_one_score(scorer: Scorer, picture: Path) -> None:
    with Image.open(picture) as image:
        forms = [str(picture), picture, picture.read_bytes(), image, scorer.regions([picture])[0]]
        scores = scorer.predict([("dogs play", form) for form in forms])
    assert np.ptp(scores) < 1e-6


def test_each_distinct_picture_of_a_call_is_extracted_once(
    scorer: Scorer, extractor: ByColour, picture: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    Image.new("RGB", (8, 8), (7, 0, 0)).save(other)
    scorer.predict([(text, image) for text in ("a dog", "a cat", "red") for image in (picture, str(picture), other)])
    assert extractor.seen == 2


def test_ranking_puts_the_best_first_and_ties_in_their_order(scorer: Scorer) -> None:
    same, other = some_regions(4), some_regions(7, 3)
    scores = scorer.predict([("dogs", same), ("dogs", other)])
    found = scorer.rank("dogs", [same, other, same])
    wanted = [0, 2, 1] if scores[0] > scores[1] else [1, 0, 2]
    assert [one["corpus_id"] for one in found] == wanted
    assert [one["score"] for one in found] == pytest.approx(sorted([*scores, scores[0]], reverse=True), abs=1e-6)


def test_scores_are_those_of_the_calibration_and_margins_stay_as_they_are(scorer: Scorer) -> None:
    pairs = [(text, some_regions(4)) for text in ("dogs", "a red cat", "two")]
    margins = scorer.margins(pairs)
    scorer.calibration = replace(RAW, slope=0.5, logits=(-1.0,))
    np.testing.assert_allclose(scorer.predict(pairs), 1 / (1 + np.exp(1 - 0.5 * margins)), rtol=1e-6)
    np.testing.assert_array_equal(scorer.margins(pairs), margins)


def test_scores_that_tie_close_to_1_are_ranked_by_their_margins(scorer: Scorer) -> None:
    pictures = [some_regions(count) for count in range(3, 9)]
    wanted = [one["corpus_id"] for one in scorer.rank("dogs", pictures)]
    scorer.calibration = replace(RAW, logits=(40.0,))
    found = scorer.rank("dogs", pictures)
    assert [one["corpus_id"] for one in found] == wanted
    assert {one["score"] for one in found} == {1.0}


def test_texts_are_ranked_for_a_picture_and_returned_when_asked(scorer: Scorer) -> None:
    texts = ["a cat", "two dogs play"]
    found = scorer.rank({"image": some_regions(4)}, texts, top_k=1, return_documents=True)
    scores = scorer.predict([(text, some_regions(4)) for text in texts])
    best = int(scores.argmax())
    assert found == [{"corpus_id": best, "score": pytest.approx(float(scores[best]), abs=1e-6), "text": texts[best]}]


def test_no_input_gives_no_output(scorer: Scorer) -> None:
    assert scorer.predict([]).shape == (0,)
    assert scorer.rank("dogs", []) == []
    assert scorer.encode_text([]).shape == (0, 8)
    assert scorer.encode_images([]).shape == (0, 8)


def test_the_keywords_of_cross_encoder_choose_the_kind_of_result(scorer: Scorer) -> None:
    pairs = [("dogs", some_regions(3)), ("a cat", some_regions(4))]
    numbers = scorer.predict(pairs, show_progress_bar=False)
    as_tensor = scorer.predict(pairs, convert_to_tensor=True)
    as_list = scorer.predict(pairs, convert_to_numpy=False)
    assert isinstance(as_tensor, torch.Tensor)
    assert isinstance(as_list, list)
    np.testing.assert_array_equal(numbers, as_tensor.numpy())
    np.testing.assert_array_equal(numbers, torch.stack(as_list).numpy())


def test_vectors_are_those_of_each_side_read_alone(scorer: Scorer) -> None:
    texts = ["dogs play", "a", "two red dogs"]
    batch = make_batch(["x"], [scorer.tokenizer.encode(texts[0])], None)
    with torch.inference_mode():
        wanted = scorer.model(batch).text_vector[0].numpy()
    np.testing.assert_allclose(scorer.encode_text(texts, batch_size=2)[0], wanted, atol=1e-6)
    assert scorer.encode_images([some_regions(2), some_regions(5)]).shape == (2, 8)


def test_texts_that_are_cut_are_counted_in_one_warning(scorer: Scorer) -> None:
    long, fits = "dogs " * 20, "dogs " * 6
    with pytest.warns(TextsCut, match="1 of 2 texts are longer than 8 tokens") as said:
        scores = scorer.predict([(long, some_regions(3)), (fits, some_regions(3))])
    assert len(said) == 1
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one_is_refused(scorer: Scorer, batch_size: int) -> None:
    with pytest.raises(ValueError, match="batch_size"):
        scorer.predict([("dogs", some_regions(3))], batch_size=batch_size)
    with pytest.raises(ValueError, match="batch_size"):
        scorer.rank("dogs", [], batch_size=batch_size)


def test_a_pair_the_wrong_way_round_is_refused(scorer: Scorer, picture: Path) -> None:
    with pytest.raises(TypeError, match="the text first"):
        scorer.predict([(Image.new("RGB", (8, 8)), "two dogs")])
    with pytest.raises(TypeError, match='wanted a text or {"image": picture}'):
        scorer.rank(picture, ["two dogs"])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="picture 0: got 3"):
        scorer.predict([("two dogs", 3)])  # type: ignore[list-item]


def test_a_score_that_is_not_finite_is_an_error(scorer: Scorer) -> None:
    with torch.no_grad():
        scorer.model.match_head.weight[0, 0] = float("nan")
    with pytest.raises(InterbertError, match="1 of 1 results are not finite"):
        scorer.predict([("dogs", some_regions(3))])


def test_regions_of_another_size_are_refused_with_the_extractor_to_use(scorer: Scorer) -> None:
    with pytest.raises(InterbertError, match="regions of 4 numbers each, the model reads 6 .*'by-colour'"):
        scorer.predict([("dogs", some_regions(3, size=4))])


def test_an_extractor_other_than_the_runs_is_refused(run: Path, extractor: ByColour, picture: Path) -> None:
    replace(INFO, weights_sha256="of other weights").save(run / "extractor.json")
    with pytest.raises(InterbertError, match="weights_sha256 'of other weights' and ''"):
        load(run).predict([("dogs", picture)])


def test_a_run_without_one_of_its_files_is_refused_by_name(run: Path) -> None:
    (run / "tokenizer.json").unlink()
    with pytest.raises(InterbertError, match="has no tokenizer.json: it is not a finished run"):
        load(run)


def test_files_of_two_runs_are_not_taken_for_one(run: Path) -> None:
    replace(INFO, feature_size=SIZE + 1).save(run / "extractor.json")
    with pytest.raises(InterbertError, match="not of one run"):
        load(run)


@pytest.mark.parametrize("missing", ["./no-such-run", "/no/such/run", "a/b/c", "no-such-run"])
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(missing: str) -> None:
    with pytest.raises(InterbertError, match="there is no folder"):
        load(missing)


def test_a_hub_that_does_not_answer_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InterbertError, match=r"no folder 'some/model', and no model .* from the Hugging Face hub"):
        load("some/model")
