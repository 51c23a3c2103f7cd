"""What benchmarks/ make of their measurements: figures checked by hand, pictures that are SVG."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
Load = Callable[[str], ModuleType]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.syspath_prepend(BENCHMARKS)

    def loaded(name: str) -> ModuleType:
        if name in ("ranking_hours", "time_shares"):
            pytest.importorskip("transformers")
        return importlib.import_module(name)

    return loaded


def test_losses_are_smoothed_without_overlap_and_a_rest_is_left_out(load: Load) -> None:
    assert load("training_precision").smoothed([1.0, 3.0, 5.0, 7.0, 9.0], 2) == [2.0, 6.0]


def test_bf16_is_inside_where_each_of_its_runs_lies_between_those_of_float32(load: Load) -> None:
    compared = load("training_precision").compared
    found = compared([1.0, 2.0, 3.0], [1.5, 2.5])
    assert found["inside"]
    assert found["shift_in_spreads"] == 0.5  # 2.0 beside 1.5 of the same two seeds; 1.0 between seeds
    assert not compared([1.0, 2.0, 3.0], [3.1])["inside"]


def test_curves_are_drawn_each_in_its_colour(load: Load) -> None:
    pictures = load("pictures")
    curves = [pictures.Curve(name, "red", [(0.0, 1.0), (10.0, 2.0)]) for name in ("a < b", "")]
    picture = ElementTree.fromstring(pictures.curves_drawn("title", curves))
    assert len(picture.findall("{*}polyline")) == 2
    assert [text.text for text in picture.findall("{*}text") if text.get("style")] == ["a < b"]


def test_shares_of_a_profile_add_up_and_what_no_operation_has_is_between(load: Load) -> None:
    module = load("time_shares")
    found = module.shares({"aten::addmm": 4.0, "aten::bmm": 1.0, "aten::gelu_backward": 2.0, "aten::sort": 1.0}, 10.0)
    wanted = {"products": 0.4, "attention": 0.1, "norms and GELU": 0.2, module.REST: 0.1, module.BETWEEN: 0.2}
    assert {kind: share for kind, share in found.items() if share} == pytest.approx(wanted)
    ElementTree.fromstring(module.bars({"scoring, fp32": found}))


def test_hours_are_those_of_five_million_pairs_and_ratios_go_round_by_round(load: Load) -> None:
    rounds = [{"bf16": 36.0, "visualbert": slow, "lxmert": 36.0} for slow in (72.0, 108.0)]
    found = load("ranking_hours").report(rounds, pairs=1000)
    assert found["hours"] == {"bf16": 50.0, "visualbert": 125.0, "lxmert": 50.0}
    assert found["ratios"]["visualbert over bf16"] == [2.5, 2.0, 3.0]


def test_a_round_that_met_some_contestants_counts_for_those_alone(load: Load) -> None:
    found = load("ranking_hours").report([{"bf16": 36.0, "lxmert": 72.0}, {"bf16": 72.0}], pairs=1000)
    assert found["hours"] == {"bf16": 75.0, "lxmert": 100.0}
    assert found["share_of_all_pairs"] == {"bf16": 0.0004, "lxmert": 0.0002}
    assert found["ratios"] == {"lxmert over bf16": [2.0, 2.0, 2.0]}


def test_a_folder_of_rounds_goes_on_with_the_options_it_was_begun_with_alone(load: Load, tmp_path: Path) -> None:
    begun = load("ranking_hours").begun
    assert begun(tmp_path / "rounds", {"texts": 2}) == begun(tmp_path / "rounds", {"texts": 2})
    with pytest.raises(SystemExit, match="was begun with {'texts': 2}, not {'texts': 3}"):
        begun(tmp_path / "rounds", {"texts": 3})


def test_a_scan_and_numpy_find_the_same_vectors(load: Load, tmp_path: Path) -> None:
    vectors, queries = np.random.default_rng(0).standard_normal((2, 300, 8), np.float32)
    found = load("scan").measured(tmp_path, vectors, queries[:3], best=10)
    assert set(found) == {"first", "ours", "numpy", "numpy_over_ours"}
    median, least, most = found["ours"]
    assert 0 <= least <= median <= most


def test_captions_of_a_sample_have_the_lengths_of_the_middles(load: Load) -> None:
    found = load("ranking_hours").captions(2, np.random.default_rng(0))
    assert [len(words) for words in found] == [12, 19]


def test_processes_are_compared_by_the_clock_and_their_processor_time_is_said(load: Load) -> None:
    module = load("training_processes")
    found = module.report({module.ONE: [(4.0, 4.0)], module.TWO_THREADS: [(2.5, 5.0)],
                           module.TWO_PROCESSES: [(2.0, 4.0)]}, pairs=20, steps=2)  # fmt: skip
    assert found["pairs_per_second"] == {module.ONE: 5.0, module.TWO_THREADS: 8.0, module.TWO_PROCESSES: 10.0}
    assert found["two_processes_over_two_threads"] == [1.25, 1.25, 1.25]
    assert found["processor_seconds"][module.TWO_THREADS] == 2.5


def test_products_beyond_those_drawn_come_again_and_all_are_scored(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    module, seen = load("growth"), []

    class Counted:
        def __init__(self, model: object, pictures: list[object], at_once: int) -> None:
            seen.append(len(pictures))

        def margins(self, words: object) -> None: ...

    monkeypatch.setattr(module, "Stripe", Counted)
    monkeypatch.setattr(module, "DRAWN", 3)
    model = module.InterBert(module.preset("tiny"))
    module.recalled(model, 300)()
    assert seen == [128, 128, 44]
