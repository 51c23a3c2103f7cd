"""docs/recall.md: its commands and its Python run in order, on a few pictures of the sample and the tiny model."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recall_helpers import product, shop, write_catalogue

from interbert import cli, sample
from interbert.recall.index import open_index

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "recall.md").read_text(encoding="utf-8")
KINDS, OF_EACH = ("a bird", "fruit", "a meal"), 8  # of the sample; all 853 pictures would take minutes


def commands() -> list[str]:
    return [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.S) for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, int]]]:
    """A folder in which the page's commands have run, and the exit status of each."""
    folder, in_order = tmp_path_factory.mktemp("recall"), sample._in_order

    def few(data: list[Any]) -> Iterator[tuple[Any, str]]:
        every = list(in_order(data))
        return (one for kind in KINDS for one in [one for one in every if one[1] == kind][:OF_EACH])

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sample, "_in_order", few)
        patch.setattr(sample, "PIXELS", 96)
        yield folder, {command: cli.run([*shlex.split(command)[1:], "--quiet"]) for command in commands()}


def answer(capsys: pytest.CaptureFixture[str], *command: object, status: int = 0) -> Any:
    capsys.readouterr()
    assert cli.run([*map(str, command), "--json", "--quiet"]) == status
    return json.loads(capsys.readouterr().out)


def test_every_command_of_the_page_runs(place: tuple[Path, dict[str, int]]) -> None:
    _, statuses = place
    assert len(statuses) == 29
    assert set(statuses.values()) == {0}, statuses


def test_the_versions_are_those_of_the_commands(
    place: tuple[Path, dict[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = place
    versions = answer(capsys, "index", "--out", folder / "index", "--list-versions")["versions"]
    assert [(one["number"], one["added"], one["deleted"]) for one in versions] == [(1, 24, 0), (2, 0, 2), (3, 2, 0)]
    assert [one["products"] for one in versions] == [24, 22, 24]


def test_recall_gives_what_score_gives(place: tuple[Path, dict[str, int]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = place
    found = answer(capsys, "recall", folder / "index", "a bird", "--threshold", 0, "--top-k", 3)
    pictures = [folder / "catalogue" / item["image"] for item in found["items"]]
    scored = answer(capsys, "score", "a bird", *pictures, "--from", folder / "run")
    assert [item["score"] for item in found["items"]] == pytest.approx(
        [one["score"] for one in scored["results"]], abs=2e-3
    )  # regions are kept as float16
    assert found["index_version"] == 3
    cascade = answer(capsys, "recall", folder / "index", "a bird", "--mode", "cascade", "--candidates", 5)
    assert cascade["total_scored"] == 5
    assert cascade["measured_recall"]["topics"] > 16  # of --measure, not of the first use


def test_the_python_of_the_page_runs(
    place: tuple[Path, dict[str, int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = place
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    capsys.readouterr()
    exec(compile(code, "recall.md", "exec"), {})
    assert capsys.readouterr().out


def test_topics_are_kept_reviewed_and_exported(
    place: tuple[Path, dict[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = place
    (bird,) = [one for one in answer(capsys, "topics", folder / "index")["topics"] if one["topic"]["name"] == "a bird"]
    assert (bird["kept"], bird["dropped"], bird["topic"]["threshold"]) == (2, 1, 0.2)
    whole = answer(capsys, "topics", folder / "index", "a bird")
    assert [one["id"] for one in whole["dropped"]] == ["1f347"]
    assert whole["cover"] == whole["products"][0]["id"] == bird["cover"]["id"]
    lines = (folder / "recalled.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len((folder / "catalogue" / "topics.txt").read_text(encoding="utf-8").splitlines())
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(pair["product"], pair["label"]) for pair in pairs] == [("1f414", 1), ("1f427", 1), ("1f347", 0)]


def test_many_reviews_calibrate_the_run(place: tuple[Path, dict[str, int]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = place
    index, out = folder / "index", folder / "many.jsonl"
    names = [one["topic"]["name"] for one in answer(capsys, "topics", index)["topics"]]
    for topic in [name for name in names if name != "a bird"][:3]:
        products = answer(capsys, "topics", index, topic)["products"]
        half = len(products) // 2  # whoever reviews them likes the better ones
        said = [part for at, one in enumerate(products) for part in (("--keep", "--drop")[at >= half], one["id"])]
        answer(capsys, "topics", index, topic, *said)
    answer(capsys, "topics", index, "--export", out)
    report = answer(capsys, "calibrate", out, "--from", folder / "run", "--store", index / "regions")
    assert report["pairs"] == 3 * 24 + 3
    (folder / "run" / "calibration.json").unlink()


def test_a_topic_that_cannot_be_asked_is_exit_status_3(
    place: tuple[Path, dict[str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = place
    lines = '{"title": "a bird"}\n{"title": "a", "filter": "prize < 3"}\n'
    (tmp_path / "topics.jsonl").write_text(lines, encoding="utf-8")
    out = tmp_path / "out.jsonl"
    report = answer(capsys, "recall", folder / "index", "--topics", tmp_path / "topics.jsonl", "--out", out, status=3)
    assert report["recalled"] == 1
    assert list(report["failures"]) == ["a"]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return shop(tmp_path, 4)


def test_what_could_not_be_taken_is_exit_status_3(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_catalogue(small / "some.jsonl", [product(0), product(1, image="images/99.jpg")])
    command = ["index", small / "some.jsonl", "--from", small / "run", "--out", small / "index"]
    report = answer(capsys, *command, "--regions", small / "regions", status=3)
    assert [failure["id"] for failure in report["failures"]] == ["p1"]
    assert report["version"]["products"] == 1
    write_catalogue(small / "none.jsonl", [product(1, image="images/99.jpg")])
    command[1] = small / "none.jsonl"
    assert answer(capsys, *command, "--regions", small / "regions", status=1)["version"] is None
    assert open_index(small / "index").versions()[-1].number == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("index --out index", "wanted one of: a CATALOGUE"),
        ("index catalogue.jsonl --out index", "the model is missing; say which with --from RUN"),
        ("index --out index --restore 1 --list-versions", "wanted one of"),
        ("recall index", "wanted a TOPIC or --topics FILE"),
        ("recall index bird --topics topics.txt", "not both"),
        ("recall index bird --threshold 1.5", "wanted a number in 0..1"),
        ("recall index bird --out out.jsonl", "--out FILE goes with --topics FILE"),
        ("topics index --keep p1", "wanted its NAME"),
        ("topics index red --keep p1 --drop p1", "a product was given twice"),
        ("topics index red --keep p1 --delete", "wanted one of"),
        ("topics index --only kept", "--only goes with --export FILE"),
    ],
)
def test_a_command_that_is_wrong_starts_nothing(
    command: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(shlex.split(command)) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_index_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["recall", str(tmp_path), "a bird"]) == 1
    assert "is not an index; make one:  interbert index" in capsys.readouterr().err
