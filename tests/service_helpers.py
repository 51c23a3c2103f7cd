"""The service in tests: a client that asks it without a socket, pictures to send, and a process that serves."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from pretraining_helpers import EXTRACTOR, random_regions
from recall_helpers import indexed, product, shop, write_catalogue
from starlette.testclient import TestClient

from interbert.batch import Regions
from interbert.files import sha256_of
from interbert.recall.service.app import make_app
from interbert.recall.service.live import LiveIndex
from interbert.recall.service.settings import Settings
from interbert.vision.provenance import ImageInfo
from interbert.vision.store import RegionStore

JSON = {"Content-Type": "application/json"}


class Eyes:
    """An extractor that sees random regions in any picture that can be opened."""

    def extract(self, pictures: Sequence[bytes]) -> list[Regions]:
        for picture in pictures:
            with Image.open(BytesIO(picture)) as image:
                image.load()
        return [random_regions(np.random.default_rng(len(picture)), 5) for picture in pictures]


@contextmanager
def client(folder: Path, settings: Settings | None = None, eyes: bool = True) -> Iterator[TestClient]:
    """Asks the index in `folder` / "index"."""
    index = LiveIndex(folder / "index")
    if eyes:
        index.scorer._eyes = Eyes()  # type: ignore[assignment]
    with TestClient(make_app(index, settings), raise_server_exceptions=False) as asking:
        yield asking


def fixtures(scope: Literal["function", "module"], settings: Settings | None = None) -> tuple[Any, Any]:
    """For a module to call `place`, a folder with a shop's index, and `asking`, a client of it."""

    @pytest.fixture(scope=scope)
    def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = shop(tmp_path_factory.mktemp("shop"))
        indexed(folder)
        return folder

    @pytest.fixture(scope=scope)
    def asking(place: Path) -> Iterator[TestClient]:
        with client(place, settings) as found:
            yield found

    return place, asking


def shop_with_pictures(folder: Path) -> Path:
    """An index whose two products have files, a JPEG and a TIFF, outside of the folder it is served from."""
    shop(folder, 2)
    (folder / "files").mkdir()
    with RegionStore.writer(folder / "seen", EXTRACTOR) as writer:
        for number, form in enumerate(("jpeg", "tiff")):
            path = folder / "files" / f"{number}.{form}"
            Image.new("RGB", (20, 10), "red").save(path)
            info = ImageInfo(str(path), sha256_of(path), 0)
            writer.append(f"files/{number}", random_regions(np.random.default_rng(number), 4), info)
    rows = [product(0, image="files/0.jpeg"), product(1, image="files/1.tiff")]
    indexed(folder, write_catalogue(folder / "shown.jsonl", rows).name, regions=folder / "seen")
    return folder


def error(answer: Any, status: int) -> dict[str, Any]:
    """The error of an answer with that status."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    found: dict[str, Any] = answer.json()["error"]
    assert set(found) == {"type", "message", "param", "code", "request_id"}
    assert found["request_id"] == answer.headers["X-Request-ID"]
    return found


def picture(width: int = 20, height: int = 20, form: str = "PNG") -> bytes:
    """A file."""
    file = BytesIO()
    Image.new("1" if width * height > 10**6 else "RGB", (width, height)).save(file, form)
    return file.getvalue()


def uri(content: bytes, kind: str = "png") -> str:
    """As the service takes it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


@contextmanager
def process(*arguments: object, script: str | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves, and its address; ended where it still runs."""
    program = ["-m", "interbert", "serve"] if script is None else [str(Path(__file__).parent / script)]
    command = [sys.executable, *program, *map(str, arguments)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        found = re.search(r"http://\S+/", line)
        assert found, line + (running.stderr.read() if running.stderr and running.poll() is not None else "")
        yield running, found[0]
    finally:
        running.kill()
        running.communicate()


def slow(folder: Path, go: Path, **settings: Any) -> Any:
    """`process` of the index in `folder` / "index" whose scores wait for the file `go`."""
    return process(folder / "index", go, json.dumps(settings), script="slow_service.py")
