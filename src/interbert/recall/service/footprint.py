"""What a process that serves for weeks may keep, said before torch is first imported.

oneDNN prepares each product for the shape of its factors and keeps a thousand of those. The shapes of a service are as
many as its requests: kept, they grow to gigabytes, and are hardly ever met again.
"""

from __future__ import annotations

import os
import sys

SHAPES = "64"
CACHES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")  # of oneDNN, and of what torch puts before it


def bound_footprint() -> None:
    """Bounds the caches, unless the environment says how. Comes too late where torch was imported."""
    if "torch" not in sys.modules:
        for name in CACHES:
            os.environ.setdefault(name, SHAPES)
