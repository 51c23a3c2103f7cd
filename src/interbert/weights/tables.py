"""Other people's tensors under our names: tables that one can read, checkpoints read without running what they hold.

A file of tensors and a table come in, our state dict leaves; what the table does not know, what does not fit and what
is missing is one error that names all of it.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from interbert.errors import InterbertError, UsageError

BERT_LAYER_TO_OURS = [  # within a layer of BERT, and of what descends from it
    ("attention.self.query", "attention.query"),
    ("attention.self.key", "attention.key"),
    ("attention.self.value", "attention.value"),
    ("attention.output.dense", "attention.output"),
    ("attention.output.LayerNorm", "attention_norm"),
    ("intermediate.dense", "expand"),
    ("output.dense", "contract"),
    ("output.LayerNorm", "norm"),
]
SHOWN = 20  # so many problems of a file are named, the rest counted
NO_CHECKPOINTS = {  # how files begin that people take for checkpoints
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file itself with  git lfs pull",
    b"<": "a web page, as a download that failed leaves; get the file itself",
}

Table = list[tuple[str, str]]


@dataclass(frozen=True)
class Filled:
    """What a table made of a file. tensors: by our names.  not_used: the file's keys left out on purpose."""

    tensors: dict[str, Tensor]
    not_used: tuple[str, ...]


def translated(key: str, table: Table) -> str | None:
    """Our name of a key: that of the first row that it equals or begins with, or None.

    >>> translated("output.dense.bias", BERT_LAYER_TO_OURS)
    'contract.bias'
    """
    for theirs, ours in table:
        if key == theirs or key.startswith(theirs + "."):
            return ours + key[len(theirs) :]
    return None


def fill(
    theirs: Mapping[str, Tensor],
    table: Table,
    ours: Mapping[str, Tensor],
    what: str,
    not_used: Sequence[str] = (),
    optional: tuple[str, ...] = (),
) -> Filled:
    """The file's tensors under our names, as float32.

    ours: the state dict to be filled; every tensor of it that a row of the table names must come, but those whose name
    begins with one of `optional`. what: the file and the model, for the message ("'x.bin' does not fit this model").
    not_used: keys (or beginnings up to a dot) that are known and left out.
    Raises InterbertError with the unknown keys, shapes that do not fit, numbers that are not finite, missing tensors.
    """
    tensors: dict[str, Tensor] = {}
    left: list[str] = []
    problems: list[str] = []
    for key, tensor in theirs.items():
        target = translated(key, table)
        if target is None or target not in ours:
            is_known = any(key == name or key.startswith(name + ".") for name in not_used)
            (left if is_known else problems).append(key if is_known else f"unknown key {key}")
        elif ours[target].shape != tensor.shape:
            problems.append(f"{key}: got shape {tuple(tensor.shape)}, wanted {tuple(ours[target].shape)}")
        elif not torch.isfinite(tensor).all():
            problems.append(f"{key}: got a number that is not finite")
        else:
            tensors[target] = tensor.float()
    named = [row for _, row in table if not row.startswith(optional or ("\0",))]
    needed = {key for row in named for key in ours if key == row or key.startswith(row + ".")}
    problems += [f"missing: nothing fills {key}" for key in sorted(needed - set(tensors))]
    if problems:
        raise InterbertError(f"{what}:\n  " + "\n  ".join(shortened(problems)))
    return Filled(tensors, tuple(sorted(left)))


def shortened(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many there are more."""
    more = len(lines) - SHOWN
    return list(lines) if more <= 0 else [*lines[:SHOWN], f"and {more:,} more"]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint, `.safetensors` or torch's own (also that of before 2020), and nothing else of it.

    Nothing that the file holds is run. Raises UsageError where there is no file, InterbertError where it is cut short,
    is no checkpoint, holds code, or anything but tensors by name.
    """
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'; wanted a checkpoint")
    with open(path, "rb") as file:
        start = file.read(64).lstrip()
    for begins, kind in NO_CHECKPOINTS.items():
        if start.startswith(begins):
            raise InterbertError(f"'{path}' does not hold tensors: it is {kind}")
    try:
        return _checked(path, _loaded(path))
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\w[\w.]*)", str(error))
        code = found[1] if found else _code_in(path)
        why = (
            f"holds more than tensors: reading it would run {code}. Nothing of it was run or read; mistrust its maker"
            if code
            else "does not hold tensors: it is no checkpoint of torch, or a damaged one; get it again"
        )
        raise InterbertError(f"'{path}' {why}") from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        said = re.split(r"[.\n] ?", str(error), maxsplit=1)[0] or type(error).__name__
        raise InterbertError(
            f"'{path}' does not hold tensors that can be read ({said}); it is cut short or no checkpoint; get it again"
        ) from error


def _loaded(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pickle protocols; what matters is an error
        return torch.load(path, map_location="cpu", weights_only=True)


def _code_in(path: Path) -> str | None:
    """What a bare pickle would import first, by looking at its instructions."""
    texts: list[str] = []
    try:
        with open(path, "rb") as file:
            for operation, argument, _ in pickletools.genops(file):
                if operation.name == "GLOBAL":
                    return str(argument).replace(" ", ".")
                if operation.name == "STACK_GLOBAL":
                    return ".".join(texts[-2:]) or "code"
                if isinstance(argument, str):
                    texts.append(argument)
    except ValueError:  # no pickle
        pass
    return None


def _checked(path: Path, value: Any) -> dict[str, Tensor]:
    if not isinstance(value, Mapping):
        raise InterbertError(f"'{path}' holds a {type(value).__name__}, wanted tensors by name (a state dict)")
    other = [str(key) for key, held in value.items() if not (isinstance(key, str) and isinstance(held, Tensor))]
    if other or not value:
        held = f"other things than tensors ({listed(other)})" if other else "nothing"
        raise InterbertError(f"'{path}' holds {held}, wanted tensors by name (a state dict)")
    return dict(value)


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names in a sentence, the first few.

    >>> listed("abcdefghi")
    'a, b, c, d, e, f, …'
    """
    names = list(names)
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def with_new_norm_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`LayerNorm.gamma` and `LayerNorm.beta`, as files of 2018 and 2019 spell them, as `weight` and `bias`."""
    old = {"gamma": "weight", "beta": "bias"}
    return {re.sub(r"LayerNorm\.(gamma|beta)$", lambda m: f"LayerNorm.{old[m[1]]}", k): v for k, v in tensors.items()}
