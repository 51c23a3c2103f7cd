"""The reports: our figures beside the paper's, what is missing with its reason, and what made ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from reproduce_helpers import cell, done, exhibit, setting, told

from interbert.reproduce.cells import Cell, Exhibit, Figure, Result, Row
from interbert.reproduce.plot import plot
from interbert.reproduce.report import report_files, write_reports


@pytest.fixture
def table(tmp_path: Path) -> Exhibit:
    return exhibit(
        cell(told(tmp_path, "one"), told(tmp_path, "two")),
        Cell("ours", "RTE", missing="the data have no glue/RTE"),
        seeds=2,
    )


def written(root: Path, *exhibits: Exhibit) -> dict[str, str]:
    results = {
        "one": done(0.5, (0.4, 0.6), seconds=90),
        "two": Result(True, 30, {**done(0.6, (0.5, 0.7)).found, "hash": "ab12", "texts": 1200}, program="0.1.0"),
    }
    write_reports(setting(root), exhibits, results)
    return {file.suffix: file.read_text(encoding="utf-8") for file in report_files(root)}


def test_the_page_has_our_figure_with_interval_and_spread_and_the_papers_below_it(
    tmp_path: Path, table: Exhibit
) -> None:
    page = written(tmp_path, table)[".html"]
    ours = page.index("<b>ours</b>, here</td><td class=number>55.0<small>(45.0 to 65.0) ± 7.1</small>")
    assert ours < page.index("InterBERT, paper</td><td class=number>57.3</td>") < page.index("Other, paper")
    assert "a few &lt;sentences&gt;; 2 seeds." in page
    assert "all of them" in page


def test_a_missing_figure_is_a_dash_with_its_reason(tmp_path: Path, table: Exhibit) -> None:
    found = written(tmp_path, table)
    assert "Missing: ours / RTE: the data have no glue/RTE." in found[".html"]
    assert "| ours, here | 55.0 (45.0 to 65.0) ± 7.1 | – |" in found[".md"].splitlines()
    assert "- Missing: ours / RTE: the data have no glue/RTE." in found[".md"].splitlines()


def test_every_step_stands_with_time_data_and_command(tmp_path: Path, table: Exhibit) -> None:
    found = written(tmp_path, table)
    assert "2 of 2 steps done in 2.0 min, scale tiny; interbert 0.1.0." in found[".md"]
    assert f"| two | 30 | 1,200 texts, sha256 ab12 | `interbert tell {tmp_path}/two` |" in found[".md"].splitlines()
    assert "1,200 texts, sha256 ab12" in found[".html"]


def test_a_step_that_failed_stands_with_its_reason_and_one_that_was_not_tried_does_not(
    tmp_path: Path, table: Exhibit
) -> None:
    results = {"one": Result(failure="it needs corpus: the disk is full"), "two": Result()}
    write_reports(setting(tmp_path), [table], results)
    lines = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "interbert tell" in line] == [
        f"| one | it needs corpus: the disk is full |  | `interbert tell {tmp_path}/one` |"
    ]
    assert "- Missing: ours / CoLA: it needs corpus: the disk is full." in lines


def test_the_json_has_every_figure_and_every_step(tmp_path: Path, table: Exhibit) -> None:
    found = json.loads(written(tmp_path, table)[".json"])
    (first, second) = found["tables"][0]["cells"]
    assert (first["value"], first["paper"], first["missing"]) == (pytest.approx(55.0), 57.3, None)
    assert first["values"] == pytest.approx([50.0, 60.0])
    assert (second["value"], second["missing"]) == (None, "the data have no glue/RTE")
    assert [step["name"] for step in found["steps"]] == ["one", "two"]
    assert found["programs"] == ["0.1.0"]


def test_a_figure_of_the_paper_is_drawn_with_intervals_over_its_columns(tmp_path: Path) -> None:
    cells = [cell(told(tmp_path, "one"), column="10K"), cell(told(tmp_path, "two"), column="100K")]
    drawn = exhibit(*cells, columns=("10K", "100K"), plot="P@5 over pairs", rows=(Row("ours"),), published={})
    page = written(tmp_path, drawn)[".html"]
    assert page.count("<circle") == 2
    assert "P@5 over pairs" in page


def test_a_plot_leaves_a_gap_where_a_figure_is_missing_and_is_nothing_without_any() -> None:
    found = plot("P@5", ("10K", "100K"), {"ours": [Figure(50.0, (40.0, 60.0)), Figure(missing="not run yet")]})
    assert found.count("<circle") == 1
    assert plot("P@5", ("10K",), {"ours": [Figure(missing="not run yet")]}) == ""


def test_a_plot_puts_the_greater_figure_higher() -> None:
    found = plot("P@5", ("10K", "100K"), {"ours": [Figure(50.0), Figure(60.0)]})
    first, second = (float(part.split('"')[0]) for part in found.split('cy="')[1:])
    assert second < first
