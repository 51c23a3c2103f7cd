"""Errors meant for people: what came, what was wanted, what to do. Everything else that is raised is a defect."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InterbertError(Exception):
    """A mistake that its reader can mend. Printed without a traceback; the command exits with `exit_status`."""

    exit_status = 1


class UsageError(InterbertError):
    """The command or a setting is wrong: nothing was started."""

    exit_status = 2


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for a name that does not exist, with the nearest that does.

    >>> unknown_name("preset", "tinny", ["paper", "tiny"])
    "there is no preset 'tinny'; did you mean 'tiny'? Known: paper, tiny"
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return f"there is no {kind} '{name}'{hint} Known: {', '.join(names)}"
