"""A service in a process of its own whose scores wait until a file is there:  slow_service.py INDEX FILE SETTINGS.

SETTINGS: a JSON object of `Settings`, and `free`: that many parts of pictures, of four each, do not wait. Prints its
address. What computes asks meanwhile whether anybody still waits.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from interbert.recall import search
from interbert.recall.search import Searcher
from interbert.recall.service.app import make_app
from interbert.recall.service.live import LiveIndex, WatchedSearcher
from interbert.recall.service.server import bound, opened, serve
from interbert.recall.service.settings import Settings


def main(index: str, file: str, settings: str) -> None:
    computed, go, given_settings = Searcher._computed, Path(file), json.loads(settings)
    free = iter(range(given_settings.pop("free", 0)))
    search.STRIPE = 4

    def held(searcher: WatchedSearcher, *given: Any) -> Any:
        while next(free, None) is None and not go.exists():
            searcher._check()
            time.sleep(0.005)
        return computed(searcher, *given)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as the command does
    Searcher._computed = held  # type: ignore[assignment]
    with bound("127.0.0.1", 0) as listening:
        door = make_app(LiveIndex(Path(index)), Settings(**given_settings))
        print(opened(listening), flush=True)
        serve(door, listening)


if __name__ == "__main__":
    main(*sys.argv[1:])
