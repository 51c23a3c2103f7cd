"""What a folder of tables remembers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interbert.errors import InterbertError, UsageError
from interbert.reproduce import reproduction
from interbert.reproduce.reproduction import STATE, Wanted, reproduce

Asked = Callable[..., dict[str, Any]]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Asks for a table in the one folder; no step is done. Gives what the folder remembers."""
    monkeypatch.setattr(reproduction, "do_steps", lambda steps, **options: {})
    monkeypatch.chdir(tmp_path)
    for name in ("run", "other"):
        (tmp_path / name).mkdir()

    def ask(table: str, init: str | None = None, **changes: Any) -> dict[str, Any]:
        reproduce(Wanted(table, "tiny", Path("tables"), init=init, **changes))
        return json.loads((tmp_path / "tables" / STATE).read_text())

    return ask


def test_another_table_keeps_what_figure_3_was_begun_with(asked: Asked) -> None:
    asked("figure3", "run", seeds=2)
    assert asked("table3") == {"scale": "tiny", "data": None, "init": "run", "tables": {"figure3": 2, "table3": 1}}
    report = json.loads(Path("tables/report.json").read_text())
    assert "Begun with run, pretrained on" in next(t["here"] for t in report["tables"] if t["name"] == "figure3")


def test_figure_3_may_begin_with_a_run_in_a_folder_of_other_tables(asked: Asked) -> None:
    assert "init" not in asked("table3")
    assert asked("figure3", "run")["init"] == "run"


@pytest.mark.parametrize(("table", "now"), [("figure3", None), ("all", None), ("figure3", "other")])
def test_figure_3_begun_with_another_is_refused(table: str, now: str | None, asked: Asked) -> None:
    asked("figure3", "run")
    with pytest.raises(InterbertError, match=f"^Figure 3 of 'tables' was begun with init run, not {now}; give another"):
        asked(table, now)


@pytest.mark.parametrize("init", ["nowhere", "new-words:nowhere", "new-words:", "bert:./nowhere"])
def test_an_init_that_is_not_there_is_said_before_anything_is_made(init: str, asked: Asked) -> None:
    with pytest.raises((UsageError, InterbertError), match="nowhere|new-words:"):
        asked("figure3", init)
    assert not Path("tables").exists()
