"""Doing steps: once, on where they were stopped, without those that fail, and never under other settings."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from reproduce_helpers import Told, done, metrics, told

from interbert.errors import InterbertError
from interbert.reproduce.cells import Result
from interbert.reproduce.cost import Cost
from interbert.reproduce.running import do_steps, results_of, seconds_left


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    order: list[str] = []
    corpus = told(tmp_path, "corpus", done=order)
    run = told(tmp_path, "runs/a", corpus, found=metrics(0.5), done=order)
    for _ in range(2):
        results = do_steps([corpus, run])
        assert order == ["corpus", "runs/a"]
        assert results["runs/a"].found == metrics(0.5)
        assert results["runs/a"].done
    assert (tmp_path / "runs" / "a").is_dir()
    assert not (tmp_path / "runs" / "a" / "checkpoints").exists()


def test_a_step_that_fails_leaves_out_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    order: list[str] = []
    bad = told(tmp_path, "bad", error=InterbertError("no batch"), done=order)
    after, other = told(tmp_path, "after", bad, done=order), told(tmp_path, "other", done=order)
    results = do_steps([bad, after, other])
    assert order == ["bad", "other"]
    assert results["bad"].failure == "no batch"
    assert results["after"].failure == "it needs bad: no batch"
    assert results["other"].done


def test_a_step_that_failed_is_tried_again(tmp_path: Path) -> None:
    do_steps([told(tmp_path, "step", error=InterbertError("the disk is full"))])
    results = do_steps([told(tmp_path, "step", found=metrics(0.5))])
    assert results["step"].done
    assert results["step"].failure == ""


def test_after_ctrl_c_what_is_done_stays_and_time_is_added_up(tmp_path: Path) -> None:
    order: list[str] = []
    first = told(tmp_path, "first", done=order)
    with pytest.raises(KeyboardInterrupt):
        do_steps([first, told(tmp_path, "second", error=KeyboardInterrupt(), done=order)])
    before = results_of([told(tmp_path, "second")])["second"]
    assert not before.done
    results = do_steps([first, told(tmp_path, "second", done=order)])
    assert order == ["first", "second", "second"]
    assert results["second"].seconds >= before.seconds > 0


def test_a_step_that_would_be_done_otherwise_now_is_refused_with_the_difference(tmp_path: Path) -> None:
    do_steps([told(tmp_path, "step", words=("--set", "batch_size=8"))])
    changed = told(tmp_path, "step", words=("--set", "batch_size=16"))
    with pytest.raises(InterbertError, match=r"'batch_size=8'\], is .*'batch_size=16'\]\); give another --out"):
        do_steps([changed])


def test_a_step_whose_folder_was_removed_is_done_again(tmp_path: Path) -> None:
    order: list[str] = []
    step = told(tmp_path, "step", done=order)
    do_steps([step])
    shutil.rmtree(step.folder)
    do_steps([step])
    assert order == ["step", "step"]


def test_what_needs_a_step_that_is_done_again_is_done_again_also_after_a_stop_between(tmp_path: Path) -> None:
    order: list[str] = []
    run = told(tmp_path, "run", done=order)
    measured = told(tmp_path, "measured", run, done=order)
    do_steps([run, measured])
    shutil.rmtree(run.folder)
    do_steps([run])
    assert not results_of([measured])["measured"].done
    do_steps([run, measured])
    assert order == ["run", "measured", "run", "measured"]


def test_a_step_from_before_its_time_was_kept_still_counts(tmp_path: Path) -> None:
    run = told(tmp_path, "run")
    measured = told(tmp_path, "measured", run)
    do_steps([run, measured])
    for name in ("run", "measured"):
        file = tmp_path / "steps" / f"{name}.json"
        kept = json.loads(file.read_text())
        file.write_text(json.dumps({key: kept[key] for key in kept.keys() - {"finished", "after"}}))
    assert all(one.done for one in results_of([run, measured]).values())


def test_a_folder_that_has_moved_goes_on(tmp_path: Path) -> None:
    do_steps([told(tmp_path / "here", "step")])
    (tmp_path / "here").rename(tmp_path / "there")
    order: list[str] = []
    assert do_steps([told(tmp_path / "there", "step", done=order)])["step"].done
    assert not order


def test_a_broken_note_of_a_step_is_one_sentence(tmp_path: Path) -> None:
    step = told(tmp_path, "step")
    do_steps([step])
    (tmp_path / "steps" / "step.json").write_text('{"done": true', encoding="utf-8")
    with pytest.raises(InterbertError, match="is broken .*; remove it, and the step is done again"):
        results_of([step])


def test_the_version_that_did_a_step_is_kept(tmp_path: Path) -> None:
    step = told(tmp_path, "step")
    do_steps([step])
    assert json.loads((tmp_path / "steps" / "step.json").read_text())["program"].startswith("0.")


def test_what_is_left_is_reckoned_by_what_done_steps_took() -> None:
    steps = [told(Path("DIR"), name) for name in "abc"]  # each reckoned at 10 seconds
    results = {"a": done(0.5, seconds=30.0), "b": Result(), "c": Result()}
    assert seconds_left(steps, steps[1:], results) == pytest.approx(60.0)
    assert seconds_left(steps, steps, dict.fromkeys("abc", Result())) == pytest.approx(30.0)


def test_how_long_one_kind_of_step_took_says_nothing_of_another() -> None:
    class Extracting(Told):
        """Steps of another kind."""

    there = Extracting(name="regions", root=Path("DIR"), cost=Cost(seconds=10.0))
    run = told(Path("DIR"), "run")
    results = {"regions": done(0.5, seconds=0.0), "run": Result()}
    assert seconds_left([there, run], [run], results) == pytest.approx(10.0)


def test_each_step_says_its_place_and_what_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "interbert")
    do_steps([told(tmp_path, "first"), told(tmp_path, "second")])
    assert caplog.messages[0].startswith("[1 of 2] first; 2 steps left, about 20 s")
    assert caplog.messages[1].startswith("[2 of 2] second; 1 step left, about ")


def test_reports_are_written_after_every_step(tmp_path: Path) -> None:
    counts: list[int] = []
    steps = [told(tmp_path, "first"), told(tmp_path, "second")]
    do_steps(steps, after=lambda results: counts.append(sum(one.done for one in results.values())))
    assert counts == [1, 2]
