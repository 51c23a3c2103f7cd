"""The three scales by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from interbert.errors import UsageError, unknown_name
from interbert.reproduce import at_paper, at_small
from interbert.reproduce.at_paper import paper
from interbert.reproduce.at_small import small
from interbert.reproduce.at_tiny import tiny
from interbert.reproduce.setting import Setting

SCALES: dict[str, Callable[[Path, Path | None, int], Setting]] = {"tiny": tiny, "small": small, "paper": paper}
LAYOUT = {"small": at_small.LAYOUT, "paper": at_paper.LAYOUT}  # of the folder of data; tiny makes its own


def setting_of(scale: str, root: Path, data: Path | None, seeds: int) -> Setting:
    """A scale on its data, in the folder `root`. Raises UsageError where its data are not there, with what it wants."""
    if scale not in SCALES:
        raise UsageError(unknown_name("scale", scale, SCALES))
    return SCALES[scale](root, data, seeds)
