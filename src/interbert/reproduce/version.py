"""Which program made a figure: its version, and the commit where that can be known."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import subprocess
from pathlib import Path

import interbert


@functools.cache
def program_version() -> str:
    """ "0.1.0, commit 1a2b3c4d (changed)"; the version alone where no commit is known.

    "(changed)": files of the checkout differ from the commit.
    """
    commit = _of_checkout(Path(interbert.__file__).resolve().parent) or _of_install()
    return interbert.__version__ + (f", commit {commit}" if commit else "")


def _of_checkout(package: Path) -> str | None:
    if not (package.parent.name == "src" and (package.parents[1] / ".git").exists()):
        return None
    head, changes = (
        _git(package, words) for words in (["rev-parse", "--short=10", "HEAD"], ["status", "--porcelain", "--", "."])
    )
    return f"{head} (changed)" if head and changes else head


def _git(folder: Path, words: list[str]) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603, S607
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _of_install() -> str | None:
    """What pip recorded where it installed from a repository."""
    try:
        recorded = importlib.metadata.distribution("interbert").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    commit = json.loads(recorded or "{}").get("vcs_info", {}).get("commit_id")
    return None if commit is None else str(commit)[:10]
