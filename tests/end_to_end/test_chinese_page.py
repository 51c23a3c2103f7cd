"""docs/chinese.md: its commands and its Python run in order, on the sample's clothes and sport."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from interbert import cli, sample
from interbert.corpus.corpus import Corpus
from interbert.text.segmenting import load_segmenter
from interbert.text.tokenizer import SPECIAL

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "chinese.md").read_text(encoding="utf-8")
KINDS = ("clothing", "sport")  # of the sample; all 853 pictures would take minutes


def commands() -> list[str]:
    return [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.S) for line in block.splitlines()]


def write_files(folder: Path) -> None:
    for name, text in re.findall(r"^`([\w.]+)`\n```\n(.*?)```", PAGE, re.S | re.M):
        (folder / name).write_text(text, encoding="utf-8")
    pieces = [chr(at) for at in (*range(33, 65), *range(91, 127), *range(0x4E00, 0xA000))]  # no capitals
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *pieces]), encoding="utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, int]]]:
    """A folder in which the page's commands have run, and the exit status of each."""
    folder, in_order = tmp_path_factory.mktemp("chinese"), sample._in_order

    def few(data: list[Any]) -> Iterator[tuple[Any, str]]:
        return ((entry, kind) for entry, kind in in_order(data) if kind in KINDS)

    write_files(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sample, "_in_order", few)
        yield folder, {line: cli.run([*shlex.split(line)[1:], "--quiet"]) for line in commands()}


def test_every_command_of_the_page_runs(place: tuple[Path, dict[str, int]]) -> None:
    _, statuses = place
    assert len(statuses) == 14
    assert set(statuses.values()) == {0}, statuses


def test_the_two_corpora_are_segmented_and_share_no_picture(place: tuple[Path, dict[str, int]]) -> None:
    clothes, sport = (Corpus(place[0] / name) for name in ("clothes", "sport"))
    ids = [{corpus.image_id(at) for at in range(corpus.images)} for corpus in (clothes, sport)]
    assert all(ids)
    assert not ids[0] & ids[1]
    assert clothes.description["segmenter"]["name"] == "rjieba"
    assert clothes.description["version"] == 2
    assert max(clothes.region_counts.tolist()) <= 16
    kept, read = clothes.description["report"]["captions"]["kept"], clothes.description["report"]["captions"]["read"]
    assert read == kept + sum(clothes.description["report"]["dropped"].values())


def test_titles_alone_have_no_pictures_and_begin_the_run_that_has(place: tuple[Path, dict[str, int]]) -> None:
    assert Corpus(place[0] / "titles").text_alone
    names = [json.loads((place[0] / run / "extractor.json").read_text())["name"] for run in ("titles-run", "run")]
    assert names == ["none", "embedded"]
    assert "Started from `titles-run`" in (place[0] / "run" / "README.md").read_text(encoding="utf-8")


def test_the_words_of_a_title_are_marked_in_its_tokens(place: tuple[Path, dict[str, int]]) -> None:
    corpus, cutter = Corpus(place[0] / "clothes"), load_segmenter()
    whole = [at for at in range(len(corpus)) if re.fullmatch("[一-龥]+", corpus.text(at))]  # a piece a character
    assert len(whole) > 5
    for at in whole:
        marks = [mark for word in cutter.words(corpus.text(at)) for mark in (False, *[True] * (len(word) - 1))]
        continues = corpus.continues(at)
        assert continues is not None
        assert continues.tolist() == [False, *marks, False]


def test_titles_are_evaluated_in_pools_of_their_category(place: tuple[Path, dict[str, int]]) -> None:
    kept = [place[0] / name / "evaluations" for name in ("finetuned", "run")]
    finetuned = json.loads((kept[0] / "products-test.json").read_text(encoding="utf-8"))
    zero_shot = json.loads((kept[1] / "products-test-zero-shot.json").read_text(encoding="utf-8"))
    assert finetuned["pools"] == 1
    assert finetuned["pictures"] == zero_shot["pictures"] > 2
    assert zero_shot["metrics"]["recall_at_1"]["chance"] >= finetuned["metrics"]["recall_at_1"]["chance"] > 0
    assert 0 <= finetuned["metrics"]["precision_at_5"]["value"] <= 0.2


def test_the_python_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(code, "chinese.md", "exec"), {})
    assert capsys.readouterr().out == "['【正品】SK-II 神仙水 230ml']\n"


def test_what_the_filter_would_drop_is_shown_with_its_word(
    place: tuple[Path, dict[str, int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place[0])
    assert cli.run(["spam", "check", "titles.txt", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["titles"] == 4
    assert [(one["kind"], one["title"]) for one in shown["spam"]] == [("gambling", "真钱百家乐在线赌博")]


def test_training_prints_precision_and_recall(
    place: tuple[Path, dict[str, int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place[0])
    assert cli.run(["spam", "train", "labelled.tsv", "--out", "again.safetensors", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["trained_on"] + report["held_out"] == 10
    assert {"precision", "recall"} <= set(report["measured"]["both from 0.5"])
