"""Visual commonsense reasoning's files (4.2): jsonl of questions, json of a picture's objects; the leaderboard's csv.

A question, its four answers and four rationales are lists of words and of tags, `[0, 2]`, that count the picture's
objects; in one's own csv they are texts with tags in them. Out: `VcrQuestion`s by split, and texts in which a tag is a
name that keeps its object.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interbert.corpus.readers import Malformed, json_of
from interbert.errors import InterbertError
from interbert.files import whole_file
from interbert.tasks.rows import Examples, Row, id_in, read_examples, rows_of, split_of_row, text_in

CHOICES = 4
SEPARATOR = "|"  # between the objects of a csv's column
TAG = re.compile(r"(\[\d+(?:\s*,\s*\d+)*\])")
PERSON = "person"
PEOPLE = (  # what the persons of a picture are called, in their order: first names of any gender, one word piece each
    "jordan", "casey", "morgan", "riley", "taylor", "jamie", "robin", "quinn", "alex", "sam", "charlie", "kim",
    "jesse", "lee", "avery", "pat", "terry", "chris", "dana", "leslie",
)  # fmt: skip

Tokens = tuple[str | tuple[int, ...], ...]


@dataclass(frozen=True)
class VcrQuestion:
    """A question about a picture with its choices. objects: the class of each. rationales: none where there are none.

    answer, rationale: the place of the right one; None in a test set.
    """

    id: str
    picture: str
    metadata: str
    objects: tuple[str, ...]
    question: Tokens
    answers: tuple[Tokens, ...]
    rationales: tuple[Tokens, ...] = ()
    answer: int | None = None
    rationale: int | None = None


@dataclass(frozen=True)
class Metadata:
    """Where the objects of a picture are. boxes: float32 [N, 4] xyxy in pixels.  confidence: float32 [N]."""

    boxes: NDArray[np.float32]
    confidence: NDArray[np.float32]
    image_size: tuple[int, int]


def read_vcr(data: Path) -> Examples[VcrQuestion]:
    """The questions of a jsonl or csv file, or of a folder's (train.jsonl, val.jsonl, test.csv), by split.

    Raises as `read_examples`. A line without four choices, with a tag of no object or an unknown label is malformed.
    """

    def read(path: Path, malformed: Malformed) -> Iterator[tuple[str | None, VcrQuestion]]:
        in_columns = not path.name.removesuffix(".gz").endswith(".jsonl")
        for place, row in rows_of(path, malformed):
            try:
                question = _question(_of_columns(row, place) if in_columns else row)
                split = split_of_row(row)
            except (KeyError, ValueError) as error:
                malformed.add(place, f"no {error}" if isinstance(error, KeyError) else str(error))
                continue
            yield split, question

    return read_examples(data, (".jsonl", ".csv", ".tsv"), read)


def _of_columns(row: Row, place: str) -> Row:
    """A csv's row in VCR's own fields: a column for each choice, `answer_0` and on."""
    made: dict[str, Any] = {
        "annot_id": id_in(row, place, "annot_id", "id"),
        "img_fn": text_in(row, "img_fn", "image"),
        "metadata_fn": row.get("metadata_fn"),
        "objects": [name.strip() for name in row.get("objects", "").split(SEPARATOR) if name.strip()],
        "question": words_of(text_in(row, "question")),
    }
    for kind in ("answer", "rationale"):
        texts = {f"{kind}_{at}": row.get(f"{kind}_{at}", "").strip() for at in range(CHOICES)}
        empty = [name for name, text in texts.items() if not text]
        if empty and (kind == "answer" or len(empty) < CHOICES):  # there may be no rationales
            raise ValueError(f"no text under {', '.join(empty)}, wanted {CHOICES} choices")
        label = row.get(f"{kind}_label", "").strip()
        made[f"{kind}_choices"] = [] if empty else [words_of(text) for text in texts.values()]
        made[f"{kind}_label"] = int(label) if label.isdecimal() else label or None
    return made


def words_of(text: str) -> list[str | list[int]]:
    """A text with tags in it, as VCR's files have them.

    >>> words_of("Is [0, 2] here?")
    ['Is', [0, 2], 'here?']
    """
    words: list[str | list[int]] = []
    for at, part in enumerate(TAG.split(text)):
        words += [json.loads(part)] if at % 2 else part.split()
    return words


def _question(row: Row) -> VcrQuestion:
    objects = row["objects"]
    if not isinstance(objects, list) or not all(isinstance(name, str) for name in objects):
        raise ValueError(f"objects are {objects!r:.60}, wanted names")
    answers = _choices(row, "answer_choices", len(objects))
    rationales = _choices(row, "rationale_choices", len(objects)) if row.get("rationale_choices") else ()
    if rationales == answers:  # GD-VCR repeats its answers there: it has no rationales
        rationales = ()
    return VcrQuestion(
        id=str(row["annot_id"]),
        picture=str(row["img_fn"]),
        metadata=str(row.get("metadata_fn") or ""),
        objects=tuple(objects),
        question=_tokens(row["question"], "question", len(objects)),
        answers=answers,
        rationales=rationales,
        answer=_label(row, "answer_label"),
        rationale=_label(row, "rationale_label") if rationales else None,
    )


def _choices(row: Row, name: str, objects: int) -> tuple[Tokens, ...]:
    given = row[name]
    if not isinstance(given, list) or len(given) != CHOICES:
        count = len(given) if isinstance(given, list) else "no"
        raise ValueError(f"{name}: got {count} choices, wanted {CHOICES}")
    return tuple(_tokens(choice, name, objects) for choice in given)


def _tokens(given: object, name: str, objects: int) -> Tokens:
    if not isinstance(given, list) or not given:
        raise ValueError(f"{name} is {given!r:.60}, wanted a list of words and tags")
    tokens: list[str | tuple[int, ...]] = []
    for token in given:
        if isinstance(token, str):
            tokens.append(token)
        elif isinstance(token, list) and token and all(type(at) is int and 0 <= at < objects for at in token):
            tokens.append(tuple(token))
        else:
            raise ValueError(f"{name} has the tag {token!r:.30}, wanted numbers from 0 below {objects}, its objects")
    return tuple(tokens)


def _label(row: Row, name: str) -> int | None:
    label = row.get(name)
    if label is None:
        return None
    if type(label) is not int or not 0 <= label < CHOICES:
        raise ValueError(f"{name} is {label!r:.30}, wanted a number from 0 to {CHOICES - 1}")
    return label


def names_of(objects: Sequence[str]) -> list[str]:
    """What each object is called in a text: a person by a first name, anything else by its class.

    >>> names_of(["person", "dog", "person"])
    ['jordan', 'dog', 'casey']
    """
    found, people = [], 0
    for kind in objects:
        if kind == PERSON:
            found.append(PEOPLE[people % len(PEOPLE)])
            people += 1
        else:
            found.append(kind)
    return found


def named(tokens: Tokens, names: Sequence[str]) -> list[tuple[str, int | None]]:
    """Words, each with the object that it names or None. Several objects of a tag are joined by "and".

    >>> named(("Is", (0, 1), "here", "?"), ["jordan", "dog"])
    [('Is', None), ('jordan', 0), ('and', None), ('dog', 1), ('here', None), ('?', None)]
    """
    words: list[tuple[str, int | None]] = []
    for token in tokens:
        if isinstance(token, str):
            words.append((token, None))
            continue
        for place, at in enumerate(token):
            words += [("and", None)] if place else []
            words.append((names[at], at))
    return words


def text_of(tokens: Tokens, names: Sequence[str]) -> str:
    """The tokens as a text for people."""
    return " ".join(word for word, _ in named(tokens, names))


def read_metadata(question: VcrQuestion, folders: Sequence[Path]) -> Metadata | None:
    """Where the question's objects are, by the json that it names, in the first of the folders that has it.

    Raises InterbertError where the json is not VCR's or has other objects than the question.
    """
    names = dict.fromkeys([question.metadata, Path(question.metadata).name])
    places = [folder / name for folder in folders for name in names if name]
    path = next((place for place in places if place.is_file()), None)
    return None if path is None else _metadata(json_of(path), path, question)


def _metadata(found: Any, path: Path, question: VcrQuestion) -> Metadata:
    try:
        boxes = np.array(found["boxes"], np.float32).reshape(len(found["boxes"]), -1)
        size, names = (int(found["width"]), int(found["height"])), tuple(found["names"])
    except (KeyError, TypeError, ValueError) as error:
        raise InterbertError(f"'{path}' is no metadata of VCR ({error}); wanted boxes, names, width, height") from error
    if names != question.objects or len(boxes) != len(names) or (len(boxes) and boxes.shape[1] < 4):
        raise InterbertError(
            f"'{path}' has the objects {', '.join(names)[:80]}, question '{question.id}' has "
            f"{', '.join(question.objects)[:80]}; the two are not of one picture"
        )
    confidence = boxes[:, 4] if len(boxes) and boxes.shape[1] > 4 else np.ones(len(boxes), np.float32)
    corners = boxes[:, :2], np.maximum(boxes[:, 2:4], boxes[:, :2] + 1)  # of a box thinner than a pixel, one pixel
    return Metadata(np.concatenate(corners, 1) if len(boxes) else np.zeros((0, 4), np.float32), confidence, size)


GROUPS = ("answer", *(f"rationale_conditioned_on_a{at}" for at in range(CHOICES)))


def write_submission(path: Path, ids: Sequence[str], probabilities: NDArray[np.float64]) -> None:
    """The leaderboard's csv. probabilities: [N, 5, 4], of the answers and of the rationales after each answer."""
    with whole_file(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["annot_id", *(f"{group}_{at}" for group in GROUPS for at in range(CHOICES))])
        for id, numbers in zip(ids, probabilities.reshape(len(ids), -1).tolist(), strict=True):
            rows.writerow([id, *(json.dumps(number) for number in numbers)])
