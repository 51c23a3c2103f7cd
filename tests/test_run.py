"""`pretrain`: what a run leaves, how it is started, and what it refuses."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bert_helpers import bert_tensors, write_bert
from pretraining_helpers import PIECES, few_steps, random_corpus, random_tokenizer, text_corpus
from safetensors.torch import load_file
from torch import Tensor

from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError, UsageError
from interbert.model.interbert import InterBert
from interbert.pretraining.job import Pretraining
from interbert.pretraining.run import feature_sample, init_kind, pretrain, started
from interbert.pretraining.stages import Stage
from interbert.text.tokenizer import Tokenizer
from interbert.training.journal import read_journal
from interbert.training.loop import Summary
from interbert.vision.provenance import TEXT_ALONE, ExtractorInfo

STANDS_STILL = 1e-12  # a learning rate that leaves float32 weights of this size as they are


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return random_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def run(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, trained(corpus, out)


def trained(corpus: Corpus, out: Path, plan: Pretraining | None = None, init: str | None = None) -> Summary:
    return pretrain([corpus.folder], out, plan or few_steps(), init=init, progress=False)


def weights(out: Path) -> dict[str, Tensor]:
    return load_file(out / "model.safetensors")


def losses(out: Path) -> list[dict[str, float]]:
    return [line["losses"] for line in read_journal(out / "training.jsonl") if "losses" in line]


def test_a_run_leaves_its_files(run: tuple[Path, Summary], corpus: Corpus) -> None:
    out, summary = run
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "extractor.json", "training.jsonl", "report.html"}
    wanted |= {"README.md", "checkpoints"}
    assert {path.name for path in out.iterdir()} == wanted
    assert (summary.steps, summary.pairs, summary.resumed_from) == (4, 32, None)
    assert Tokenizer.load(out / "tokenizer.json").digest == corpus.tokenizer_digest
    assert ExtractorInfo.load(out / "extractor.json") == corpus.extractor
    assert "Training report" in (out / "report.html").read_text(encoding="utf-8")


def test_a_run_has_the_sizes_of_its_corpus_and_its_features_scale(run: tuple[Path, Summary], corpus: Corpus) -> None:
    model = InterBert.from_pretrained(run[0])
    config = model.config
    assert (config.vocabulary_size, config.region_feature_size, config.region_classes) == (19, 8, 5)
    sample = feature_sample(corpus, seed=0)
    assert len(sample) == sum(corpus.region_count(image) for image in range(18))  # of the training pictures alone
    assert model.image_embedding.feature_mean is not None
    assert torch.allclose(model.image_embedding.feature_mean, sample.mean(0), atol=1e-6)


def test_a_log_has_a_line_a_step_with_every_loss_and_the_validation(run: tuple[Path, Summary]) -> None:
    lines = read_journal(run[0] / "training.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4]
    assert {line["stage"] for line in lines[:4]} == {"msm+mrm+itm"}
    found = losses(run[0])  # of a step that hides no word of a matching pair, the words' is left out
    assert set().union(*found) == {"words", "regions", "matching"}
    assert all("matching" in line for line in found)
    assert all(math.isfinite(value) for line in found for value in line.values())
    assert lines[4]["validation"] == run[1].validation
    assert "matching_accuracy" in run[1].validation


def test_the_same_again_after_the_end_trains_nothing_and_changes_nothing(
    run: tuple[Path, Summary], corpus: Corpus
) -> None:
    out, summary = run
    names = ("config.json", "model.safetensors", "tokenizer.json", "extractor.json", "training.jsonl")
    before = {name: (out / name).read_bytes() for name in names}
    again = trained(corpus, out)
    assert again == replace(summary, resumed_from=4)
    assert {name: (out / name).read_bytes() for name in names} == before


def test_two_runs_of_the_same_are_equal_to_the_bit(run: tuple[Path, Summary], corpus: Corpus, tmp_path: Path) -> None:
    trained(corpus, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (run[0] / "model.safetensors").read_bytes()


def test_micro_batches_change_neither_losses_nor_weights(corpus: Corpus, tmp_path: Path) -> None:
    plan = few_steps(precision="fp32", learning_rate=1e-4)
    plan = replace(plan, model=replace(plan.model, dropout=0.0, attention_dropout=0.0))
    for name, micro in (("whole", None), ("cut", 3)):
        trained(corpus, tmp_path / name, replace(plan, micro_batch_size=micro))
    for one, other in zip(losses(tmp_path / "whole"), losses(tmp_path / "cut"), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.allclose(tensor, cut[name], atol=1e-5) for name, tensor in whole.items())


def test_another_corpus_in_a_runs_folder_is_refused_and_leaves_the_run_whole(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    trained(corpus, out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    other = random_corpus(tmp_path / "other", tokenizer=random_tokenizer((*PIECES[1:], PIECES[0])), seed=1)
    with pytest.raises(InterbertError, match="of a run that differs"):
        trained(other, out)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_a_finished_run_without_checkpoints_is_not_written_over(corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "run"
    trained(corpus, out)
    shutil.rmtree(out / "checkpoints")
    before = (out / "model.safetensors").read_bytes()
    for init in (None, str(out)):
        with pytest.raises(InterbertError, match="holds a finished run, without checkpoints to go on from"):
            trained(corpus, out, init=init)
    assert (out / "model.safetensors").read_bytes() == before


def test_a_run_goes_on_from_anothers_weights(run: tuple[Path, Summary], corpus: Corpus, tmp_path: Path) -> None:
    plan = few_steps(learning_rate=STANDS_STILL)
    trained(corpus, tmp_path, plan, init=str(run[0]))
    before, after = weights(run[0]), weights(tmp_path)
    assert all(torch.allclose(tensor, before[name], atol=1e-7) for name, tensor in after.items())
    fresh = InterBert(InterBert.from_pretrained(run[0]).config).state_dict()
    assert not torch.allclose(fresh["match_head.weight"], before["match_head.weight"], atol=1e-4)


def test_from_another_run_features_keep_the_scale_that_the_weights_know(
    run: tuple[Path, Summary], tmp_path: Path
) -> None:
    other = random_corpus(tmp_path / "corpus", seed=5)
    trained(other, tmp_path / "run", init=str(run[0]))
    name = "image_embedding.feature_mean"
    assert torch.equal(weights(tmp_path / "run")[name], weights(run[0])[name])


def test_a_run_of_another_vocabulary_of_the_same_size_is_refused(run: tuple[Path, Summary], tmp_path: Path) -> None:
    other = random_corpus(tmp_path / "corpus", tokenizer=random_tokenizer((*PIECES[1:], PIECES[0])))
    with pytest.raises(InterbertError, match=r"another vocabulary .* --init new-words:"):
        trained(other, tmp_path / "run", init=str(run[0]))
    assert not (tmp_path / "run").exists()


def test_a_bert_fills_the_start_and_gives_its_sizes(corpus: Corpus, tmp_path: Path) -> None:
    bert = write_bert(tmp_path / "bert", max_position_embeddings=16)
    corpus.tokenizer().save(bert / "tokenizer.json")
    trained(corpus, tmp_path / "run", few_steps(learning_rate=STANDS_STILL), init=f"bert:{bert}")
    found, theirs = weights(tmp_path / "run"), bert_tensors()
    name = "encoder.layer.3.attention.self.query.weight"
    assert torch.allclose(found["interaction.layers.1.attention.query.weight"], theirs[name], atol=1e-6)
    assert found["text_embedding.words.weight"].shape == (19, 12)


def test_a_bert_with_another_vocabulary_is_an_error_that_says_what_to_do(corpus: Corpus, tmp_path: Path) -> None:
    bert = write_bert(tmp_path / "bert")
    random_tokenizer((*PIECES[1:], PIECES[0])).save(bert / "tokenizer.json")
    wanted = rf"another vocabulary than that of '.*'; build it again with  interbert corpus … --tokenizer bert:{bert}"
    with pytest.raises(InterbertError, match=wanted):
        trained(corpus, tmp_path / "run", init=f"bert:{bert}")


def test_a_bert_with_fewer_weights_than_pieces_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    bert = write_bert(tmp_path / "bert", vocab_size=18)
    corpus.tokenizer().save(bert / "tokenizer.json")
    with pytest.raises(InterbertError, match="weights for 18 word pieces and a vocabulary of 19"):
        trained(corpus, tmp_path / "run", init=f"bert:{bert}")


def test_an_unknown_start_is_an_error_that_says_what_is_wanted(corpus: Corpus, tmp_path: Path) -> None:
    for init in ("brt:minilm", "new-words:"):
        with pytest.raises(
            UsageError, match=f"got '{init}', wanted bert:FOLDER_OR_ID, the folder of a run or new-words:FOLDER"
        ):
            trained(corpus, tmp_path, init=init)


def test_a_folder_that_is_no_run_is_no_start(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="extractor.json"):
        trained(corpus, tmp_path / "run", init=str(corpus.folder.parent))


def test_kinds_of_starts() -> None:
    assert [init_kind(init) for init in (None, "bert:minilm", "runs/demo")] == ["random", "bert", "run"]


def test_the_paper_s_single_stream_baseline_trains(corpus: Corpus, tmp_path: Path) -> None:
    plan = few_steps()
    trained(corpus, tmp_path, replace(plan, model=replace(plan.model, independence_layers=0)))
    found = weights(tmp_path)
    assert not [name for name in found if name.startswith(("text_stream", "image_stream"))]
    assert all(torch.isfinite(tensor).all() for tensor in found.values())


def test_stages_follow_one_another(corpus: Corpus, tmp_path: Path) -> None:
    stages = (
        Stage("none", "none", matching="alone"),
        Stage("mlm", "mom"),
        Stage("msm", "none", matching="both", hard_negatives=0.5),
    )
    trained(corpus, tmp_path, replace(few_steps(), stages=stages))
    found = losses(tmp_path)
    names = [set().union(*found[start : start + 4]) for start in (0, 4, 8)]
    assert names == [{"alone"}, {"matching", "regions", "words"}, {"alone", "matching", "words"}]
    assert all(math.isfinite(value) for line in found for value in line.values())


def test_several_corpora_are_trained_on_together(corpus: Corpus, tmp_path: Path) -> None:
    other = random_corpus(tmp_path / "other", held_out=0, seed=1)
    summary = pretrain([corpus.folder, other.folder], tmp_path / "run", few_steps(), progress=False)
    assert summary.steps == 72 // 8


def test_without_held_out_pictures_a_run_has_no_validation_and_a_report(tmp_path: Path) -> None:
    corpus = random_corpus(tmp_path, held_out=0)
    assert trained(corpus, tmp_path / "run").validation == {}
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_start_changes_nothing_of_the_plan_but_the_model(corpus: Corpus, run: tuple[Path, Summary]) -> None:
    plan = few_steps()
    model, found = started(plan, str(run[0]), corpus, corpus.tokenizer())
    assert found == replace(plan, model=model.config)
    assert json.loads((run[0] / "config.json").read_text()) == model.config.to_json()


def test_regions_without_classes_cannot_be_hidden(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Corpus, "extractor", replace(corpus.extractor, classes=()))
    with pytest.raises(InterbertError, match="no classes.*stages.regions=none"):
        trained(corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()


WORDS_ALONE = replace(few_steps(2), stages=(Stage("msm", "none", epochs=2, matching="none"),))


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    folder = tmp_path_factory.mktemp("texts")
    return folder / "run", trained(text_corpus(folder), folder / "run", WORDS_ALONE)


def test_texts_alone_make_a_run_that_knows_no_pictures(of_texts: tuple[Path, Summary]) -> None:
    out, summary = of_texts
    assert summary.steps == 10
    assert set(summary.validation) == {"word_accuracy"}
    assert ExtractorInfo.load(out / "extractor.json") == TEXT_ALONE
    assert "It has read texts alone" in (out / "README.md").read_text(encoding="utf-8")
    assert {name for line in losses(out) for name in line} == {"words"}


def test_pictures_come_to_what_texts_alone_have_taught(
    of_texts: tuple[Path, Summary], corpus: Corpus, tmp_path: Path
) -> None:
    still = few_steps(learning_rate=STANDS_STILL)
    trained(corpus, tmp_path / "run", still, init=str(of_texts[0]))
    before, after = weights(of_texts[0]), weights(tmp_path / "run")
    learned = [name for name, one in before.items() if name.startswith(("text_", "interaction.", "word_head."))]
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in learned)
    assert not torch.equal(before["image_stream.layers.0.attention.query.weight"],
                           after["image_stream.layers.0.attention.query.weight"])  # fmt: skip
    model = InterBert.from_pretrained(tmp_path / "run")
    assert (model.config.region_feature_size, model.config.region_classes) == (8, 5)
    assert model.image_embedding.is_standardised


@pytest.mark.parametrize(
    "stage", [Stage(), Stage("msm", "none"), Stage("msm", "mrm", matching="none"), Stage("none", "none")]
)
def test_texts_alone_cannot_be_matched_nor_have_regions(tmp_path: Path, stage: Stage) -> None:
    corpus = text_corpus(tmp_path)
    with pytest.raises(UsageError, match="has texts alone, and the stage .* Give --recipe chinese-texts"):
        trained(corpus, tmp_path / "run", replace(few_steps(), stages=(stage,)))
    assert not (tmp_path / "run").exists()


def test_a_run_with_pictures_does_not_go_on_with_texts_alone(run: tuple[Path, Summary], tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="has texts alone, run .* has pictures"):
        trained(text_corpus(tmp_path), tmp_path / "run", WORDS_ALONE, init=str(run[0]))


def test_words_with_their_pictures_can_be_learned_without_matching(corpus: Corpus, tmp_path: Path) -> None:
    stage = Stage("msm", "mrm", matching="none")
    summary = trained(corpus, tmp_path / "run", replace(few_steps(), stages=(stage,)))
    assert set(summary.validation) == {"word_accuracy", "region_accuracy"}
    assert {name for line in losses(tmp_path / "run") for name in line} == {"words", "regions"}
