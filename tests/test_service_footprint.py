"""What a process that serves may keep."""

from __future__ import annotations

import os
import sys

import pytest

from interbert.recall.service.footprint import CACHES, bound_footprint


def test_the_caches_of_shapes_are_bounded_before_torch_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in CACHES:
        monkeypatch.delenv(name, raising=False)
    bound_footprint()
    assert not any(name in os.environ for name in CACHES)  # torch is there already
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv(CACHES[0], "7")
    monkeypatch.setenv(CACHES[1], "")
    monkeypatch.delenv(CACHES[1])
    bound_footprint()
    assert (os.environ[CACHES[0]], os.environ[CACHES[1]]) == ("7", "64")
