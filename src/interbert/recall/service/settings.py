"""What an operator may say of the service, and what is so where nobody says anything."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

from interbert.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """Sizes, times and choices.

    max_body_bytes: of a request.  max_pixels: of a picture that is sent.  max_pictures: sent in one request.
    max_batch: requests that are computed together.  max_queue: that wait for it; beyond it is 429.  max_at_once: that
    are open in all.  max_connections: also those without a request.  time_limit_seconds: from the request's first byte
    to its answer.  header_seconds, body_seconds: a client may take to send them.  idle_seconds: between two requests.
    send_seconds: a client may take to read a part of an answer.  key_digests: sha256 of the keys of which one is
    wanted; none: everybody is let in.  image_hosts: from which pictures are fetched; none: from nowhere.
    images: the folder that the catalogue's pictures are in; None: where they were.  others: (name, path) of other
    services under the same origin, for the page that compares.
    """

    max_body_bytes: int = 10 << 20
    max_pixels: int = 25_000_000
    max_pictures: int = 32
    max_batch: int = 32
    max_queue: int = 256
    max_at_once: int = 512
    max_connections: int = 2_000
    time_limit_seconds: float = 30.0
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 5.0
    send_seconds: float = 30.0
    key_digests: tuple[bytes, ...] = ()
    image_hosts: tuple[str, ...] = ()
    images: Path | None = None
    others: tuple[tuple[str, str], ...] = field(default=())

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, int | float) and value <= 0:
                raise UsageError(f"{name}: got {value}, wanted more than 0")
        if self.images is not None and not self.images.is_dir():
            raise UsageError(f"images: there is no folder '{self.images}'")
        for host in self.image_hosts:
            if not re.fullmatch(r"[\w.-]+", host):
                raise UsageError(f"image host: got '{host}', wanted a name alone, as pictures.example.com")


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The digests of the keys in a file, one a line, `#` begins a remark. Raises UsageError where there is none."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the keys '{path}' cannot be read: {error}") from error
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise UsageError(f"the keys '{path}' have none; wanted one a line")
    if spaced := [number for number, key in enumerate(keys, 1) if len(key.split()) > 1]:
        raise UsageError(
            f"key {spaced[0]} of '{path}' has a blank in it; a remark stands on a line of its own, after #"
        )
    short = [number for number, key in enumerate(keys, 1) if len(key) < 16]
    if short:
        raise UsageError(
            f"key {short[0]} of '{path}' is shorter than 16 characters, so it can be guessed; make another"
        )
    return tuple(digest_of(key) for key in keys)


def digest_of(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).digest()
