"""Where a list goes on: a cursor names a version, a place and what was asked, so that pages fit together.

It is no secret and no key: whoever makes one up gets an error, or another place of the same list.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from interbert.recall.service.errors import ServiceError

MOST = 10_000_000  # places


@dataclass(frozen=True)
class Cursor:
    """version: of the index.  start: how many came before."""

    version: int
    start: int


def written(cursor: Cursor, asked: Sequence[object]) -> str:
    """As text. asked: what must be asked again with it."""
    text = json.dumps([cursor.version, cursor.start, _digest(asked)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(text: str, asked: Sequence[object]) -> Cursor:
    """Of the text. Raises ServiceError 422 where it is none, or of another question."""
    try:
        version, start, digest = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        if not (type(version) is int and type(start) is int and 0 <= version <= MOST and 0 <= start <= MOST):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise ServiceError(
            422, "cursor: it is none; wanted the next_cursor of an answer, as it was", param="cursor"
        ) from None
    if digest != _digest(asked):
        raise ServiceError(422, "cursor: it is of another question; ask with everything else as it was", param="cursor")
    return Cursor(version, start)


def _digest(asked: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(list(asked)).encode()).hexdigest()[:16]
