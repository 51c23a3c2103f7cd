"""Steps of the library: what they find is what the commands find; and costs, processes, the version."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from interbert.config import preset
from interbert.errors import InterbertError
from interbert.pretraining.stages import Stage
from interbert.reproduce import processes
from interbert.reproduce.cost import pair_operations, stage_operations
from interbert.reproduce.generated import SplitQuestions, cola_rows, rte_rows, sst2_rows, stsb_rows, vcr_rows, vqa_rows
from interbert.reproduce.processes import under_torchrun
from interbert.reproduce.steps import files_of
from interbert.reproduce.version import program_version

PRODUCTS = [
    {"id": f"{kind}-{at}", "title": f"{kind} number {at}", "kind": kind, "category": "things"}
    for kind in ("bird", "fruit")
    for at in range(6)
]


def test_the_cost_of_a_layer_is_that_of_its_products_by_hand() -> None:
    model = preset("tiny")  # 64 wide, 256 in the middle, 2 layers over both, 1 over each side
    one_place = 2 * (4 * 64 * 64 + 2 * 64 * 256)
    both = 2 * (8 * one_place + 4 * 64 * 8 * 8)
    sides = (3 * one_place + 4 * 64 * 9) + (5 * one_place + 4 * 64 * 25)
    assert pair_operations(model, 3, 5) == both + sides


def test_a_stage_of_each_side_alone_costs_less_and_hard_negatives_more() -> None:
    model = preset("small")
    plain = stage_operations(Stage(), model, 100, 14, 21)
    assert plain == 100 * 3 * pair_operations(model, 14, 21)
    assert stage_operations(Stage(hard_negatives=0.5), model, 100, 14, 21) == pytest.approx(plain * 4 / 3)
    assert stage_operations(Stage("none", "none", matching="alone"), model, 100, 14, 21) < plain
    assert stage_operations(Stage(epochs=3), model, 100, 14, 21) == 3 * plain


def test_a_failing_command_of_several_processes_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "torchrun", lambda command, count: [sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(InterbertError, match="'interbert pretrain' failed in 2 processes"):
        under_torchrun(["interbert", "pretrain"], 2)


def test_what_several_processes_say_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys; sys.stdout.write('a line before\\n{\"steps\": 3}\\n')"
    monkeypatch.setattr(processes, "torchrun", lambda command, count: [sys.executable, "-c", code])
    assert under_torchrun(["interbert", "pretrain"], 2) == {"steps": 3}


def test_data_are_named_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("one\n")
    (tmp_path / "picture.png").write_text("not counted")
    before = files_of(tmp_path)["data"]
    assert (before["files"], before["bytes"]) == (1, 4)
    (tmp_path / "train.tsv").write_text("two\n")
    assert files_of(tmp_path)["data"]["hash"] != before["hash"]


def test_questions_are_split_by_picture_and_none_is_lost(tmp_path: Path) -> None:
    lines = [f'{{"img_fn": "{picture}.jpg", "question": {at}}}' for picture in range(10) for at in range(3)]
    (tmp_path / "all_val.jsonl").write_text("\n".join(lines) + "\n")
    step = SplitQuestions(name="vcr", root=tmp_path / "out", questions=tmp_path / "all_val.jsonl")
    assert step.do(False) == {"questions": 30, "held_out": 6, "pictures": 10}
    train, val = ((step.folder / f"{name}.jsonl").read_text().splitlines() for name in ("train", "val"))
    assert sorted(train + val) == sorted(lines)
    assert {line.split(",")[0] for line in train}.isdisjoint(line.split(",")[0] for line in val)


def test_generated_questions_have_one_right_choice_of_four() -> None:
    for row, product in zip(vcr_rows(PRODUCTS), PRODUCTS, strict=True):
        assert product["title"] in row["answer_choices"][row["answer_label"]]
        assert product["kind"] in row["rationale_choices"][row["rationale_label"]]
        assert len({tuple(map(str, choice)) for choice in row["answer_choices"]}) == 4
        assert sum(product["kind"] in choice for choice in row["rationale_choices"]) == 1
    assert vcr_rows(PRODUCTS) == vcr_rows(PRODUCTS)
    assert vqa_rows(PRODUCTS)[0]["answer"] == "bird"


def test_generated_sentences_have_the_labels_that_they_say() -> None:
    from interbert.draws import generator_for

    good = [row[-1] for row in cola_rows(PRODUCTS, 40, generator_for("a")) if row[1] == "1"]
    assert all(text.startswith("there is a picture of") for text in good)
    assert len(good) == 20
    for text, label in sst2_rows(PRODUCTS, 40, generator_for("b")):
        assert (text.split()[1] in ("lovely", "charming", "splendid")) == (label == "1")
    for _, one, other, score in stsb_rows(PRODUCTS, 60, generator_for("c")):
        same = one.removeprefix("a picture of ") == other.removeprefix("this shows ")
        assert (score == "5.000") == same
    for _, premise, said, label in rte_rows(PRODUCTS, 40, generator_for("d")):
        kind = said.removeprefix("this is a picture of ")
        assert (kind in premise) == (label == "entailment")


def test_the_version_is_of_this_program() -> None:
    import interbert

    assert program_version().startswith(interbert.__version__)
