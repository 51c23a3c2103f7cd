"""`interbert convert`: runs out of other people's weights, which load, score and can be trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bert_helpers import SIZES, write_bert
from finetuning_helpers import small_plan
from pretraining_helpers import EXTRACTOR, PIECES, few_steps, random_corpus, random_regions, random_tokenizer
from released_helpers import CONFIG, Theirs, released_tensors, write_fixture

import interbert
from interbert import cli
from interbert.batch import make_batch
from interbert.config import PRESETS
from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError
from interbert.model.interbert import InterBert
from interbert.pretraining.run import pretrain
from interbert.tasks.finetuning import finetune
from interbert.text.tokenizer import SPECIAL, Tokenizer
from interbert.vision.provenance import UNKNOWN, ExtractorInfo
from interbert.weights.released import load_heads

FITTING = CONFIG | {"vocab_size": 19, "v_feature_size": 8, "max_position_embeddings": 32}  # as the random corpus has
TEXTS = ("a dog", "two red cats playing on the road")


@pytest.fixture
def fixture(tmp_path: Path) -> Path:
    """A pretrained checkpoint in the release's format, a vocabulary and what the release gave."""
    folder = write_fixture(tmp_path / "theirs", FITTING)
    random_tokenizer().save(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return random_corpus(tmp_path_factory.mktemp("corpus"))


def converted(folder: Path, out: Path, *more: object) -> int:
    command = ["convert", "released", folder / "model.bin", "--config", folder / "config.json", "--out", out, *more]
    return cli.run([*map(str, command), "--quiet"])


def recorded(folder: Path) -> list[Path | str]:
    return ["--check", folder / "inputs.safetensors", folder / "outputs.safetensors"]


def test_a_converted_run_scores_pairs_as_the_release_does(fixture: Path, tmp_path: Path) -> None:
    assert converted(fixture, tmp_path / "run", "--tokenizer", fixture) == 0
    scorer = interbert.load(tmp_path / "run", device="cpu")
    regions = [random_regions(np.random.default_rng(at), 3 + at) for at in range(2)]
    batch = make_batch(["", ""], scorer.tokenizer.encode_many(TEXTS), regions)
    inputs = {"input_ids": batch.words, "region_features": batch.features, "region_locations": batch.locations}
    inputs |= {"attention_mask": batch.words_valid.long(), "region_mask": batch.regions_valid.long()}  # type: ignore
    inputs["token_type_ids"] = torch.zeros_like(batch.words)  # type: ignore[arg-type]
    logits = Theirs(released_tensors(FITTING), FITTING).run(inputs)["itm_logits"]  # type: ignore[arg-type]
    wanted = logits.softmax(-1)[:, 0].detach().numpy()
    np.testing.assert_allclose(scorer.predict(list(zip(TEXTS, regions, strict=True))), wanted, atol=1e-6)
    assert abs(wanted[0] - wanted[1]) > 1e-3


def test_pictures_without_a_known_extractor_are_a_sentence(fixture: Path, tmp_path: Path) -> None:
    converted(fixture, tmp_path / "run", "--tokenizer", fixture)
    scorer = interbert.load(tmp_path / "run", device="cpu")
    with pytest.raises(InterbertError, match=r"which extractor made its regions; give Regions of 8 numbers"):
        scorer.predict([("a dog", "dog.jpg")])
    with pytest.raises(InterbertError, match="got regions of 3 numbers each, the model reads 8"):
        scorer.predict([("a dog", other_regions(3))])


def other_regions(size: int) -> interbert.Regions:
    one = random_regions(np.random.default_rng(0), 2)
    return interbert.Regions(np.zeros((2, size), np.float32), one.boxes, one.image_size, one.labels, one.confidence)


def test_a_run_without_a_vocabulary_says_what_it_lacks(
    fixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "convert",
        "released",
        fixture / "model.bin",
        "--config",
        fixture / "config.json",
        "--out",
        tmp_path / "r",
    ]
    assert cli.run(list(map(str, command))) == 0
    assert "no vocabulary of 19 pieces is known: interbert.load wants one" in capsys.readouterr().err
    with pytest.raises(InterbertError, match=r"has no tokenizer\.json.*interbert convert … --tokenizer VOCAB"):
        interbert.load(tmp_path / "r")
    assert InterBert.from_pretrained(tmp_path / "r").config.heads == 3


def test_thirty_thousand_pieces_are_those_of_bert_base_uncased(tmp_path: Path) -> None:
    folder = write_fixture(tmp_path / "theirs", FITTING | {"vocab_size": 30522})
    assert converted(folder, tmp_path / "run") == 0
    tokenizer = Tokenizer.load(tmp_path / "run")
    assert tokenizer.tokens(tokenizer.encode("Two dogs!")) == ["[CLS]", "two", "dogs", "!", "[SEP]"]


def test_a_check_prints_every_difference_and_a_wrong_model_is_not_written(
    fixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert converted(fixture, tmp_path / "right", *recorded(fixture)) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in ("mlm_logits", "loss_itm", "text_stream.2", "embeddings_text"))
    assert said.count("gradient norms, the nearest to its limit") == 2
    (fixture / "config.json").write_text(json.dumps(FITTING | {"v_num_attention_heads": 2}))
    assert converted(fixture, tmp_path / "wrong", *recorded(fixture)) == 1
    said = capsys.readouterr().out
    assert "above the limit" in said
    assert said.endswith("not written, since differences are above their limits\n")
    assert not (tmp_path / "wrong").exists()


def test_json_has_every_difference_with_its_limit(
    fixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    converted(fixture, tmp_path / "run", *recorded(fixture), "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["is_written"]
    assert found["comparison"]["is_within"]
    named = {one["name"]: one for one in found["comparison"]["differences"]}
    assert named["mlm_logits"]["difference"] < named["mlm_logits"]["limit"] == 1e-4


def test_a_fine_tuned_checkpoint_keeps_its_heads(tmp_path: Path) -> None:
    folder = write_fixture(tmp_path / "theirs", FITTING, answers=5)
    assert converted(folder, tmp_path / "run", *recorded(folder)) == 0
    assert load_heads(tmp_path / "run").answer.out_features == 5
    pretrained = write_fixture(tmp_path / "theirs", FITTING)  # another one in its place leaves nothing behind
    assert converted(pretrained, tmp_path / "run") == 0
    assert not (tmp_path / "run" / "heads.safetensors").exists()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_the_extractor_may_be_named_by_what_it_left(fixture: Path, tmp_path: Path, corpus: Corpus, kind: str) -> None:
    place = corpus.folder if kind == "folder" else corpus.folder / "extractor.json"
    assert converted(fixture, tmp_path / "run", "--tokenizer", fixture, "--extractor", place) == 0
    assert ExtractorInfo.load(tmp_path / "run" / "extractor.json") == EXTRACTOR


def test_an_extractor_of_another_size_is_refused(
    fixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ExtractorInfo("other", 9).save(tmp_path / "other.json")
    assert converted(fixture, tmp_path / "run", "--extractor", tmp_path / "other.json") == 1
    assert "gives 9 numbers a region, the model reads 8" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_vocabulary_that_is_too_large_is_refused(
    fixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random_tokenizer((*PIECES, "one", "more")).save(fixture / "tokenizer.json")
    assert converted(fixture, tmp_path / "run", "--tokenizer", fixture) == 1
    assert "has 21 word pieces, the model weights for 19" in capsys.readouterr().err


class CreatesAFile:
    """Whoever unpickles it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def test_a_malicious_checkpoint_is_refused_whole(
    fixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    created, tensors = tmp_path / "created", released_tensors(FITTING)
    torch.save(tensors | {"bert.extra": CreatesAFile(created)}, fixture / "model.bin")
    assert converted(fixture, tmp_path / "run") == 1
    assert "holds more than tensors: reading it would run io.open" in capsys.readouterr().err
    assert not created.exists()
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_cut_short_or_of_another_model_leaves_no_run(
    fixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (fixture / "model.bin").read_bytes()
    (fixture / "model.bin").write_bytes(whole[: len(whole) // 2])
    assert converted(fixture, tmp_path / "run") == 1
    assert "cut short or no checkpoint" in capsys.readouterr().err
    torch.save({"layer.weight": torch.ones(2)}, fixture / "model.bin")
    assert converted(fixture, tmp_path / "run") == 1
    assert "is no InterBERT of the authors' release" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_folder_with_other_things_is_left_alone(
    fixture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "training.jsonl").write_text("")
    assert converted(fixture, out) == 2
    assert "holds training.jsonl, which no conversion wrote" in capsys.readouterr().err
    assert {path.name for path in out.iterdir()} == {"training.jsonl"}
    assert converted(fixture, out / "training.jsonl") == 2


def test_pretraining_goes_on_from_a_converted_run(fixture: Path, tmp_path: Path, corpus: Corpus) -> None:
    converted(fixture, tmp_path / "run", "--tokenizer", fixture)
    out = tmp_path / "further"
    plan = few_steps(precision="fp32", learning_rate=1e-12)  # which leaves the weights as they are
    pretrain([corpus.folder], out, plan, init=str(tmp_path / "run"), progress=False)
    before, after = (InterBert.from_pretrained(folder) for folder in (tmp_path / "run", out))
    assert after.config.region_classes == 5  # the corpus's; the checkpoint knew 6
    assert before.config.region_classes == 6
    same = {name for name, tensor in before.state_dict().items() if torch.equal(tensor, after.state_dict()[name])}
    assert set(before.state_dict()) - same == {"region_head.decoder.weight", "region_head.decoder.bias"}
    assert ExtractorInfo.load(out / "extractor.json") == corpus.extractor
    assert interbert.load(out, device="cpu").tokenizer.digest == corpus.tokenizer_digest


def test_a_converted_run_is_finetuned(fixture: Path, tmp_path: Path, corpus: Corpus) -> None:
    converted(fixture, tmp_path / "run", "--tokenizer", fixture)
    plan = small_plan(1, validate_every=4)
    done = finetune("retrieval", corpus.folder, str(tmp_path / "run"), tmp_path / "out", plan, progress=False)
    assert done.summary.steps > 0
    scorer = interbert.load(tmp_path / "out", device="cpu")
    assert scorer.extractor == corpus.extractor  # known from here on
    assert 0 < scorer.predict(("a dog", random_regions(np.random.default_rng(0), 3))) < 1


def test_pretraining_on_regions_of_another_size_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    folder = write_fixture(tmp_path / "theirs", FITTING | {"v_feature_size": 7})
    random_tokenizer().save(folder / "tokenizer.json")
    converted(folder, tmp_path / "run", "--tokenizer", folder)
    with pytest.raises(InterbertError, match="reads regions of 7 numbers, the corpus has 8"):
        pretrain([corpus.folder], tmp_path / "out", few_steps(), init=str(tmp_path / "run"), progress=False)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A small BERT with a vocabulary, as a folder."""
    folder = write_bert(tmp_path / "bert")
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *PIECES]) + "\n")
    return folder


def test_an_interbert_started_from_a_bert_is_a_run(bert: Path, tmp_path: Path, corpus: Corpus) -> None:
    out = tmp_path / "run"
    command = ["convert", "bert", bert, "--out", out, "--preset", "tiny", "--extractor", corpus.folder]
    assert cli.run([*map(str, command), "--quiet"]) == 0
    config = InterBert.from_pretrained(out).config
    assert (config.hidden_size, config.region_feature_size, config.region_classes) == (SIZES["hidden_size"], 8, 5)
    scorer = interbert.load(out, device="cpu")
    assert 0 < scorer.predict(("a dog", random_regions(np.random.default_rng(0), 3))) < 1
    assert "Its scores mean nothing" in (out / "README.md").read_text(encoding="utf-8")


def test_equal_seeds_give_equal_runs_and_others_do_not(bert: Path, tmp_path: Path) -> None:
    def weights(seed: int) -> bytes:
        command = ["convert", "bert", bert, "--out", tmp_path / "run", "--preset", "tiny", "--seed", seed]
        assert cli.run([*map(str, command), "--quiet"]) == 0
        return (tmp_path / "run" / "model.safetensors").read_bytes()

    assert weights(1) == weights(1) != weights(2)


def test_a_run_from_a_bert_is_pretrained_with_features_scaled(bert: Path, tmp_path: Path, corpus: Corpus) -> None:
    run = tmp_path / "run"
    command = ["convert", "bert", bert, "--out", run, "--preset", "tiny", "--set", "region_feature_size=8"]
    assert cli.run([*map(str, command), "--quiet"]) == 0
    assert ExtractorInfo.load(run / "extractor.json").name == UNKNOWN
    pretrain([corpus.folder], tmp_path / "out", few_steps(), init=str(run), progress=False)
    trained = InterBert.from_pretrained(tmp_path / "out")
    assert not InterBert.from_pretrained(run).image_embedding.is_standardised
    assert trained.image_embedding.is_standardised


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--preset", "smal"], 2, "there is no preset 'smal'; did you mean 'small'?"),
        (["--preset", "tiny", "--set", "headz=2"], 2, "did you mean 'heads'"),
        (["--preset", "tiny", "--set", "interaction_layers=9"], 1, "got a BERT of 4 layers, wanted at least 9"),
    ],
)
def test_what_a_bert_cannot_start_is_a_sentence(
    bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, said: str
) -> None:
    assert cli.run(["convert", "bert", str(bert), "--out", str(tmp_path / "run"), *arguments]) == status
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_card_of_a_converted_run_says_where_it_is_from(fixture: Path, tmp_path: Path) -> None:
    converted(fixture, tmp_path / "run", *recorded(fixture))
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "license: mit" in card
    assert "Converted from `model.bin`" in card
    assert "largest difference of a tensor" in card
    assert str(tmp_path) not in card


def test_every_preset_is_named_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(["convert", "bert", "--help"])
    said: Any = capsys.readouterr().out
    assert all(name in said for name in PRESETS)
