"""A question with its choices as words, and words that name objects with the slots of their regions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from task_helpers import TOKENIZER, given
from vcr_helpers import metadata, row, store, written

from interbert.tasks.vcr_files import VcrQuestion, read_vcr
from interbert.tasks.vcr_reading import Choice, VcrReader
from interbert.vision.store import RegionStore


def question(folder: Path) -> VcrQuestion:
    return read_vcr(written(folder / "val.jsonl", [row(0)])).splits["validation"][0]


def reader(folder: Path, stand_ins: bool = False, max_tokens: int = 24, pictures: int = 1) -> VcrReader:
    return VcrReader(store(folder, pictures), given("vcr"), [folder], max_tokens, stand_ins)


def test_a_question_and_its_choice_are_two_texts_with_links(tmp_path: Path) -> None:
    reading = reader(tmp_path)
    found = reading.texts(Choice(question(tmp_path), "picture 0", "answer"), {0: 3, 1: 2})
    unknown, cls, sep = TOKENIZER.unknown_id, TOKENIZER.cls_id, TOKENIZER.sep_id  # the tiny vocabulary has no names
    word = {text: TOKENIZER.encode(text)[1] for text in ("two", "on", "the", "road", "dog", "play")}
    first = [word["two"], unknown, unknown, unknown, word["on"], word["the"], word["road"], unknown]
    assert found[0].words == [cls, *first, sep, word["dog"], word["play"], sep]
    assert found[0].types == [0] * 10 + [1] * 3
    assert found[0].links == [
        0,
        0,
        3,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        2,
        0,
        0,
    ]  # jordan in slot 3, "and", casey in none, the dog in 2
    assert len(found) == 4


def test_a_rationale_follows_the_question_and_an_answer(tmp_path: Path) -> None:
    reading, asked = reader(tmp_path), question(tmp_path)
    with_cat = reading.texts(Choice(asked, "picture 0", "rationale", after=1), {})[0].words
    answer = reading.texts(Choice(asked, "picture 0", "answer"), {})[1].words
    assert with_cat[:-2] == [*[piece for piece in answer[:-1] if piece != TOKENIZER.sep_id], TOKENIZER.sep_id]
    assert with_cat[-2] == TOKENIZER.encode("old")[1]


def test_links_are_cut_with_their_words(tmp_path: Path) -> None:
    found = reader(tmp_path, max_tokens=8).texts(Choice(question(tmp_path), "picture 0", "answer"), {1: 4})[0]
    assert len(found.words) == len(found.types) == len(found.links) == 8
    assert found.links == [0, 0, 0, 0, 0, 4, 0, 0]


def test_of_long_texts_the_question_is_cut_and_never_an_answer_as_long_as_there_is_a_question(tmp_path: Path) -> None:
    asked = question(tmp_path)  # of 8 pieces; its longest answer has 2
    whole = reader(tmp_path).texts(Choice(asked, "picture 0", "answer"), {})
    for most in (12, 8, 5):
        cut = reader(tmp_path / str(most), max_tokens=most).texts(Choice(asked, "picture 0", "answer"), {})
        for long, short in zip(whole, cut, strict=True):
            assert (
                short.words[: most - 4] == long.words[: most - 4]
            )  # [CLS] and as much of the question as there is room
            assert short.words[most - 4 :] == long.words[9:]


def test_before_the_four_choices_stands_the_same_text_also_where_it_is_cut(tmp_path: Path) -> None:
    asked = replace(question(tmp_path), answers=(("dog",), ("a", "red", "dog"), ("old", "cat"), ("cat",)))
    found = reader(tmp_path, max_tokens=9).texts(Choice(asked, "picture 0", "answer"), {})
    assert {tuple(text.words[:5]) for text in found} == {tuple(found[0].words[:5])}
    assert [len(text.words) for text in found] == [7, 9, 8, 7]


def test_of_a_rationale_and_the_answer_before_it_the_longer_is_cut(tmp_path: Path) -> None:
    asked = replace(question(tmp_path), rationales=(("old",) * 9,) * 4)
    found = reader(tmp_path, max_tokens=9).texts(Choice(asked, "picture 0", "rationale", after=3), {})[0]
    big, tree, old = (TOKENIZER.encode(word)[1] for word in ("big", "tree", "old"))
    assert found.words == [TOKENIZER.cls_id, big, tree, TOKENIZER.sep_id, *[old] * 4, TOKENIZER.sep_id]


@pytest.mark.parametrize(("most", "cut"), [(24, ""), (13, ""), (12, "question"), (5, "question"), (4, "choice")])
def test_what_is_cut_is_known(tmp_path: Path, most: int, cut: str) -> None:
    fit = reader(tmp_path, max_tokens=most).fit(Choice(question(tmp_path), "picture 0", "answer"))
    assert (fit.cut, fit.positions) == (cut, 1 + 4 + min(most, 13))


def test_an_object_is_linked_to_the_region_that_overlaps_its_box_most(tmp_path: Path) -> None:
    reading = reader(tmp_path)
    boxes = RegionStore(tmp_path / "regions")["picture 0"].boxes.tolist()
    nowhere = [0.0, 79.0, 1.0, 80.0]
    metadata(tmp_path / "films" / "picture 0.json", [boxes[2] + [1], nowhere + [1], boxes[0] + [1]])
    scene = reading.scene(Choice(question(tmp_path), "picture 0", "answer"))
    assert scene.slots == {0: 3, 2: 1}  # the slot before the regions is the whole picture


def test_without_metadata_nothing_is_linked(tmp_path: Path) -> None:
    assert reader(tmp_path).scene(Choice(question(tmp_path), "picture 0", "answer")).slots == {}


def test_stand_ins_have_a_region_for_every_object(tmp_path: Path) -> None:
    reading = reader(tmp_path, stand_ins=True)
    scene = reading.scene(Choice(question(tmp_path), None, "answer"))
    assert len(scene.regions) == 3
    assert scene.slots == {0: 1, 1: 2, 2: 3}
    metadata(tmp_path / "films" / "picture 0.json", [[0, 0, 10, 10, 0.5]] * 3)
    scene = reading.scene(Choice(question(tmp_path), None, "answer"))
    assert scene.regions.boxes[0].tolist() == [0, 0, 10, 10]
    assert scene.regions.image_size == (100, 80)


def test_a_picture_that_is_not_there_is_counted_or_stood_in_for(tmp_path: Path) -> None:
    asked = question(tmp_path)
    left_out: Counter[str] = Counter()
    assert reader(tmp_path / "a").find(asked, left_out) == (True, "picture 0")
    assert reader(tmp_path / "b", pictures=0).find(asked, left_out) == (False, None)
    assert left_out == {"its picture is not in the region store": 1}


def test_the_positions_are_those_of_the_longest_text_with_the_regions(tmp_path: Path) -> None:
    reading, choice = reader(tmp_path), Choice(question(tmp_path), "picture 0", "rationale", after=0)
    assert reading.fit(choice).positions == 1 + 4 + max(len(text.words) for text in reading.texts(choice, {}))
