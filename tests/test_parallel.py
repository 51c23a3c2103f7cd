"""interbert.training.parallel: two real processes over gloo (two_processes.py), compared with one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from toy import ToyJob, ToyModel, lines_without_timing
from two_processes import SETTINGS, OneHead

from interbert.errors import InterbertError, UsageError
from interbert.training.loop import train
from interbert.training.parallel import Parallel, Shared, processes

HERE = Path(__file__).parent
KINDS = pytest.mark.parametrize("kind", ["ddp", "fsdp"])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """How each scenario ended, and the folder in which they ran."""
    folder = tmp_path_factory.mktemp("two")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    command = [sys.executable, str(HERE / "two_processes.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "find_unused_parameters" not in done.stderr
    return json.loads(done.stdout), folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[ToyModel, Path]:
    """The same run in one process, with the same pairs a step in a single batch."""
    model, out = ToyModel(dropout=0.0), tmp_path_factory.mktemp("one")
    train(model, ToyJob(micro_batch=8), SETTINGS, out, progress=False)
    return model, out


def weights(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "weights.pt", weights_only=True)  # type: ignore[no-any-return]


def assert_close(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(
            tensor, theirs[name], atol=1e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}"
        )


@KINDS
def test_two_processes_give_the_weights_of_one(
    kind: str, two: tuple[dict[str, Any], Path], one: tuple[ToyModel, Path]
) -> None:
    assert two[0][kind]["statuses"] == [0, 0], two[0][kind]["errors"]
    assert_close(weights(two[1] / kind), one[0].state_dict())


@KINDS
def test_two_processes_log_the_losses_of_one(
    kind: str, two: tuple[dict[str, Any], Path], one: tuple[ToyModel, Path]
) -> None:
    ours, theirs = lines_without_timing(two[1] / kind), lines_without_timing(one[1])
    assert [line["step"] for line in ours] == [4, 6, 8, 12, 12]
    for mine, wanted in zip(ours, theirs, strict=True):
        part = "losses" if "losses" in wanted else "validation"
        assert mine[part] == pytest.approx(wanted[part], abs=1e-5)


@KINDS
@pytest.mark.parametrize("group", ["model", "optimizer", "average"])
def test_two_processes_save_the_whole_state(
    kind: str, group: str, two: tuple[dict[str, Any], Path], one: tuple[ToyModel, Path]
) -> None:
    file = f"checkpoints/step-00000010/{group}.safetensors"
    assert_close(load_file(two[1] / kind / file), load_file(one[1] / file))


@KINDS
def test_two_processes_that_broke_down_end_as_the_unbroken_ones(kind: str, two: tuple[dict[str, Any], Path]) -> None:
    assert two[0][f"{kind}-resumed"]["statuses"] == [0, 0], two[0][f"{kind}-resumed"]["errors"]
    ours, theirs = weights(two[1] / f"{kind}-broken"), weights(two[1] / kind)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert lines_without_timing(two[1] / f"{kind}-broken") == lines_without_timing(two[1] / kind)


def test_a_killed_process_does_not_hang_the_other_which_says_what_happened(two: tuple[dict[str, Any], Path]) -> None:
    killed = two[0]["killed"]
    assert killed["statuses"] == [1, -9]
    assert "process 0 of 2 lost another one" in killed["errors"][0]
    assert killed["seconds"] < 30


def test_all_leave_together_when_rank_0_has_written_its_last_file(two: tuple[dict[str, Any], Path]) -> None:
    assert two[0]["late"]["statuses"] == [0, 0], two[0]["late"]["errors"]
    for turn in ("first", "again"):  # a program may join several times
        for rank in (0, 1):
            assert json.loads((two[1] / "late" / f"{turn} {rank}.json").read_text()) == {"written": True, "gloo": 0}


def test_a_signal_to_one_process_stops_both_after_the_same_step(two: tuple[dict[str, Any], Path]) -> None:
    assert two[0]["stopped"]["statuses"] == [143, 143]
    assert [path.name for path in (two[1] / "stopped" / "checkpoints").glob("step-*")] == ["step-00000004"]


def test_a_checkpoint_of_two_processes_goes_on_in_one_where_inexact_is_allowed(
    two: tuple[dict[str, Any], Path], one: tuple[ToyModel, Path], tmp_path: Path
) -> None:
    model, job, out = ToyModel(dropout=0.0), ToyJob(micro_batch=8), tmp_path / "run"
    shutil.copytree(two[1] / "stopped", out)
    with pytest.raises(InterbertError, match="machine.processes: 2 in the checkpoint, now 1"):
        train(model, job, SETTINGS, out, progress=False)
    summary = train(model, job, replace(SETTINGS, allow_inexact=True), out, progress=False)
    assert summary.resumed_from == 4
    assert_close(model.state_dict(), one[0].state_dict())


def test_other_processes_with_other_pairs_are_refused_even_then(two: tuple[dict[str, Any], Path]) -> None:
    settings = replace(SETTINGS, allow_inexact=True)
    with pytest.raises(InterbertError, match="must train the same pairs a step"):
        train(ToyModel(), ToyJob(seed=4), settings, two[1] / "killed", progress=False)


def test_as_many_micro_batches_are_wanted_of_each_process(two: tuple[dict[str, Any], Path]) -> None:
    assert two[0]["uneven"]["statuses"] == [1, 1]
    assert "got 1 on rank 1; wanted 1 or more, as many on each" in two[0]["uneven"]["errors"][1]


def test_a_head_that_no_loss_uses_stays_as_it_is(two: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    model = ToyModel(dropout=0.0)
    train(model, OneHead(micro_batch=8), SETTINGS, tmp_path, progress=False)
    ours = weights(two[1] / "one-head")
    assert torch.equal(ours["word_head.bias"], ToyModel().word_head.bias.detach())
    assert_close(ours, dict(model.state_dict()))


def test_one_process_is_its_own_leader_and_sum() -> None:
    alone = Parallel()
    assert (alone.leads, alone.world, alone.kind) == (True, 1, "plain")
    assert alone.sum({"pairs": 3}) == {"pairs": 3.0}
    assert (alone.from_leader("a"), alone.gathered("a")) == ("a", ["a"])


def test_outside_of_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with processes() as parallel:
        assert (parallel.rank, parallel.world) == (0, 1)
    with pytest.raises(UsageError, match="torchrun"), processes("fsdp"):
        pass


def test_only_the_last_micro_batch_of_a_step_is_communicated() -> None:
    sent: list[int] = []

    def counted(_: None, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        sent.append(bucket.buffer().numel())
        done: torch.futures.Future[Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    counted.__annotations__.clear()  # DDP reads them, and takes them for strings here
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        shared = Shared(nn.Linear(3, 2), Parallel(kind="ddp"))
        shared._module.register_comm_hook(None, counted)
        for last, communicated in ((False, 0), (False, 0), (True, 9)):  # 3 * 2 weights, 2 biases, what is never used
            with shared.gradients(last):
                shared.run(lambda model: model(torch.ones(4, 3))).sum().backward()
            assert sum(sent) == communicated
    finally:
        dist.destroy_process_group()
