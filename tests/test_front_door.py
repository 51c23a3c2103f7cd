"""What `import interbert` gives, and what it does not start."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import interbert

NAMES = [
    "Batch",
    "Extractor",
    "InterBert",
    "InterbertError",
    "ModelConfig",
    "Output",
    "Pair",
    "RegionStore",
    "Regions",
    "Scorer",
    "load",
]

WATCHED = """
import json, os, sys, threading, time
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event.startswith("socket.") else None)
start = time.perf_counter()
import interbert
seconds = time.perf_counter() - start
heavy = ["torch", "numpy", "transformers", "onnxruntime", "huggingface_hub", "PIL"]
heavy = [name for name in heavy if name in sys.modules]
native = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
print(json.dumps({"seconds": seconds, "sockets": calls, "heavy": heavy, "threads": [threading.active_count(), native]}))
"""


@pytest.fixture(scope="module")
def watched() -> dict[str, object]:
    """What happened while a fresh process imported the package."""
    done = subprocess.run([sys.executable, "-c", WATCHED], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def test_the_front_door_has_these_names_and_no_others() -> None:
    assert sorted(interbert.__all__) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_front_door_can_be_had(name: str) -> None:
    assert getattr(interbert, name).__name__ == name


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Scorrer'"):
        _ = interbert.Scorrer  # type: ignore[attr-defined]


def test_importing_takes_less_than_a_second(watched: dict[str, object]) -> None:
    assert isinstance(watched["seconds"], float)
    assert watched["seconds"] < 1


def test_importing_starts_no_thread(watched: dict[str, object]) -> None:
    assert watched["threads"] == [1, 1]


def test_importing_touches_no_network(watched: dict[str, object]) -> None:
    assert watched["sockets"] == []


def test_importing_loads_nothing_heavy(watched: dict[str, object]) -> None:
    assert watched["heavy"] == []
