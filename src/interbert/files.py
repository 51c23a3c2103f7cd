"""Writing so that a crash leaves the old file or the new one, never a piece; and digests of what was written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def whole_file(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens a temporary file beside `path`; on leaving, it is flushed to disk and renamed to `path`.

    mode: "w" (UTF-8 text) or "wb". On an error inside the block, or where the disk is full, `path` stays as it was and
    the temporary file is removed.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: str | Path) -> None:
    """Makes the names in `folder` (a rename, a new file) survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: str | Path, value: Any) -> None:
    """`value` as indented UTF-8 JSON, whole or not at all."""
    with whole_file(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def sha256_of(path: str | Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
