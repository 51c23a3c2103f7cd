"""docs/weights.md: every command is one, those that need no download run, and so does its Python."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import click
import huggingface_hub.constants
import huggingface_hub.hub_mixin
import pytest
from pretraining_helpers import few_steps, random_corpus
from released_helpers import CONFIG, write_fixture

from interbert import cli
from interbert.pretraining.run import pretrain
from interbert.vision.provenance import ExtractorInfo

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```\n(.*?)```", PAGE, re.S) for line in block.splitlines() if line.strip()]
LOCAL = ("pytorch_model.bin", "pretrained.bin", "bert minilm")  # commands with these need no download
RELEASED = CONFIG | {"vocab_size": 30522}


def parsed(command: str) -> click.Context:
    program, *arguments = shlex.split(command)
    assert program == "interbert"
    found: Any = cli.program
    while isinstance(found, click.Group):
        found = found.commands[arguments.pop(0)]
    context: click.Context = found.make_context(str(found.name), arguments, obj=cli.Screen())
    return context


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_is_one(command: str) -> None:
    parsed(command)


def test_the_page_has_every_kind_of_conversion_and_every_extractor() -> None:
    converted = {command.split()[2] for command in COMMANDS if command.startswith("interbert convert")}
    assert converted == {str(verb.name) for verb in dict(cli.program.commands)["convert"].commands.values()}  # type: ignore[attr-defined]
    extractors = {
        command.split("--extractor ")[1].split(":")[0]
        for command in COMMANDS
        if "extract " in command and "--extractor" in command
    }
    assert extractors == {"bottom-up", "hf", "torchvision"}


def test_every_link_to_another_page_leads_to_one() -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", PAGE):
        assert (Path(__file__).resolve().parents[2] / "docs" / target).is_file(), target


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the page's commands name, in small."""
    folder = write_fixture(tmp_path_factory.mktemp("place"), RELEASED)
    (folder / "model.bin").rename(folder / "pretrained.bin")
    (folder / "pytorch_model.bin").symlink_to("pretrained.bin")
    (folder / "bert_base_6layer_interbert.json").symlink_to("config.json")
    (folder / "detector").mkdir()
    ExtractorInfo("bottom-up:detector", RELEASED["v_feature_size"]).save(folder / "detector" / "extractor.json")
    return folder


@pytest.mark.parametrize("command", [command for command in COMMANDS if any(name in command for name in LOCAL)])
def test_what_needs_no_download_runs(command: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert cli.run(shlex.split(command)[1:]) == 0


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    pretrain([random_corpus(tmp_path / "made").folder], tmp_path / "runs" / "mine", few_steps(), progress=False)
    snapshot = tmp_path / "hub" / "models--you--interbert-mine"

    class Hub:
        """What is uploaded is what was downloaded."""

        def __init__(self, token: str | None = None) -> None: ...

        def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> Any:
            assert private
            return type("Repository", (), {"repo_id": repo_id})()

        def upload_folder(self, repo_id: str, folder_path: Path, **kwargs: Any) -> str:
            (snapshot / "refs").mkdir(parents=True)
            (snapshot / "refs" / "main").write_text("a" * 40)
            (snapshot / "snapshots").mkdir()
            Path(folder_path).rename(snapshot / "snapshots" / ("a" * 40))
            Path(folder_path).mkdir()
            return repo_id

    monkeypatch.setattr(huggingface_hub.hub_mixin, "HfApi", Hub)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict[str, Any] = {}
    exec(compile(code, "weights.md", "exec"), names)
    assert names["scorer"].tokenizer.vocabulary_size == 19
