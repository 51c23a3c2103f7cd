"""Checkpoints are read without running what they hold, and fitted to a table with one error for all that is wrong."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from interbert.errors import InterbertError, UsageError
from interbert.weights.tables import fill, read_tensors, translated, with_new_norm_names

GOOD = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.ones(2)}
OURS = {"x.weight": torch.zeros(2, 3), "x.bias": torch.zeros(2), "y": torch.zeros(2)}
TABLE = [("a", "x"), ("b", "y")]


class Creates:
    """Whoever unpickles it creates a file."""

    def __init__(self, call: Callable[..., Any], *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def saved(value: object, path: Path, old: bool = False) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not old)
    return path


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(("call", "name"), [(open, "io.open"), (eval, "eval")])
def test_a_malicious_checkpoint_creates_nothing_and_the_error_says_why(
    tmp_path: Path, call: Callable[..., Any], name: str, old: bool
) -> None:
    created = tmp_path / "created"
    arguments = (str(created), "w") if call is open else (f"open({str(created)!r}, 'w')",)
    file = saved(GOOD | {"c": Creates(call, *arguments)}, tmp_path / "model.bin", old)
    with pytest.raises(InterbertError, match=rf"holds more than tensors: reading it would run {name}\. Nothing"):
        read_tensors(file)
    assert not created.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_bare_malicious_pickle_creates_nothing(tmp_path: Path, protocol: int) -> None:
    created, file = tmp_path / "created", tmp_path / "model.bin"
    file.write_bytes(pickle.dumps(Creates(open, str(created), "w"), protocol=protocol))
    with pytest.raises(InterbertError, match=r"reading it would run io\.open"):
        read_tensors(file)
    assert not created.exists()


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.98])
def test_a_checkpoint_that_is_cut_short_is_named(tmp_path: Path, share: float, old: bool) -> None:
    file = saved({"a": torch.zeros(5000)}, tmp_path / "model.bin", old)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(InterbertError, match=r"model\.bin' does not hold tensors"):
        read_tensors(file)


def test_a_safetensors_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    save_file(GOOD, tmp_path / "m.safetensors")
    (tmp_path / "m.safetensors").write_bytes((tmp_path / "m.safetensors").read_bytes()[:-5])
    with pytest.raises(InterbertError, match="cut short or no checkpoint"):
        read_tensors(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"PK\x03\x04 and no more", "does not hold tensors"),
        (b"weights", "does not hold tensors"),
    ],
)
def test_what_is_no_checkpoint_is_called_what_it_is(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(InterbertError, match=said):
        read_tensors(tmp_path / "model.bin")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([torch.ones(1)], "holds a list, wanted tensors by name"),
        ({}, "holds nothing"),
        (GOOD | {"optimizer": {"lr": 0.1}, "epoch": 3}, r"other things than tensors \(optimizer, epoch\)"),
        (nn.Linear(1, 1), r"would run torch\.nn\.modules\.linear\.Linear"),
    ],
)
def test_a_file_of_other_things_than_tensors_is_refused(tmp_path: Path, value: object, said: str) -> None:
    with pytest.raises(InterbertError, match=said):
        read_tensors(saved(value, tmp_path / "model.bin"))


def test_a_file_that_is_not_there_is_a_wrong_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        read_tensors(tmp_path / "none.bin")


def test_a_good_file_is_read_in_all_three_layouts(tmp_path: Path) -> None:
    save_file(GOOD, tmp_path / "m.safetensors")
    files = [tmp_path / "m.safetensors", saved(GOOD, tmp_path / "new.bin"), saved(GOOD, tmp_path / "old.bin", old=True)]
    for file in files:
        found = read_tensors(file)
        assert found.keys() == GOOD.keys()
        assert all(torch.equal(tensor, GOOD[name]) for name, tensor in found.items())


def test_a_key_belongs_to_a_row_only_at_a_dot() -> None:
    assert translated("a.weight", TABLE) == "x.weight"
    assert translated("b", TABLE) == "y"
    assert translated("ab.weight", TABLE) is None


def test_tensors_come_under_our_names_as_float32() -> None:
    found = fill(GOOD | {"a.bias": torch.ones(2).half(), "c.x": torch.ones(1)}, TABLE, OURS, "what", ["c"])
    assert found.tensors.keys() == OURS.keys()
    assert {tensor.dtype for tensor in found.tensors.values()} == {torch.float32}
    assert found.not_used == ("c.x",)


def test_what_may_be_missing_is_said_by_the_caller() -> None:
    with pytest.raises(InterbertError, match=r"nothing fills x\.bias"):
        fill(GOOD, TABLE, OURS, "what")
    only_y = fill({"b": torch.ones(2)}, TABLE, OURS, "what", optional=("x",))
    assert only_y.tensors.keys() == {"y"}


def test_of_many_problems_twenty_are_named_and_the_others_counted() -> None:
    with pytest.raises(InterbertError) as caught:
        fill({f"z{at:02}": torch.ones(1) for at in range(50)}, TABLE, OURS, "what")
    head, *problems = str(caught.value).splitlines()
    assert (head, len(problems)) == ("what:", 21)
    assert problems[-1] == "  and 33 more"  # 50 unknown and 3 missing


def test_old_norm_names_are_those_of_norms_alone() -> None:
    old = {"a.LayerNorm.gamma": 1, "a.LayerNorm.beta": 2, "gamma": 3}
    assert with_new_norm_names(old) == {"a.LayerNorm.weight": 1, "a.LayerNorm.bias": 2, "gamma": 3}  # type: ignore
