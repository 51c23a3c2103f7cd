"""What the authors' code gave on a batch, against ours with the converted weights: every tensor, loss and gradient."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open

from interbert import cli
from interbert.pretraining.released_check import Comparison, compare
from interbert.weights.released import read_released

pytestmark = pytest.mark.shared_data
AIM = 1e-5  # a tenth of the limit of tensors


@pytest.fixture(scope="module")
def recorded(shared: Path) -> Path:
    return shared / "fixtures" / "official-interbert" / "a"


def names(file: Path) -> set[str]:
    with safe_open(file, "pt") as opened:
        return set(opened.keys())


def compared(recorded: Path, checkpoint: str) -> Comparison:
    released = read_released(recorded / checkpoint, recorded / "config.json")
    return compare(released, recorded / "inputs.safetensors", recorded / "outputs.safetensors")


@pytest.mark.parametrize("checkpoint", ["pretrained.bin", "vl_tasks.bin"])
def test_every_recorded_tensor_agrees(recorded: Path, checkpoint: str) -> None:
    found = compared(recorded, checkpoint)
    assert found.is_within, "\n".join(found.lines())
    assert found.largest("tensor") < AIM
    for file in ("outputs.safetensors", "trace.safetensors"):
        mine = {name for name in names(recorded / file) if name.startswith("vl_") == (checkpoint == "vl_tasks.bin")}
        tensors = {one.name for one in found.differences if (one.file, one.kind) == (file, "tensor")}
        assert tensors == {name for name in mine if not name.startswith("loss")}


def test_losses_agree_as_released_and_fixed(recorded: Path) -> None:
    found = [one for one in compared(recorded, "pretrained.bin").differences if one.kind == "loss"]
    assert len(found) == 6
    assert all(one.difference < 2e-6 for one in found)


def test_every_gradient_norm_agrees(recorded: Path) -> None:
    found = [one for one in compared(recorded, "pretrained.bin").differences if one.kind == "gradient"]
    for file in ("grads.safetensors", "grads_fixed.safetensors"):
        mine = [one for one in found if one.file == file]
        assert {one.name for one in mine} == names(recorded / file)
        assert all(one.difference <= one.limit / 10 for one in mine)  # 1e-4 relative, 1e-6 absolute


@pytest.mark.parametrize("checkpoint", ["pretrained.bin", "vl_tasks.bin"])
def test_the_command_says_so(
    recorded: Path, checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["convert", "released", recorded / checkpoint, "--config", recorded / "config.json", "--out", tmp_path]
    command += ["--check", recorded / "inputs.safetensors", recorded / "outputs.safetensors"]
    assert cli.run(list(map(str, command))) == 0
    said = capsys.readouterr().out
    assert "outputs.safetensors: largest difference of" in said
    assert "above the limit" not in said
