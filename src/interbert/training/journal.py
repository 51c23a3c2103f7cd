"""What a run says while it goes: training.jsonl, one line of progress on stderr, TensorBoard where it is asked for.

A line of a step: {"step", "stage", "losses": {...}, "learning_rate", "gradient_norm", "pairs_per_second", "seconds"};
a loss is the mean since the line before. A line of a validation: {"step", "validation": {...}}. Seconds count the
steps, not what is between them. After a resume the file is as if the run had never stopped, but for `TIMING`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tqdm import tqdm

from interbert.errors import InterbertError, UsageError

TIMING = ("pairs_per_second", "seconds")  # fields of a line that differ from run to run
Line = dict[str, Any]


class Journal:
    """A context manager; `path` None is a process that writes nothing."""

    def __init__(
        self,
        path: Path | None,
        *,
        start: int,
        total_steps: int,
        progress: bool,
        tensorboard: bool,
        on_log: Callable[[Line], None] | None,
    ) -> None:
        self._on_log = on_log if path is not None else None
        self._file: IO[str] | None = None
        self._curves = _curves(path.parent, start) if tensorboard and path is not None else None
        if path is not None:
            cut_after(path, start)
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by __exit__
        quiet = not progress or path is None
        self._bar = tqdm(
            total=total_steps, initial=start, unit="step", disable=quiet, dynamic_ncols=True, smoothing=0.1
        )

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._file is not None:
            self._file.close()
        if self._curves is not None:
            self._curves.close()

    def write(self, line: Line) -> None:
        """One line, at once readable by others."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise InterbertError(f"{self._file.name}: could not be written ({error.strerror}); make room") from error
        if self._curves is not None:
            for name, value in _numbers(line):
                self._curves.add_scalar(name, value, line["step"])
        if self._on_log is not None:
            self._on_log(line)

    def advance(self, loss: float, pairs_per_second: float) -> None:
        """One step more on the line of progress."""
        self._bar.set_postfix({"loss": f"{loss:.3f}", "pairs/s": f"{pairs_per_second:.0f}"}, refresh=False)
        self._bar.update()

    def sync(self) -> None:
        """To the disk: a checkpoint never knows of more steps than the file."""
        if self._file is not None:
            os.fsync(self._file.fileno())


def cut_after(path: Path, step: int) -> None:
    """Takes away the lines of later steps, and one that a crash cut short."""
    if not path.exists():
        return
    kept = 0
    with open(path, "rb") as file:
        for line in file:
            if not line.endswith(b"\n") or _step_of(line) > step:
                break
            kept += len(line)
    os.truncate(path, kept)


def read_journal(path: Path) -> list[Line]:
    """The lines of a run's training.jsonl."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _step_of(line: bytes) -> float:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf


def _numbers(line: Mapping[str, Any]) -> list[tuple[str, float]]:
    """`{"losses": {"words": 1.0}}` -> [("losses/words", 1.0)], for every number of a line but its step."""
    nested = {
        f"{outer}/{name}": value
        for outer, part in line.items()
        if isinstance(part, dict)
        for name, value in part.items()
    }
    flat = {name: value for name, value in line.items() if name != "step"} | nested
    return [(name, float(value)) for name, value in flat.items() if isinstance(value, int | float)]


def _curves(folder: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError("tensorboard: wanted, but not installed; pip install 'interbert[tensorboard]'") from None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)
