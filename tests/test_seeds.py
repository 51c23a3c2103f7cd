"""Several seeds: a run each, mean and spread by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from finetuning_helpers import small_plan

from interbert.errors import InterbertError, UsageError
from interbert.tasks.finetuning import Finetuning
from interbert.tasks.seeds import over_seeds, runs_of, together


def test_each_seed_has_a_run_and_the_summary_their_mean_and_spread(tmp_path: Path) -> None:
    asked: list[tuple[int, Path]] = []

    def run(plan: Finetuning, out: Path) -> dict[str, float]:
        asked.append((plan.training.seed, out))
        return {"accuracy": [0.5, 0.7, 0.9][len(asked) - 1]}

    found = over_seeds(small_plan(seed=4), tmp_path, 3, run)
    assert asked == [(seed, tmp_path / f"seed-{seed}") for seed in (4, 5, 6)]
    assert found["metrics"]["accuracy"]["mean"] == pytest.approx(0.7)
    assert found["metrics"]["accuracy"]["spread"] == pytest.approx(0.2)  # sqrt((0.2 ** 2 + 0.2 ** 2) / 2)
    assert json.loads((tmp_path / "seeds.json").read_text()) == found
    assert runs_of(tmp_path) == [tmp_path / f"seed-{seed}" for seed in (4, 5, 6)]


def test_of_torchruns_processes_the_first_alone_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert over_seeds(small_plan(), tmp_path, 2, lambda plan, out: {})["metrics"] == {}
    assert not (tmp_path / "seeds.json").exists()


def test_a_folder_holds_one_run_or_those_of_seeds(tmp_path: Path) -> None:
    (tmp_path / "task.json").touch()
    with pytest.raises(UsageError, match="holds one finetuned run; give another folder for those of 2 seeds"):
        over_seeds(small_plan(), tmp_path, 2, lambda plan, out: {})


def test_one_seed_has_no_spread_and_what_one_run_lacks_is_left_out() -> None:
    assert together([{"a": 1.0}])["a"] == {"mean": 1.0, "spread": None, "values": [1.0]}
    assert together([{"a": 1.0, "b": None}, {"a": 0.0, "b": 1.0}]).keys() == {"a"}


def test_another_folder_has_no_seeds_and_a_broken_file_is_said(tmp_path: Path) -> None:
    assert runs_of(tmp_path) is None
    (tmp_path / "seeds.json").write_text("{")
    with pytest.raises(InterbertError, match="is broken"):
        runs_of(tmp_path)
