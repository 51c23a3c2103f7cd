"""docs/scale.md: its commands run against a real server, and its table follows from the rates that it names."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from postgres_helpers import PostgresServer
from recall_helpers import shop

from interbert import cli

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def scale() -> Any:
    """benchmarks/scale.py."""
    spec = importlib.util.spec_from_file_location("scale", ROOT / "benchmarks" / "scale.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["scale"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_of_the_page_runs(
    postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    shop(tmp_path, 8)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGPASSWORD", "p/a#s s@w:ord")
    address = postgres.address(password=None)
    lines = [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
    commands = [shlex.split(line.replace("postgresql://me@server/shop", address)) for line in lines]
    assert [cli.run([*command[1:], "--quiet"]) for command in commands] == [0] * 5


def test_the_table_follows_from_the_rates() -> None:
    module = scale()
    assert "\n".join(module.table(module.RATES)) in PAGE


def test_the_costs_are_those_of_the_formulae() -> None:
    module = scale()
    rates = module.Rates(10, 40, 100, 200, 1e6, 3e4, 2e3)
    found = module.costs(rates, 3.6e6, candidates=100, topics_a_day=3072)
    assert found.index_hours == pytest.approx(3.6e6 / 3600 * (1 / 10 + 1 / 40))
    assert (found.exact_hours, found.exact_machines) == (pytest.approx(5), 10)  # 5 * 3072 / 24 / 64
    assert found.cascade_hours * 3600 == pytest.approx(3.6 + 1)
    assert (found.cascade_machines, found.storage_machines) == (1, 1)
    assert found.terabytes == pytest.approx(0.1152)
