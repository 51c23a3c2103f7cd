"""Every command and every line of Python that README and the tutorial show, run as they stand, on a few pictures."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from service_helpers import process

from interbert import cli, sample

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
KINDS = ("a bird", "fruit")  # of the sample; all 853 pictures would take minutes


def commands() -> list[str]:
    return [line[2:] for block in re.findall(r"```console\n(.*?)```", TUTORIAL, re.S) for line in block.splitlines()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, int]]]:
    """A folder in which the tutorial's commands have run, and the exit status of each."""
    folder = tmp_path_factory.mktemp("tutorial")
    in_order = sample._in_order

    def few(data: list[Any]) -> Iterator[tuple[Any, str]]:
        return ((entry, kind) for entry, kind in in_order(data) if kind in KINDS)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sample, "_in_order", few)
        yield folder, {command: cli.run(shlex.split(command)[1:]) for command in commands()}


def test_every_command_of_the_tutorial_runs(place: tuple[Path, dict[str, int]]) -> None:
    folder, statuses = place
    assert len(statuses) >= 9
    assert set(statuses.values()) == {0}, statuses
    assert (folder / "page.html").is_file()


def test_the_python_of_the_readme_runs(
    place: tuple[Path, dict[str, int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = place
    monkeypatch.chdir(folder)
    (folder / "demo").mkdir()
    for name in ("run", "catalogue"):
        (folder / "demo" / name).symlink_to(folder / name)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert names["texts"].shape[1] == names["pictures"].shape[1]


def test_the_page_of_the_readme_opens(
    place: tuple[Path, dict[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()
    for name in ("run", "catalogue"):
        (tmp_path / "demo" / name).symlink_to(place[0] / name)
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```console\n(.*?)```", README, re.S)
    index, serve = (shlex.split(line)[2:] for line in block.splitlines())
    assert cli.run(index) == 0
    with process(*serve[1:], "--port", 0) as (_, address), urlopen(address) as answer:
        assert b'<input id="topic"' in answer.read()


def test_the_readme_names_every_verb_and_no_other() -> None:
    named = set(re.findall(r"^\| `interbert ([\w-]+)", README, re.M))
    assert named == {str(verb.name) for verb in cli.VERBS}
