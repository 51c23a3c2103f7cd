"""Runs from and to the Hugging Face hub, on a cache in its real layout and a recorder in its place; no network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import huggingface_hub.hub_mixin
import numpy as np
import pytest
from pretraining_helpers import EXTRACTOR, few_steps, random_corpus, random_regions

import interbert
from interbert.corpus.corpus import Corpus
from interbert.errors import InterbertError
from interbert.model.interbert import InterBert
from interbert.pretraining.run import pretrain

FIRST, SECOND = "1" * 40, "2" * 40  # commits
PAIR = ("a dog", random_regions(np.random.default_rng(3), 4))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return random_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def runs(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that differ in their seed."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        plan = few_steps(seed=seed)
        pretrain([corpus.folder], folder / str(seed), plan, progress=False)
    return [folder / "0", folder / "1"]


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub, and no way to the hub itself."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def downloaded(cache: Path, files: Mapping[str, bytes], commit: str, *references: str) -> None:
    """Leaves `someone/small` in the cache as a download does: blobs by digest, snapshots of links, references."""
    repository = cache / "models--someone--small"
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (repository / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        digest = hashlib.sha256(content).hexdigest()
        (repository / "blobs" / digest).write_bytes(content)
        os.symlink(f"../../blobs/{digest}", repository / "snapshots" / commit / name)
    for reference in references:
        (repository / "refs" / reference).write_text(commit)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_run_on_the_hub_is_loaded_by_its_id(cache: Path, runs: list[Path]) -> None:
    downloaded(cache, files(runs[0]), FIRST, "main")
    scorer = interbert.load("someone/small", device="cpu")
    assert scorer.predict(PAIR) == interbert.load(runs[0], device="cpu").predict(PAIR)
    assert scorer.extractor == EXTRACTOR


@pytest.mark.parametrize(("revision", "run"), [(None, 1), ("main", 1), ("v1", 0), (FIRST, 0), (SECOND, 1)])
def test_a_revision_is_a_branch_a_tag_or_a_commit(
    cache: Path, runs: list[Path], revision: str | None, run: int
) -> None:
    downloaded(cache, files(runs[0]), FIRST, "v1")
    downloaded(cache, files(runs[1]), SECOND, "main")
    wanted = interbert.load(runs[run], device="cpu").predict(PAIR)
    assert interbert.load("someone/small", revision=revision, device="cpu").predict(PAIR) == wanted
    model = InterBert.from_pretrained("someone/small", revision=revision)
    assert model.state_dict()["match_head.weight"].tolist() == weight(runs[run])


def weight(run: Path) -> Any:
    return InterBert.from_pretrained(run).match_head.weight.tolist()


def test_an_id_that_is_not_there_is_a_sentence(cache: Path, runs: list[Path]) -> None:
    downloaded(cache, files(runs[0]), FIRST, "main")
    with pytest.raises(InterbertError, match="there is no model at 'someone/large'"):
        InterBert.from_pretrained("someone/large")
    with pytest.raises(InterbertError, match="at revision v9"):
        InterBert.from_pretrained("someone/small", revision="v9")
    with pytest.raises(InterbertError, match="no model of that name came from the Hugging Face hub"):
        interbert.load("someone/small", revision="v9")


def test_a_repository_without_a_vocabulary_is_no_run_but_has_a_model(cache: Path, runs: list[Path]) -> None:
    kept = {name: content for name, content in files(runs[0]).items() if name != "tokenizer.json"}
    downloaded(cache, kept, FIRST, "main")
    with pytest.raises(InterbertError, match=r"'someone/small' has no tokenizer\.json"):
        interbert.load("someone/small")
    assert set(InterBert.from_pretrained("someone/small").companions) == {"extractor.json", "README.md"}


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was sent to the hub, recorded in its place."""
    recorded: dict[str, Any] = {}

    class Recorder:
        def __init__(self, token: str | None = None) -> None:
            recorded["token"] = token

        def create_repo(self, repo_id: str, private: bool | None, exist_ok: bool) -> Any:
            recorded["private"] = private
            return type("Repository", (), {"repo_id": repo_id})()

        def upload_folder(self, repo_id: str, folder_path: Path, commit_message: str, **kwargs: Any) -> str:
            recorded.update({"id": repo_id, "files": files(Path(folder_path)), "message": commit_message, **kwargs})
            return f"https://example.org/{repo_id}"

    monkeypatch.setattr(huggingface_hub.hub_mixin, "HfApi", Recorder)
    return recorded


def test_a_pushed_run_has_its_card_vocabulary_and_extractor(runs: list[Path], uploads: dict[str, Any]) -> None:
    model = InterBert.from_pretrained(runs[0])
    url = model.push_to_hub("someone/small", private=True, commit_message="first", branch="v1")
    assert url == "https://example.org/someone/small"
    assert (uploads["id"], uploads["private"], uploads["message"]) == ("someone/small", True, "first")
    assert (uploads["revision"], uploads["repo_type"]) == ("v1", "model")
    names = {"config.json", "model.safetensors", "tokenizer.json", "extractor.json", "README.md"}
    assert uploads["files"] == {name: content for name, content in files(runs[0]).items() if name in names}


def test_what_was_pushed_is_what_is_loaded(cache: Path, runs: list[Path], uploads: dict[str, Any]) -> None:
    InterBert.from_pretrained(runs[0]).push_to_hub("someone/small")
    downloaded(cache, uploads["files"], FIRST, "main")
    InterBert.from_pretrained("someone/small").push_to_hub("someone/copy")  # from the hub to the hub
    assert uploads["id"] == "someone/copy"
    assert uploads["files"] == files(cache / "models--someone--small" / "snapshots" / FIRST)
    wanted = interbert.load(runs[0], device="cpu").predict(PAIR)
    assert interbert.load("someone/small", device="cpu").predict(PAIR) == wanted
