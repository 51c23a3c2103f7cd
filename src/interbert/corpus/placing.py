"""A corpus appears whole or not at all: it is built in a folder beside its place and renamed when it is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from interbert.errors import InterbertError, UsageError
from interbert.files import sync_folder


@contextmanager
def placed(out: Path, replace: bool) -> Iterator[Path]:
    """A folder to build in, which is at `out` after the block; after an error all is as it was.

    replace: an older corpus at `out` goes away when the new one is whole.
    Raises UsageError where `out` exists, InterbertError where the disk fails.
    """
    _clean_after_killed(out)
    if out.exists() and not (replace and (out / "corpus.json").is_file()):
        kind = "a corpus is there" if (out / "corpus.json").is_file() else "something else is there"
        raise UsageError(f"'{out}': {kind} already; choose another folder or remove it first")
    out.parent.mkdir(parents=True, exist_ok=True)
    building = out.parent / f".{out.name}.{os.getpid()}.building"
    building.mkdir()
    try:
        yield building
        _put(building, out)
    except OSError as error:
        raise InterbertError(
            f"building '{out}' failed: {error}. What was there is as it was; mend this and give the command again"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _put(building: Path, out: Path) -> None:
    """Renames the whole corpus to its place; an older one there goes away."""
    sync_folder(building)
    older = building.with_suffix(".older")
    if out.exists():
        os.rename(out, older)
    os.rename(building, out)
    sync_folder(out.parent)
    shutil.rmtree(older, ignore_errors=True)


def _clean_after_killed(out: Path) -> None:
    """Removes what killed builds have left beside `out`; an older corpus that was about to be replaced comes back."""
    for left in sorted(out.parent.iterdir()) if out.parent.is_dir() else []:
        if left.name.startswith(f".{out.name}.") and left.suffix in (".building", ".older"):
            process = left.stem.rpartition(".")[2]
            if process != str(os.getpid()) and Path(f"/proc/{process}").exists():
                continue  # that build may be at work
            if left.suffix == ".older" and not out.exists():
                os.rename(left, out)
            else:
                shutil.rmtree(left)
