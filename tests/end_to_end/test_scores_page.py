"""docs/scores.md: its commands and its Python run as they stand, beside a run whose scores tell pairs apart."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pretraining_helpers import EXTRACTOR, WORDS, random_regions
from task_helpers import CONFIG, saved_run

import interbert
from interbert import cli
from interbert.batch import Regions
from interbert.corpus.build import BuildOptions, build_corpus
from interbert.corpus.readers import Caption
from interbert.text.tokenizer import Tokenizer
from interbert.vision.extractor import EXTRACTORS, Extractor
from interbert.vision.provenance import ExtractorInfo
from interbert.vision.store import RegionStore

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "scores.md").read_text(encoding="utf-8")
PICTURES, TEXTS = 50, 12


def commands() -> list[str]:
    return [line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.S) for line in block.splitlines()]


class Random(Extractor):
    """Six random regions, whatever the picture."""

    @property
    def info(self) -> ExtractorInfo:
        return EXTRACTOR

    def extract(self, images: Sequence[Any]) -> list[Regions]:
        return [random_regions(np.random.default_rng(0), 6) for _ in images]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the page names. Of random texts, each picture has the one that the run likes best for its own."""
    folder = tmp_path_factory.mktemp("scores")
    scorer = interbert.load(saved_run(folder / "run", replace(CONFIG, initializer_range=0.3)), device="cpu")
    random, captions, rows = np.random.default_rng(0), [], []
    with RegionStore.writer(folder / "regions", EXTRACTOR) as writer:
        for at in range(PICTURES):
            regions = random_regions(random, 5)
            writer.append(f"p{at}", regions)
            texts = [f"a {' '.join(random.choice(WORDS, 4))}" for _ in range(TEXTS)]
            order = np.argsort(scorer.margins([(text, regions) for text in texts]))
            captions.append(Caption(f"p{at}", texts[order[-1]], "validation", str(at)))
            for place, text in enumerate(order.tolist()):
                label = int(random.random() < (place + 0.5) / TEXTS)
                rows.append({"text": texts[text], "image": f"p{at}", "label": label})
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    tokenizer = Tokenizer.load(folder / "run" / "tokenizer.json")
    build_corpus(captions, RegionStore(folder / "regions"), tokenizer, folder / "corpus", BuildOptions(min_regions=1))
    Image.new("RGB", (100, 80), "white").save(folder / "dogs.jpg")
    return folder


def test_every_command_and_the_python_of_the_page_run(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setitem(EXTRACTORS, "random", lambda argument, settings: Random())
    statuses = {command: cli.run([*shlex.split(command)[1:], "--quiet"]) for command in commands()}
    assert len(statuses) == 10
    assert set(statuses.values()) == {0}, statuses
    said = capsys.readouterr().out
    assert "precision 0.8: threshold 0." in said
    assert "where 0.05 of all pairs are matches:" in said
    assert {"calibration.json", "calibration.html"} <= {path.name for path in Path("run").iterdir()}
    assert Path("dogs.html").read_text().count('<img src="data:image/webp') == 1
    with Image.open("boxes.png") as drawn:
        assert drawn.size == (100, 80)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict[str, Any] = {}
    exec(compile(code, "scores.md", "exec"), names)
    assert names["found"].weights.shape == (5, 6)
    assert names["scorer"].calibration.kind != "as it is"


def test_calibrate_and_explain_as_json(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setitem(EXTRACTORS, "random", lambda argument, settings: Random())
    rows = Path("pairs.jsonl").read_text() + "\n" + json.dumps({"text": "a dog", "image": "lost", "label": 1})
    Path("with-a-lost-one.jsonl").write_text(rows)
    command = "calibrate with-a-lost-one.jsonl --from run --store regions --json"
    assert cli.run(shlex.split(command)) == 3
    said = capsys.readouterr()
    assert json.loads(said.out)["left_out"] == {"its picture cannot be read": 1}
    assert "1 left out: its picture cannot be read" in said.err
    assert cli.run(["explain", "a dog", "dogs.jpg", "--from", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["word"] for one in found["words"]] == ["a", "dog"]
    assert len(found["regions"]) == 6


def test_a_file_that_is_neither_page_nor_picture_is_refused_before_anything_runs(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert cli.run(["explain", "a dog", "dogs.jpg", "--from", "run", "--out", "boxes.gif"]) == 2
    assert "--out: got 'boxes.gif', wanted a name that ends in .html" in capsys.readouterr().err
