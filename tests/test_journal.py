"""interbert.training.journal"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from interbert.errors import UsageError
from interbert.training.journal import Journal, cut_after, read_journal


def journal(path: Path | None, **changes: Any) -> Journal:
    usual: dict[str, Any] = {"start": 0, "total_steps": 9, "progress": False, "tensorboard": False, "on_log": None}
    return Journal(path, **(usual | changes))


def test_lines_are_written_at_once_and_given_to_whoever_listens(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    with journal(tmp_path / "training.jsonl", on_log=heard.append) as log:
        log.write({"step": 1, "losses": {"words": 0.1}})
        assert read_journal(tmp_path / "training.jsonl") == heard == [{"step": 1, "losses": {"words": 0.1}}]


def test_lines_after_the_checkpoint_go_with_one_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 4, "validation": {}}\n{"step": 6}\n{"ste')
    cut_after(path, 4)
    assert read_journal(path) == [{"step": 2}, {"step": 4}, {"step": 4, "validation": {}}]
    cut_after(path, 0)
    assert path.read_text() == ""


@pytest.mark.parametrize("end", ['{"step": 3}', '{"step": 1', "\x00\x00\n", "[]\n", '{"stage": "x"}\n'])
def test_a_line_that_is_none_is_cut_away(end: str, tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    path.write_text('{"step": 2}\n' + end)
    cut_after(path, 9)
    assert path.read_text() == '{"step": 2}\n'


def test_a_process_that_does_not_lead_writes_nothing() -> None:
    heard: list[dict[str, Any]] = []
    with journal(None, on_log=heard.append) as log:
        log.write({"step": 1})
        log.advance(0.5, 10.0)
        log.sync()
    assert heard == []


def test_tensorboard_that_is_not_installed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match="pip install"):
        journal(tmp_path / "training.jsonl", tensorboard=True)
