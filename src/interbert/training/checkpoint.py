"""Checkpoints: named tensors and facts in a folder that is whole or does not count. No pickle.

    checkpoints/step-00000123/model.safetensors optimizer.safetensors [average.safetensors] facts.json whole.json

A checkpoint is written under a temporary name, its files flushed to disk, `whole.json` with the sha256 of each of them
last, and renamed. One whose files are missing, cut or changed is passed over, said so, for the one before.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from interbert.errors import InterbertError
from interbert.files import sha256_of, sync_folder, write_json

MARKER = "whole.json"
FACTS = "facts.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What was saved after `step` updates: groups of tensors by name, and JSON facts."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    facts: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run, newest `keep` of them. Only the holder of `lock` may save."""

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder, self.keep = folder, keep

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Makes the folder and keeps other trainings out of it; clears away what a killed one left half written.

        Raises InterbertError where the folder can not be written or another process holds it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise InterbertError(
                f"{self.folder}: can not write there ({error.strerror}); give another --out"
            ) from error
        try:
            _take(handle, self.folder)
            for leftover in self.folder.glob(".step-*.part"):
                shutil.rmtree(leftover)
            yield
        finally:
            os.close(handle)

    def save(self, step: int, tensors: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any]) -> Path:
        """Writes a checkpoint, whole or not at all, then removes those that are no longer wanted.

        Raises InterbertError where it can not be written (a full disk); the ones before stay as they are.
        """
        final = self.folder / f"step-{step:08d}"
        temporary = self.folder / f".{final.name}.part"
        try:
            _write(temporary, tensors, {**facts, "step": step})
            if final.exists():  # one that was found torn: from a whole one the run would have gone on
                shutil.rmtree(final)
            temporary.rename(final)
            sync_folder(self.folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise InterbertError(
                f"{final}: the checkpoint could not be written ({error}); those before are intact. "
                "Make room, then give the same command again."
            ) from error
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._remove_others(step)
        return final

    def newest(self) -> Path | None:
        """The newest whole checkpoint, or None where there is none. Those passed over are named on the log.

        Raises InterbertError where there are some but none is whole: a run is not begun again without asking.
        """
        folders = sorted(self.folder.glob("step-*"), reverse=True)
        for folder in folders:
            if (fault := _fault(folder)) is None:
                return folder
            log.warning("%s is not whole (%s); looking at the one before", folder, fault)
        if folders:
            raise InterbertError(f"{self.folder}: none of {len(folders)} is whole; remove them to begin the run again")
        return None

    def _remove_others(self, step: int) -> None:
        """Keeps the newest up to `step`; later ones are torn, or the run would have gone on from them."""
        steps = {folder: int(folder.name.removeprefix("step-")) for folder in self.folder.glob("step-*")}
        wanted = sorted((folder for folder, at in steps.items() if at <= step), reverse=True)[: self.keep]
        for folder in steps.keys() - set(wanted):
            hidden = folder.with_name(f".{folder.name}.part")  # a kill meanwhile leaves none that is half there
            folder.rename(hidden)
            shutil.rmtree(hidden, ignore_errors=True)


def _take(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InterbertError(f"{folder}: another process trains there; stop it, or give another --out") from None


def load_checkpoint(folder: Path) -> Checkpoint:
    """Reads a whole checkpoint, tensors on the CPU."""
    tensors = {file.stem: load_file(file) for file in sorted(folder.glob("*.safetensors"))}
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return Checkpoint(int(facts["step"]), tensors, facts)


def _write(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    write_json(folder / FACTS, facts)
    for group, named in tensors.items():
        file = folder / f"{group}.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in named.items()}, file)
        shutil.copymode(folder / FACTS, file)  # safetensors makes files that their owner alone can read
        with open(file, "rb") as written:
            os.fsync(written.fileno())
    write_json(folder / MARKER, {file.name: sha256_of(file) for file in sorted(folder.iterdir())})


def _fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        digests = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        for name, digest in digests.items():
            if sha256_of(folder / name) != digest:
                return f"{name} is not as it was written"
    except (OSError, ValueError, AttributeError) as error:
        return str(error)
    return None if FACTS in digests else f"{MARKER} is not as it was written"
