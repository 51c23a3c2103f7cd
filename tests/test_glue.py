"""GLUE's tasks: sentences alone through the text side, a head on [CLS], the metrics of the benchmark."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from task_helpers import CONFIG, TOKENIZER, given, saved_run, task_model

from interbert.errors import InterbertError, UsageError
from interbert.tasks.finetuning import Finetuning, finetune
from interbert.tasks.glue import Cola, Glue, GlueOptions, LabelledBatch, Rte, Sst2, Stsb, outputs_of
from interbert.tasks.task import Asked
from interbert.training.settings import Training

SENTENCES = ("two dogs play", "cat", "a red tree", "dogs on the road", "big cats play", "old")


def folder_of(folder: Path, task: type[Glue]) -> Path:
    """Train and dev files of six rows each. Of pairs, the second is the first one backwards."""
    columns = [*task.kind.texts, task.kind.label]
    for split in ("train", "dev"):
        rows = ["\t".join(columns)]
        for at, text in enumerate(SENTENCES):
            texts = [text, " ".join(reversed(text.split()))][: len(task.kind.texts)]
            rows.append("\t".join([*texts, str(at / 2) if task.kind.labels is None else task.kind.labels[at % 2]]))
        (folder / f"{split}.tsv").write_text("\n".join(rows) + "\n")
    return folder


def opened(folder: Path, task: type[Glue], **changes: int) -> Glue:
    return task.open(folder_of(folder, task), GlueOptions(**changes), given("glue"))


def batch_of(task: Glue, *places: int) -> LabelledBatch:
    batch = task.make(np.array(places), [torch.Generator()] * len(places), 0)
    assert isinstance(batch, LabelledBatch)
    return batch


def test_sentences_are_read_alone_with_their_labels(tmp_path: Path) -> None:
    task = opened(tmp_path, Sst2)
    batch = batch_of(task, 0, 1)
    assert batch.features is None
    assert batch.words is not None
    assert batch.words[0].tolist() == TOKENIZER.encode(SENTENCES[0])
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 1]
    assert task.lengths.tolist() == [len(TOKENIZER.encode(text)) for text in SENTENCES]


def test_a_pair_is_one_sequence_with_two_token_types(tmp_path: Path) -> None:
    batch = batch_of(opened(tmp_path, Rte), 0)
    assert batch.token_types is not None
    assert batch.token_types[0].tolist() == [0] * len(TOKENIZER.encode(SENTENCES[0])) + [1] * (
        len(TOKENIZER.encode(SENTENCES[0])) - 1
    )


def test_texts_are_cut_to_the_tokens_that_are_wanted(tmp_path: Path) -> None:
    assert max(opened(tmp_path, Rte, max_tokens=7).lengths) == 7
    with pytest.raises(UsageError, match="max_tokens: got 4, wanted at least 5"):
        GlueOptions(max_tokens=4)


def test_the_loss_of_classes_is_their_cross_entropy(tmp_path: Path) -> None:
    task = opened(tmp_path, Cola)
    model, batch = task_model(task.head(CONFIG)), batch_of(task, 0, 1, 2)
    logits = outputs_of(model, batch)
    wanted = -(logits.log_softmax(1)[torch.arange(3), batch.labels]).sum()
    assert torch.allclose(task.losses(model, batch)["labels"], wanted)
    assert task.counts(batch) == {"labels": 3.0}
    assert abs(wanted.item() / 3 - math.log(2)) < 0.05  # a new head knows nothing


def test_the_loss_of_numbers_is_their_squared_error(tmp_path: Path) -> None:
    task = opened(tmp_path, Stsb)
    model, batch = task_model(task.head(CONFIG)), batch_of(task, 0, 3)
    said = outputs_of(model, batch)[:, 0]
    assert torch.allclose(task.losses(model, batch)["labels"], (said[0] - 0.0) ** 2 + (said[1] - 1.5) ** 2)


def test_predictions_do_not_depend_on_their_neighbours(tmp_path: Path) -> None:
    task = opened(tmp_path, Stsb)
    model, examples = task_model(task.head(CONFIG)), task.found.part("validation")
    alone = [task.predict(model, [example])[0] for example in examples]
    assert np.allclose(task.predict(model, examples), alone, atol=1e-6)


@pytest.mark.parametrize(
    ("task", "names"),
    [(Cola, {"matthews", "accuracy"}), (Sst2, {"accuracy"}), (Stsb, {"spearman", "pearson"}), (Rte, {"accuracy"})],
)
def test_each_task_has_its_metrics_with_intervals(tmp_path: Path, task: type[Glue], names: set[str]) -> None:
    opened_task = opened(tmp_path, task)
    model = task_model(opened_task.head(CONFIG))
    assert set(opened_task.validate(model)) == names
    assert opened_task.metric in names
    found = opened_task.evaluate(model, Asked(run=tmp_path, split="validation"))
    assert set(found["metrics"]) == names
    assert found["examples"] == found["with_label"] == 6
    assert {name for row in task.published.values() for name in row} <= names


def test_a_test_set_without_labels_gives_a_submission_and_no_metric(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("index\tsentence\n0\ttwo dogs\n1\tcat\n")
    task = Cola.open(tmp_path, GlueOptions(), given("cola"))
    asked = Asked(run=tmp_path, split="test", submission=tmp_path / "CoLA.tsv")
    found = task.evaluate(task_model(task.head(CONFIG)), asked)
    assert found["metrics"]["matthews"]["value"] is None
    assert (found["examples"], found["with_label"]) == (2, 0)
    assert [line.split("\t")[0] for line in (tmp_path / "CoLA.tsv").read_text().splitlines()] == ["index", "0", "1"]


def test_examples_show_what_was_said_and_what_was_wanted(tmp_path: Path) -> None:
    task = opened(tmp_path, Rte)
    shown = task.examples(task_model(task.head(CONFIG)), 2)
    assert {one.right for one in shown} == {True, False}
    wrong = next(one for one in shown if not one.right)
    assert " | " in wrong.asked
    assert ", wanted " in wrong.said
    assert all(one.score is not None and 0.5 <= one.score < 1 for one in shown)  # the greater of two


def test_training_sentences_without_labels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("sentence\ntwo dogs\n")
    with pytest.raises(InterbertError, match="no training example of SST-2 has a label; give a column label"):
        _ = Sst2.open(tmp_path, GlueOptions(), given("sst2")).lengths


def test_finetuning_learns_which_sentences_have_a_dog(tmp_path: Path) -> None:
    rows = [f"{at}\t{int('dog' in text)}\t\t{text}" for at, text in enumerate(SENTENCES * 4)]
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text("\n".join(rows) + "\n")
    training = Training(learning_rate=0.01, ema=None, validate_every=30)
    plan = Finetuning("cola", GlueOptions(), epochs=20, batch_size=8, training=training)
    run = saved_run(tmp_path / "run")
    found = finetune("cola", tmp_path, str(run), tmp_path / "out", plan, progress=False)
    assert found.validation["matthews"] == 1.0


def test_numbers_are_of_32_bits_where_the_rest_is_of_16(tmp_path: Path) -> None:
    task = opened(tmp_path, Stsb)
    model = task_model(task.head(CONFIG))
    with torch.autocast("cpu", torch.bfloat16):
        said = outputs_of(model, batch_of(task, *range(6)))
    assert said.dtype == torch.float32
    assert (said != said.bfloat16().float()).any()


def test_long_texts_are_cut_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = opened(tmp_path, Rte, max_tokens=7)
    assert max(task.lengths) == 7
    assert "4 of 6 texts are longer than 7 tokens: cut" in caplog.text
    found = task.evaluate(task_model(task.head(CONFIG)), Asked(run=tmp_path, split="validation"))
    assert found["cut"] == 4


@pytest.mark.parametrize("task", [Cola, Stsb])
def test_without_a_validation_split_there_is_nothing_to_validate_or_show(tmp_path: Path, task: type[Glue]) -> None:
    folder_of(tmp_path, task)
    (tmp_path / "dev.tsv").unlink()
    found = task.open(tmp_path, GlueOptions(), given("glue"))
    model = task_model(found.head(CONFIG))
    assert found.validate(model) == {}
    assert found.examples(model, 3) == []
