"""Files that are whole or absent."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from interbert.files import sha256_of, whole_file, write_json


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    with whole_file(path) as file:
        file.write("dear ")
        file.flush()
        assert not path.exists()
        file.write("you")
    assert path.read_text() == "dear you"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mishap", [ValueError, KeyboardInterrupt])
def test_a_mishap_leaves_the_old_file_and_no_piece(tmp_path: Path, mishap: type[BaseException]) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("old")

    def interrupted() -> None:
        with whole_file(path) as file:
            file.write("new")
            raise mishap

    with pytest.raises(mishap):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    write_json(tmp_path / "a.json", 1)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_json(tmp_path / "a.json", 2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == 1


def test_bytes_are_kept_as_they_are(tmp_path: Path) -> None:
    with whole_file(tmp_path / "b", "wb") as file:
        file.write(b"\r\n\x00\xff")
    assert (tmp_path / "b").read_bytes() == b"\r\n\x00\xff"


def test_json_is_readable_by_people(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"名": [1]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "名": [\n    1\n  ]\n}\n'


def test_the_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
