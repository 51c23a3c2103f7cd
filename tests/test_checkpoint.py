"""interbert.training.checkpoint"""

from __future__ import annotations

import errno
import logging
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

import interbert.training.checkpoint as module
from interbert.errors import InterbertError
from interbert.training.checkpoint import Checkpoints, load_checkpoint

TENSORS = {"model": {"weight": torch.arange(6.0).view(2, 3)}, "optimizer": {"step/weight": torch.tensor(4.0)}}


def saved(folder: Path, *steps: int, keep: int = 2) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep)
    with checkpoints.lock():
        for step in steps:
            checkpoints.save(step, TENSORS, {"seed": step})
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    newest = saved(tmp_path, 3).newest()
    assert newest is not None
    found = load_checkpoint(newest)
    assert (found.step, found.facts) == (3, {"seed": 3, "step": 3})
    assert torch.equal(found.tensors["model"]["weight"], TENSORS["model"]["weight"])
    assert torch.equal(found.tensors["optimizer"]["step/weight"], TENSORS["optimizer"]["step/weight"])


def test_there_is_no_newest_before_the_first(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).newest() is None


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    saved(tmp_path, 9, 10, 100)
    assert names(tmp_path) == [".lock", "step-00000010", "step-00000100"]


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "step-00000001").iterdir()}
    assert modes == {0o666 & ~current_umask()}


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    checkpoints, draws = saved(tmp_path, 1, 2), random.Random(0)
    newest = tmp_path / "step-00000002"
    files = sorted(path for path in newest.iterdir() if path.name != module.MARKER)
    for _ in range(200):
        file = draws.choice(files)
        whole = file.read_bytes()
        bit = draws.randrange(8 * len(whole))
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        assert checkpoints.newest() == tmp_path / "step-00000001"
        file.write_bytes(whole)
    assert checkpoints.newest() == newest


@pytest.mark.parametrize("name", ["model.safetensors", "facts.json", "whole.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_torn_checkpoint_is_named_and_the_one_before_is_taken(
    tmp_path: Path, name: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    file = tmp_path / "step-00000002" / name
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest() == tmp_path / "step-00000001"
    assert "step-00000002 is not whole" in caplog.text


def test_a_run_whose_checkpoints_are_all_torn_is_not_begun_again_without_asking(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1)
    (tmp_path / "step-00000001" / "whole.json").unlink()
    with pytest.raises(InterbertError, match="none of 1 is whole"):
        checkpoints.newest()


def test_a_later_torn_checkpoint_goes_when_the_run_saves_again(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 3)
    (tmp_path / "step-00000003" / "whole.json").unlink()
    checkpoints.save(2, TENSORS, {})
    assert names(tmp_path) == [".lock", "step-00000001", "step-00000002"]


def test_a_torn_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2)
    (tmp_path / "step-00000002" / "model.safetensors").unlink()
    checkpoints.save(2, TENSORS, {})
    assert checkpoints.newest() == tmp_path / "step-00000002"


def test_a_full_disk_leaves_the_old_checkpoints_and_no_stump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = saved(tmp_path, 1, 2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(InterbertError, match="No space left on device.*those before are intact"):
        checkpoints.save(3, TENSORS, {})
    assert names(tmp_path) == [".lock", "step-00000001", "step-00000002"]
    assert checkpoints.newest() == tmp_path / "step-00000002"


def test_what_a_killed_save_left_is_cleared_away(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1)
    shutil.copytree(tmp_path / "step-00000001", tmp_path / ".step-00000002.part")
    with checkpoints.lock():
        assert names(tmp_path) == [".lock", "step-00000001"]


def test_two_trainings_never_share_a_folder(tmp_path: Path) -> None:
    refused = pytest.raises(InterbertError, match="another process trains there")
    with Checkpoints(tmp_path).lock(), refused, Checkpoints(tmp_path).lock():
        pass
    with Checkpoints(tmp_path).lock():
        pass


def test_a_folder_that_can_not_be_made_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InterbertError, match="can not write there"), Checkpoints(tmp_path / "file" / "run").lock():
        pass
