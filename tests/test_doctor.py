"""What doctor finds and how it says it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from interbert import doctor
from interbert.doctor import Finding, examine


def found(name: str, **how: bool) -> Finding:
    return next(finding for finding in examine(**how) if finding.name == name)


def test_what_is_missing_has_a_line_on_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    finding = found("onnxruntime")
    assert finding.value.startswith("not installed")
    assert str(finding).splitlines()[1].strip() == "pip install 'interbert[onnx]'"


def test_an_extractor_that_is_not_installed_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    finding = found("extractor")
    assert finding.value == "embedded: not installed"
    assert finding.mend is not None
    assert "--install" in finding.mend


def test_a_hub_that_does_not_answer_is_a_finding_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    assert found("hub", network=True).value == "does not answer (ConnectionError)"
    assert found("hub", network=False).value == "not asked (--network asks)"


def test_an_offline_hub_is_said_to_be_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert found("hub", network=True).value == "off (HF_HUB_OFFLINE)"


def test_a_hub_that_cannot_be_reached_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(self: object, name: str, timeout: float) -> None:
        raise RuntimeError("whatever the library beneath raises")

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    assert found("hub", network=True).value == "does not answer (RuntimeError)"
