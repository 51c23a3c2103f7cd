"""Work on many machines, by Ray: items in, a result for each out, whichever machines die meanwhile.

Each process of the cluster begins once (opens a model, an index, an extractor) and then works on item after item with
one thread, so that a result is the same wherever it is computed on machines of one kind. What a killed process or a
lost machine was working on is given to another one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch

import interbert
from interbert.errors import InterbertError, UsageError

EXTRA = "pip install 'interbert[ray]'"
AGAIN = 5  # times that an item whose process was killed is tried again
_ANSWER_SECONDS = 10.0
_AHEAD = 3  # items a processor has waiting
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_DEDUP_LOGS": "0"}


class Beginning(Protocol):
    """What a process begins with; pickled, so that it holds names of files and not what is in them."""

    def begin(self) -> Callable[[Any], Any]:
        """Opens what the work needs. Returns the work."""


def check_place(on: str) -> None:
    """Raises UsageError where `on` is no place of work, InterbertError where Ray is not installed."""
    if on != "ray" and not on.startswith("ray://"):
        raise UsageError(f"--on: got '{on}', wanted ray (this machine's cluster, or RAY_ADDRESS) or ray://HOST:10001")
    _ray()


@contextmanager
def connected(on: str) -> Iterator[None]:
    """A connection to the cluster; one that is there already is used. Raises InterbertError where it cannot be had."""
    check_place(on)
    ray = _ray()
    if ray.is_initialized():
        yield
        return
    address = on if on != "ray" else os.environ.get("RAY_ADDRESS") or "local"
    own = {"include_dashboard": False} if address == "local" else {}
    _check_reachable(address)
    try:
        ray.init(address, **own, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        what = str(error).strip().splitlines()
        raise InterbertError(f"no cluster at '{address}' ({what[0] if what else type(error).__name__})") from error
    try:
        yield
    finally:
        ray.shutdown()


def results(
    on: str, beginning: Beginning, items: Sequence[Any], killed: Callable[[Any], Any] | None = None
) -> Iterator[tuple[int, Any]]:
    """(place in `items`, result) of every item, as they are done. on: "ray" or "ray://HOST:PORT".

    killed: gives the result of an item whose process is killed again and again; None: InterbertError is raised.
    Raises what the work raises, InterbertErrors as they are; and InterbertError where the cluster is lost.
    """
    with connected(on):
        ray = _ray()
        task = ray.remote(num_cpus=1, max_retries=AGAIN, scheduling_strategy="SPREAD")(_worked)
        shared = ray.put(beginning)
        key, next_one = shared.hex(), 0
        waiting: dict[Any, int] = {}
        while next_one < len(items) or waiting:
            most = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))  # machines come and go
            while next_one < len(items) and len(waiting) < most:
                waiting[task.remote(interbert.__version__, key, [shared], items[next_one])] = next_one
                next_one += 1
            (done, *_), _ = ray.wait(list(waiting))
            at = waiting.pop(done)
            try:
                found = _taken(ray, done)
            except ray.exceptions.WorkerCrashedError as error:
                if killed is None:
                    raise InterbertError(
                        f"the processes that did one part of the work were killed ({error})"
                    ) from error
                found = killed(items[at])
            yield at, found


def in_order(found: Iterator[tuple[int, Any]]) -> Iterator[Any]:
    """Results in the order of their items.

    >>> list(in_order(iter([(1, "b"), (0, "a"), (2, "c")])))
    ['a', 'b', 'c']
    """
    early: dict[int, Any] = {}
    next_one = 0
    for at, result in found:
        early[at] = result
        while next_one in early:
            yield early.pop(next_one)
            next_one += 1


def _check_reachable(address: str) -> None:
    """Ray itself ends the process where nobody answers."""
    host, mark, port = address.removeprefix("ray://").partition("/")[0].rpartition(":")
    if not mark:  # auto, local
        return
    try:
        socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise InterbertError(f"no cluster at '{address}' ({error}); start one, or mend --on or RAY_ADDRESS") from error


def _taken(ray: Any, done: Any) -> Any:
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise cause if isinstance(cause, InterbertError) else error from None
    except ray.exceptions.WorkerCrashedError:
        raise
    except ray.exceptions.RayError as error:
        raise InterbertError(
            f"the cluster could not do a part of the work ({str(error).strip().splitlines()[0]}); what was done is "
            "kept, mend this and give the same command again"
        ) from error


_begun: dict[str, Callable[[Any], Any]] = {}  # in a process of the cluster: the work it has begun


def _worked(version: str, key: str, shared: list[Any], item: Any) -> Any:
    if key not in _begun:
        if version != interbert.__version__:
            raise InterbertError(
                f"a machine of the cluster has interbert {interbert.__version__}, wanted {version}; install the same"
            )
        torch.set_num_threads(1)
        _begun.clear()
        _begun[key] = _ray().get(shared[0]).begin()
    return _begun[key](item)


def _ray() -> Any:
    """Ray, which sends no statistics. Raises InterbertError where it is not installed."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise InterbertError(f"work on many machines needs Ray ({error});  {EXTRA}") from error
    return ray
