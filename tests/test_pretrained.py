"""Models from and to a hub, on a cache in the hub's real layout; nothing goes over the network."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub.hub_mixin
import pytest
import torch

from interbert.config import preset
from interbert.errors import UsageError
from interbert.model.interbert import InterBert

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model() -> InterBert:
    torch.manual_seed(0)
    return InterBert(replace(preset("tiny"), vocabulary_size=50, region_feature_size=8)).eval()


@pytest.fixture
def cache(model: InterBert, tmp_path: Path) -> Path:
    """A cache that holds the model as `someone/small`, as a download leaves it."""
    repository = tmp_path / "models--someone--small"
    model.save_pretrained(repository / "snapshots" / REVISION)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    return tmp_path


@pytest.mark.parametrize("revision", [None, "main", REVISION])
def test_an_id_is_loaded_from_the_cache(model: InterBert, cache: Path, revision: str | None) -> None:
    loaded = InterBert.from_pretrained("someone/small", cache_dir=cache, local_files_only=True, revision=revision)
    assert torch.equal(loaded.word_head.bias, model.word_head.bias)
    assert torch.equal(loaded.match_head.weight, model.match_head.weight)
    assert not loaded.training


def test_a_push_uploads_the_configuration_the_weights_and_the_card(
    model: InterBert, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded: dict[str, Any] = {}

    class Hub:
        def __init__(self, token: str | None = None) -> None: ...

        def create_repo(self, repo_id: str, **kwargs: Any) -> Any:
            return type("Repository", (), {"repo_id": repo_id})()

        def upload_folder(self, repo_id: str, folder_path: Path, **kwargs: Any) -> str:
            uploaded[repo_id] = {path.name for path in Path(folder_path).iterdir()}
            return "done"

    monkeypatch.setattr(huggingface_hub.hub_mixin, "HfApi", Hub)
    assert model.push_to_hub("someone/small") == "done"
    assert uploaded == {"someone/small": {"config.json", "model.safetensors", "README.md"}}


def test_the_card_says_what_the_model_is(model: InterBert, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: text-ranking" in card
    assert "2 + 1 + 1" in card
    assert "8 numbers each" in card


def test_a_configuration_of_another_kind_of_model_is_refused(model: InterBert, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UsageError, match="wanted 'interbert'"):
        InterBert.from_pretrained(tmp_path)


def test_an_unknown_field_of_a_configuration_is_refused_with_the_nearest(model: InterBert, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"heads"', '"headz"'))
    with pytest.raises(UsageError, match="did you mean 'heads'"):
        InterBert.from_pretrained(tmp_path)


def test_loading_draws_no_weights_and_does_not_import_the_compiler(tmp_path: Path) -> None:
    InterBert(preset("tiny")).save_pretrained(tmp_path)
    code = (
        "import sys, torch; from interbert.model.interbert import InterBert; before = torch.get_rng_state()\n"
        f"InterBert.from_pretrained({str(tmp_path)!r})\n"
        "assert torch.equal(before, torch.get_rng_state())\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603
