"""Every random draw depends on what it is for and on nothing drawn before: a resume needs no generator's state."""

from __future__ import annotations

import hashlib

from torch import Generator


def seed_for(*key: int | str) -> int:
    """63 bits out of a key; a change of any part of the key, or of their order, changes all of them.

    >>> seed_for(0, "pair", 7) == seed_for(0, "pair", 7) != seed_for(0, 7, "pair")
    True
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def generator_for(*key: int | str) -> Generator:
    """A generator that starts from the key alone: `generator_for(seed, "pair", step, position)`."""
    return Generator().manual_seed(seed_for(*key))
