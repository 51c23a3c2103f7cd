"""Where regions come from, written down and compared."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from interbert.errors import InterbertError
from interbert.vision.provenance import UNKNOWN, ExtractorInfo

INFO = ExtractorInfo("hf:some/detector", 256, ("cat", "狗"), "ab" * 32, {"size": 448, "mean": (0.5, 0.4)})


def test_an_extractor_comes_back_from_its_file(tmp_path: Path) -> None:
    INFO.save(tmp_path / "extractor.json")
    loaded = ExtractorInfo.load(tmp_path / "extractor.json")
    assert loaded == INFO
    assert loaded.difference(INFO) is None
    assert ExtractorInfo.from_json(asdict(INFO)) == INFO


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "embedded"}, "name 'hf:some/detector' and 'embedded'"),
        ({"feature_size": 736}, "feature_size 256 and 736"),
        ({"classes": ("cat",)}, "the class names"),
        ({"attributes": ("red",)}, "the attribute names"),
        ({"weights_sha256": "cd"}, f"weights_sha256 '{'ab' * 32}' and 'cd'"),
        ({"settings": {}}, "settings {"),
    ],
)
def test_any_difference_is_named(change: dict[str, Any], words: str) -> None:
    difference = INFO.difference(replace(INFO, **change))
    assert difference is not None
    assert difference.startswith(words)


def test_the_same_weights_in_another_folder_make_no_difference() -> None:
    moved = replace(INFO, name="hf:/elsewhere/detector")
    assert INFO.difference(moved) is None
    assert INFO.kind == moved.kind == "hf"


def test_an_unknown_extractor_agrees_with_every_one_of_its_size() -> None:
    unknown = ExtractorInfo(UNKNOWN, 256)
    assert unknown.difference(INFO) is None
    assert INFO.difference(unknown) is None
    assert INFO.difference(replace(unknown, feature_size=736)) == "feature_size 256 and 736"


def test_a_name_counts_whole_where_the_weights_are_not_known() -> None:
    first = replace(INFO, weights_sha256="")
    assert first.difference(replace(first, name="hf:another")) == "name 'hf:some/detector' and 'hf:another'"


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"name": "x"}', json.dumps({**asdict(INFO), "more": 1})])
def test_a_file_that_describes_no_extractor_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "extractor.json"
    path.write_text(text)
    with pytest.raises(InterbertError, match="does not describe an extractor"):
        ExtractorInfo.load(path)
    with pytest.raises(InterbertError, match="make the folder again"):
        ExtractorInfo.load(tmp_path / "missing.json")
