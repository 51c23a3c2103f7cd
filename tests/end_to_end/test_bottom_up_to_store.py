"""Published weights -> `convert bottom-up` -> `extract` -> a store with names; and what happens if a stage is off."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from interbert import cli
from interbert.vision.store import RegionStore

pytestmark = pytest.mark.shared_data
LAYOUTS = pytest.mark.parametrize(
    ("name", "file"), [("bottom-up", "pytorch_model.bin"), ("bottom-up-caffe", "bua-caffe-frcn-r101-k10-100.pth")]
)


def convert(fixture: Path, file: str, out: Path, *more: str) -> int:
    config = str(fixture / "config.yaml")
    return cli.run(["convert", "bottom-up", str(fixture / file), "--config", config, "--out", str(out), *more])


@LAYOUTS
def test_published_weights_become_regions_in_a_store(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, file: str
) -> None:
    fixture, detector, store = shared / "fixtures" / name, tmp_path / "detector", tmp_path / "regions"
    names = {kind: (tmp_path / f"{kind}.txt", count) for kind, count in (("objects", 20), ("attributes", 7))}
    for kind, (path, count) in names.items():
        path.write_text("".join(f"{kind} no {number},synonym\n" for number in range(count)))
    vocabularies = [part for kind, (path, _) in names.items() for part in (f"--{kind}", str(path))]
    assert convert(fixture, file, detector, *vocabularies, "--check", str(fixture)) == 0
    said = capsys.readouterr()
    assert "ok   roi.features: " in said.out
    assert "stages agree" in said.out
    assert "names are numbers" not in said.err

    extracted = ["extract", str(fixture / "images"), "--out", str(store), "--extractor", f"bottom-up:{detector}"]
    assert cli.run([*extracted, "--max-regions", "100", "--workers", "0"]) == 0
    with RegionStore(store) as opened:
        assert list(opened) == ["img0", "img1", "img2"]
        assert opened.extractor.classes[3] == "objects no 3"
        assert opened.extractor.attributes[6] == "attributes no 6"
        assert opened["img1"].attributes is not None
        count = len(
            load_file(fixture / "outputs.safetensors")[f"img1/{'butd' if name == 'bottom-up' else 'final'}.keep"]
        )
        assert len(opened["img1"]) == count


def test_a_stage_that_is_off_fails_and_nothing_is_written(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixture = tmp_path / "fixture"
    shutil.copytree(shared / "fixtures" / "bottom-up", fixture)
    recorded = load_file(fixture / "outputs.safetensors")
    recorded["img2/roi.features"][3, 5] += 1e-3
    (fixture / "outputs.safetensors").unlink()
    save_file(recorded, fixture / "outputs.safetensors")
    out = tmp_path / "detector"
    assert convert(fixture, "pytorch_model.bin", out, "--check", str(fixture), "--json") == 1
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert [d["stage"] for d in result["differences"] if not d["fine"]] == ["roi.features"]
    assert not result["is_written"]
    assert not out.exists()
    assert "object 17" in said.err


def test_weights_and_config_of_different_projects_are_told_apart(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = shared / "fixtures"
    weights, config = both / "bottom-up" / "pytorch_model.bin", both / "bottom-up-caffe" / "config.yaml"
    arguments = ["convert", "bottom-up", str(weights), "--config", str(config), "--out", str(tmp_path / "detector")]
    assert cli.run(arguments) == 1
    assert "layout 'unc', its config of 'caffe'" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["objects", "attributes"])
def test_the_published_vocabularies_are_read(shared: Path, kind: str) -> None:
    from interbert.vision.bottom_up_folder import read_names

    names = read_names(shared / "data" / "vg_vocab" / f"{kind}_vocab.txt")
    assert len(names) == len(set(names)) == {"objects": 1600, "attributes": 400}[kind]
