"""docs/operations.md: its services run, its questions are asked, its limits and units are those of the code."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import httpx2
import pytest
from service_helpers import process

from interbert import cli, sample
from interbert.cli.serving import serve
from interbert.recall.search import MAX_TOPIC
from interbert.recall.service import models
from interbert.recall.service.settings import Settings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000/"
KEY = "7Hq2mVw9Zr4Tn6Xc1Ks8"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.S)


def commands(program: str) -> list[list[str]]:
    """Of the page's console blocks, as words."""
    lines = [line[2:] for block in blocks("console") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith(program)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with what the page takes for granted: an index of a few pictures, and keys."""
    folder, in_order = tmp_path_factory.mktemp("operations"), sample._in_order

    def few(data: list[Any]) -> Iterator[tuple[Any, str]]:
        every = list(in_order(data))
        return (one for kind in ("a bird", "fruit") for one in [one for one in every if one[1] == kind][:8])

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sample, "_in_order", few)
        patch.setattr(sample, "PIXELS", 96)
        for command in (
            "sample catalogue",
            "extract catalogue/catalogue.jsonl --out regions",
            "corpus catalogue/catalogue.jsonl --format jsonl --regions regions --out corpus --set validation_share=0.2",
            "pretrain corpus --out run --recipe tiny",
            "index catalogue/catalogue.jsonl --from run --out index",
        ):
            assert cli.run([*shlex.split(command), "--quiet"]) == 0
        (folder / "keys.txt").write_text(f"# of the shop\n{KEY}\n")
        yield folder


def ask(address: str, words: list[str]) -> httpx2.Response:
    """What curl would do with those words."""
    headers, form, files, body, url = {}, {}, [], None, ""
    rest = iter(words[1:])
    for word in rest:
        if word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(rest)
        elif word == "-F":
            name, _, value = next(rest).partition("=")
            if value.startswith("@"):
                files.append((name, (Path(value[1:]).name, Path(value[1:]).read_bytes())))
            else:
                form[name] = value
        elif word == "-o":
            next(rest)
        elif word != "-s":
            url = word.replace(ADDRESS, address)
    if body is None and not form:
        return httpx2.get(url, headers=headers, timeout=60)
    if form:
        return httpx2.post(url, headers=headers, data=form, files=files, timeout=60)
    return httpx2.post(url, headers=headers, content=body, timeout=60)


def test_every_question_of_the_page_is_answered(place: Path) -> None:
    asked = [words for words in commands("curl") if "Bearer" not in " ".join(words)]
    assert len(asked) >= 11
    with process("index", "--port", 0) as (_, address):
        answers = {words[-1] + " ".join(words[2:4]): ask(address, words) for words in asked}
    assert {answer.status_code for answer in answers.values()} == {200}, {k: v.text for k, v in answers.items()}


def test_the_service_with_keys_answers_who_has_one(place: Path) -> None:
    (words,) = [words for words in commands("curl") if "Bearer" in " ".join(words)]
    with process("index", "--port", 0, "--api-keys", "keys.txt", "--log-requests") as (running, address):
        assert ask(address, words).status_code == 200
        assert ask(address, words[:3]).status_code == 401
        running.terminate()
        _, log = running.communicate(timeout=60)
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [(line["route"], line["status"]) for line in lines] == [("/info", 200), ("none", 401)]


def started() -> list[list[str]]:
    """Every command of the page that starts a service, of shells, units and images."""
    unit = ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(blocks("ini")[0])
    (run,) = re.findall(r"^CMD (\[.*\])$", blocks("dockerfile")[0], re.M)
    return [*commands("interbert serve"), shlex.split(unit["Service"]["ExecStart"]), json.loads(run)]


@pytest.mark.parametrize("words", started(), ids=lambda words: " ".join(words[1:4]))
def test_every_start_of_the_page_is_a_command_that_there_is(words: list[str]) -> None:
    assert Path(words[0]).name == "interbert"
    assert words[1] == "serve"
    context = serve.make_context("serve", words[2:], obj=cli.Screen())
    assert context.params["port"] == 8000


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    usual = Settings()
    for said in (
        f"{usual.max_body_bytes >> 20} MiB",
        f"{usual.max_pixels:,} pixels",
        f"| {usual.max_pictures} |",
        f"| {models.MAX_DOCUMENTS:,} |",
        f"| {MAX_TOPIC:,}, {models.MAX_TEXT:,}, {models.MAX_FILTER:,} |",
        f"| {usual.max_batch} requests |",
        f"| {usual.max_queue} requests |",
        f"| {usual.max_at_once} requests, {usual.max_connections:,} connections |",
        f"| {usual.time_limit_seconds:g} s |",
        f"| {usual.header_seconds:g} s, {usual.body_seconds:g} s |",
        f"| {usual.idle_seconds:g} s |",
        f"after {usual.time_limit_seconds + 5:g} s at most",
    ):
        assert said in PAGE, said


def test_the_statuses_of_the_page_are_those_of_the_code() -> None:
    from interbert.recall.service.errors import DOCUMENTED

    said = {int(status) for status in re.findall(r"^\| (\d{3}) \|", PAGE, re.M)}
    assert said == set(DOCUMENTED) - {405, 500}
