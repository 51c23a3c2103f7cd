"""Questions about pictures: the files of the VQA challenge, and one's own in jsonl or csv (4.2, VQA 2.0).

In: the challenge's `*_questions.json` with the `*_annotations.json` beside it, or rows with an image, a question and
answers. Out: `Question`s by split.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interbert.corpus.readers import Malformed, json_of, list_of
from interbert.errors import InterbertError
from interbert.files import whole_file
from interbert.tasks.rows import Examples, Row, id_in, read_examples, rows_of, split_of_row, text_in
from interbert.tasks.vqa_answers import most_common, normalised

ANNOTATORS = 10  # of the challenge; a lone answer counts as that of all of them
SEPARATOR = "|"  # between the answers of a csv's column


@dataclass(frozen=True)
class Question:
    """A question about a picture. pictures: names that the picture may have, the source's own first.

    answers: what each annotator said; empty in a test set.  common: what most of them said, "" where there are none.
    """

    id: int | str
    pictures: tuple[str, ...]
    text: str
    answers: tuple[str, ...] = ()
    common: str = ""
    answer_type: str = ""
    question_type: str = ""


def read_questions(data: Path) -> Examples[Question]:
    """The questions of a file, or of a folder's `*questions.json`, `*.jsonl`, `*.csv` or `*.tsv`, by split.

    Raises as `read_examples`. An entry without a question, a picture or readable answers is malformed.
    """

    def read(path: Path, malformed: Malformed) -> Iterator[tuple[str | None, Question]]:
        if path.name.removesuffix(".gz").endswith(".json"):
            yield from ((None, question) for question in _of_challenge(path, malformed))
            return
        for place, row in rows_of(path, malformed):
            try:
                question = _of_row(row, place)
                split = split_of_row(row)
            except ValueError as error:
                malformed.add(place, str(error))
                continue
            yield split, question

    return read_examples(data, ("questions.json", ".jsonl", ".csv", ".tsv"), read)


def _of_challenge(path: Path, malformed: Malformed) -> Iterator[Question]:
    whole = json_of(path)
    subtype = str(whole.get("data_subtype", "")) if isinstance(whole, dict) else ""
    annotations = _annotations(path, malformed)
    for at, entry in enumerate(list_of(whole, "questions", path)):
        malformed.seen += 1
        try:
            id = entry["question_id"]
            if annotations is not None and id not in annotations:
                raise ValueError(f"question_id {id!r:.30} is not among the annotations")
            annotation = annotations[id] if annotations is not None else {}
            pictures = picture_names(entry["image_id"], subtype)
            question = _question(id, pictures, {**annotation, "question": entry["question"]})
        except (KeyError, ValueError) as error:
            malformed.add(f"question {at}", f"no {error}" if isinstance(error, KeyError) else str(error))
            continue
        yield question


def _annotations(path: Path, malformed: Malformed) -> dict[Any, dict[str, Any]] | None:
    """question_id -> entry of the annotations beside a file of questions; None where there are none (a test set)."""
    name = path.name.replace("OpenEnded_", "").replace("MultipleChoice_", "").replace("questions", "annotations")
    beside = path.with_name(name)
    if name == path.name:
        raise InterbertError(f"'{path}' is not named as the challenge's questions are; wanted …_questions.json")
    if not beside.is_file():
        return None
    found: dict[Any, dict[str, Any]] = {}
    for at, entry in enumerate(list_of(json_of(beside), "annotations", beside)):
        if "question_id" in entry:
            found[entry["question_id"]] = entry
        else:
            malformed.seen += 1
            malformed.add(f"annotation {at}", "no question_id")
    return found


def picture_names(image: object, subtype: str = "") -> tuple[str, ...]:
    """The names that a picture of COCO may have in a region store; another's is its own.

    subtype: the part of COCO it is of ("train2014"), where that is known.

    >>> picture_names(25, "train2014")
    ('25', 'COCO_train2014_000000000025', '000000000025')
    """
    if not isinstance(image, str | int) or isinstance(image, bool) or image == "":
        raise ValueError(f"the picture is {image!r:.60}, wanted a name or a number")
    name = str(image)
    if not name.isdecimal():
        return (name,)
    parts = [subtype] if subtype else ["train2014", "val2014", "test2015"]
    return (name, *(f"COCO_{part}_{int(name):012d}" for part in parts), f"{int(name):012d}")


def _of_row(row: Row, place: str) -> Question:
    image = next((row[name] for name in ("image", "image_id", "file_name") if row.get(name) not in (None, "")), None)
    names = picture_names(image)
    if isinstance(row.get("image_id"), str | int) and image is not row["image_id"]:
        names = tuple(dict.fromkeys([*names, *picture_names(row["image_id"])]))
    return _question(id_in(row, place, "question_id", "id"), names, row)


def _question(id: Any, pictures: tuple[str, ...], entry: Row) -> Question:
    if not isinstance(id, str | int):
        raise ValueError(f"question_id is {id!r:.30}, wanted a number or a text")
    answers = _answers(entry)
    common = entry.get("multiple_choice_answer") or (most_common(answers) if answers else "")
    kinds = (str(entry.get(name) or "") for name in ("answer_type", "question_type"))
    return Question(id, pictures, text_in(entry, "question").strip(), answers, str(common), *kinds)


def _answers(entry: Row) -> tuple[str, ...]:
    name = "answers" if entry.get("answers") not in (None, "", []) else "answer"
    given = entry.get(name)
    if given in (None, "", []):
        return ()
    if isinstance(given, str):
        given = given.split(SEPARATOR) if name == "answers" else [given]
    if not isinstance(given, list):
        raise ValueError(f"{name}: got {given!r:.60}, wanted {'a list of texts' if name == 'answers' else 'a text'}")
    texts = [answer.get("answer") if isinstance(answer, dict) else answer for answer in given]
    said = tuple(text for text in texts if isinstance(text, str))
    if len(said) < len(texts):
        raise ValueError(f"answers are {given!r:.60}, wanted texts")
    return said if len(said) > 1 else (normalised(said[0]),) * ANNOTATORS


def write_submission(path: Path, questions: Sequence[Question], answers: Sequence[str]) -> None:
    """The challenge's form: a json list of {"question_id", "answer"}."""
    with whole_file(path) as file:
        rows = [
            {"question_id": question.id, "answer": answer} for question, answer in zip(questions, answers, strict=True)
        ]
        json.dump(rows, file, ensure_ascii=False)
        file.write("\n")
