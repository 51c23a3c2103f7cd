"""Visual question answering: vocabulary, soft targets, loss, score; what cannot be read is counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretraining_helpers import EXTRACTOR, random_regions
from task_helpers import CONFIG, TOKENIZER, given, saved_run, task_model

from interbert.errors import InterbertError, UsageError
from interbert.tasks.finetuning import Finetuning, finetune
from interbert.tasks.task import Asked
from interbert.tasks.vqa import AnswerBatch, AnswerHead, Vqa, VqaOptions, answer_logits
from interbert.training.settings import Training
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore

TWICE = VqaOptions(min_occurrences=2)
Rows = Sequence[Mapping[str, Any]]


def questions(folder: Path, train: Rows, validation: Rows = ()) -> Path:
    for name, rows in (("train", train), ("val", validation)):
        if rows:
            (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def row(image: int, text: str, *answers: str) -> dict[str, Any]:
    return {"image": f"picture {image}", "question": text, "answers": list(answers), "answer_type": "other"}


SAYS = {"a dog": "yes", "cat": "no"}
ROWS = [row(at % 4, text, *[answer] * 4, "old") for at, (text, answer) in enumerate([*SAYS.items()] * 4)]


def store(folder: Path, pictures: int = 4, extractor: ExtractorInfo = EXTRACTOR) -> Path:
    random = np.random.default_rng(0)
    with RegionStore.writer(folder / "regions", extractor) as writer:
        for number in range(pictures):
            writer.append(f"picture {number}", random_regions(random, 3 + number))
    return folder / "regions"


def opened(
    folder: Path, rows: Rows = ROWS, validation: Rows = ROWS, options: VqaOptions = TWICE, **changes: Any
) -> Vqa:
    data = folder / "data"
    data.mkdir()
    return Vqa.open(questions(data, rows, validation), options, given("vqa", **{"store": store(folder), **changes}))


def batch_of(task: Vqa, *places: int) -> AnswerBatch:
    batch = task.make(np.array(places), [torch.Generator()] * len(places), 0)
    assert isinstance(batch, AnswerBatch)
    return batch


def test_the_vocabulary_is_what_training_answers_often(tmp_path: Path) -> None:
    task = opened(tmp_path)
    assert task.answers == ("no", "yes")  # "old" is never the most common answer
    assert task.facts() == {"answers": ["no", "yes"], "with_pictures": True}


def test_the_answers_of_a_finetuned_run_are_kept(tmp_path: Path) -> None:
    facts = {"answers": ["cat", "yes"], "with_pictures": True}
    assert opened(tmp_path, facts=facts).answers == ("cat", "yes")


def test_a_run_that_was_finetuned_with_pictures_wants_them(tmp_path: Path) -> None:
    for with_pictures, says in ((True, "was finetuned with pictures; give --store"), (False, "on questions alone")):
        folder = tmp_path / says
        folder.mkdir()
        facts = {"answers": ["yes"], "with_pictures": with_pictures}
        with pytest.raises(InterbertError, match=says):
            opened(folder, facts=facts, **({"store": None} if with_pictures else {}))


def test_no_common_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="no answer is the common one of 9 training questions"):
        opened(tmp_path, options=VqaOptions())
    with pytest.raises(UsageError, match="min_occurrences: got 0"):
        VqaOptions(min_occurrences=0)


def test_training_questions_without_answers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InterbertError, match="no training question has answers, from which"):
        opened(tmp_path, rows=[row(0, "a dog")])


def test_a_batch_has_the_question_the_picture_and_soft_targets(tmp_path: Path) -> None:
    task = opened(tmp_path)
    batch = batch_of(task, 1, 2)
    assert batch.words is not None
    assert batch.words[0, :3].tolist() == TOKENIZER.encode("cat")
    assert batch.regions_valid is not None
    assert batch.regions_valid.sum(1).tolist() == [5, 6]  # pictures 1 and 2 have 4 and 5 regions
    assert batch.targets is not None
    assert torch.allclose(batch.targets, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert task.lengths.tolist()[:3] == [4 + 4, 3 + 5, 4 + 6]


def test_the_loss_sums_binary_cross_entropy_over_the_answers(tmp_path: Path) -> None:
    task = opened(tmp_path)
    model, batch = task_model(task.head(CONFIG)), batch_of(task, 0, 1)
    probability = answer_logits(model, batch).sigmoid()
    assert batch.targets is not None
    wanted = -(batch.targets * probability.log() + (1 - batch.targets) * (1 - probability).log()).sum()
    assert torch.allclose(task.losses(model, batch)["answers"], wanted)
    assert task.counts(batch) == {"answers": 2.0}


def test_a_new_head_over_3129_answers_has_the_loss_that_the_paper_implies() -> None:
    logits = AnswerHead(CONFIG, 3129)(torch.rand(2, CONFIG.fusion_size))
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.zeros(2, 3129), reduction="sum") / 2
    assert abs(loss.item() - 3129 * 0.6931) < 25  # 2,169


def test_the_picture_changes_the_answer_and_a_question_alone_has_none(tmp_path: Path) -> None:
    task = opened(tmp_path)
    model, batch = task_model(task.head(CONFIG)), batch_of(task, 0, 1)
    swapped = batch.with_images_of(torch.tensor([1, 0]))
    assert not torch.allclose(answer_logits(model, batch), answer_logits(model, swapped), atol=1e-7)
    assert answer_logits(model, batch.text_alone()).shape == (2, 2)


def test_what_cannot_be_read_is_counted(tmp_path: Path) -> None:
    bad = [row(9, "a dog", "yes", "yes"), row(0, "a dog", "tree", "tree"), row(0, "a cat", "yes", "no")]
    task = opened(tmp_path, rows=[*ROWS, *bad], min_regions=4)
    part = task.part("train")
    assert len(part.asked) == 6  # of 11
    assert part.left_out == {
        "its picture has fewer than 4 regions": 3,
        "its picture is not in the region store": 1,
        "no answer of it is in the vocabulary": 1,
    }
    found = task.evaluate(task_model(task.head(CONFIG)), Asked(run=tmp_path, split="validation"))
    assert (found["questions"], found["left_out"]) == (6, 2)


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    task = opened(tmp_path, validation=[row(9, "a dog", "yes", "yes")])
    with pytest.raises(InterbertError, match="no question of the validation split is left: its picture is not in"):
        task.part("validation")


def test_regions_of_another_extractor_are_refused(tmp_path: Path) -> None:
    other = store(tmp_path / "other", extractor=ExtractorInfo("another", 8, EXTRACTOR.classes))
    with pytest.raises(InterbertError, match="is of another extractor than the model's: name 'random' and 'another'"):
        opened(tmp_path, store=other)


def test_the_score_is_the_challenges(tmp_path: Path) -> None:
    task = opened(tmp_path, validation=[row(0, "a dog", *["yes"] * 2, *["no"] * 8), row(1, "cat", *["old"] * 10)])
    model = task_model(task.head(CONFIG))
    said = task.predict(model, task.part("validation").asked)
    wanted = {"yes": 0.6, "no": 1.0}[said[0]]
    found = task.evaluate(model, Asked(run=tmp_path, split="validation"))
    assert found["metrics"]["vqa_score"]["value"] == pytest.approx(wanted / 2)
    assert found["official"]["overall"] == pytest.approx(50 * wanted)
    assert found["without_known_answer"] == 1
    assert found["metrics"]["vqa_score"]["chance"] == 0.5  # always "no"
    assert task.validate(model) == {"vqa_score": pytest.approx(wanted / 2)}


def test_a_submission_has_every_question(tmp_path: Path) -> None:
    task = opened(tmp_path)
    asked = Asked(run=tmp_path, split="validation", submission=tmp_path / "answers.json")
    task.evaluate(task_model(task.head(CONFIG)), asked)
    written = json.loads((tmp_path / "answers.json").read_text())
    assert [entry["question_id"] for entry in written] == [str(at + 1) for at in range(8)]
    assert {entry["answer"] for entry in written} <= {"yes", "no"}


def test_a_submission_has_also_the_questions_whose_picture_is_not_there(tmp_path: Path, caplog: Any) -> None:
    asked_of = [row(9, "a dog"), row(3, "cat"), row(0, "cat")]  # pictures of no, of 6 and of 3 regions
    task = opened(tmp_path, validation=asked_of, min_regions=4)
    asked = Asked(run=tmp_path, split="validation", submission=tmp_path / "answers.json")
    found = task.evaluate(task_model(task.head(CONFIG)), asked)
    written = json.loads((tmp_path / "answers.json").read_text())
    assert sorted(entry["question_id"] for entry in written) == ["1", "2", "3"]
    assert found["submission"] == {"questions": 3, "with_few_regions": 1, "without_picture": 1}
    assert (found["questions"], found["left_out"]) == (1, 2)  # the figures are of those read as finetuned
    assert "1 questions are answered without their picture, which the store does not have" in caplog.text


def test_without_its_picture_a_question_is_answered_beside_the_mean_of_all_regions(tmp_path: Path) -> None:
    task = opened(tmp_path, validation=[row(9, "a dog"), row(0, "cat")])
    batch = task._batch(task.part("validation").others)
    regions = [RegionStore(tmp_path / "regions")[f"picture {at}"].features for at in range(4)]
    assert batch.features is not None
    mean = torch.from_numpy(np.concatenate(regions).astype(np.float32).mean(0))
    assert torch.allclose(batch.features[0], mean.expand(2, -1), atol=1e-5)


def test_without_a_store_questions_are_read_alone(tmp_path: Path) -> None:
    task = opened(tmp_path, store=None)
    batch = batch_of(task, 0, 1)
    assert batch.features is None
    found = task.evaluate(task_model(task.head(CONFIG)), Asked(run=tmp_path, split="validation"))
    assert found["reads"] == "question alone"


def test_examples_show_what_people_said(tmp_path: Path) -> None:
    task = opened(tmp_path)
    shown = task.examples(task_model(task.head(CONFIG)), 1)
    assert [one.right for one in shown] == [True, False]
    assert shown[0].said in ("yes; people: yes (4), old (1)", "no; people: no (4), old (1)")
    assert len(shown[0].pictures[0].boxes) >= 3
    assert all(one.score is not None and 0 < one.score < 1 for one in shown)


def test_finetuning_learns_the_answers_and_keeps_them(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    training = Training(learning_rate=0.003, ema=None, validate_every=30)
    plan = Finetuning("vqa", TWICE, epochs=30, batch_size=4, training=training)
    run = saved_run(tmp_path / "run")
    found = finetune(
        "vqa", questions(data, ROWS, ROWS), str(run), tmp_path / "out", plan, store=store(tmp_path), progress=False
    )
    assert found.validation["vqa_score"] == 1.0
    assert json.loads((tmp_path / "out" / "task.json").read_text())["facts"]["answers"] == ["no", "yes"]


def test_long_questions_are_cut_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = opened(tmp_path, rows=[*ROWS, row(0, "dog " * 40, "yes", "yes")])
    assert max(len(one.words) for one in task.part("train").asked) == CONFIG.max_text_tokens
    assert "1 of 9 questions are longer than 24 tokens: cut" in caplog.text
    assert task.evaluate(task_model(task.head(CONFIG)), Asked(run=tmp_path, split="validation"))["cut"] == 0


def test_without_a_validation_split_there_is_nothing_to_validate_or_show(tmp_path: Path) -> None:
    task = opened(tmp_path, validation=())
    model = task_model(task.head(CONFIG))
    assert task.validate(model) == {}
    assert task.examples(model, 3) == []
