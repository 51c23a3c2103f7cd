"""The page: static files of the package, read once. No script but theirs, nothing from elsewhere.

`frame.html` stands around what is in each of the HTML files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from fastapi import APIRouter, Request, Response

from interbert.recall.service.errors import ServiceError

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "png": "image/png",
    "woff2": "font/woff2",
    "json": "application/json",
}

FRAME = "frame.html"
INSIDE = {  # of it: the script, where its products are, and what leads to the root and to the other files
    "index.html": {"script": "main", "products": "results", "home": "./", "files": "page/"},
    "topics.html": {"script": "topics", "products": "results", "home": "../", "files": ""},
    "compare.html": {"script": "compare", "products": "sides", "home": "../", "files": ""},
}


@dataclass(frozen=True)
class File:
    """A file of the page. tag: changes with it."""

    content: bytes
    type: str
    tag: str


def page_files() -> dict[str, File]:
    """All of them by name; other kinds of files are no part of it."""
    places = {place.name: place for place in (files("interbert.recall") / "page").iterdir() if place.is_file()}
    frame = Template(places.pop(FRAME).read_text(encoding="utf-8"))
    found = {}
    for name, place in places.items():
        ending = name.rpartition(".")[2]
        if ending in TYPES:
            content = place.read_bytes()
            if name in INSIDE:
                content = framed(frame, name, content.decode()).encode()
            found[name] = File(content, TYPES[ending], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


def framed(frame: Template, name: str, main: str) -> str:
    """A whole page."""
    here = INSIDE[name]["script"]
    marks = {f"on_{one['script']}": ' aria-current="page"' * (one["script"] == here) for one in INSIDE.values()}
    return frame.substitute(INSIDE[name], main=main, **marks)


router = APIRouter(include_in_schema=False)
_known = cache(page_files)


@router.get("/")
def index(request: Request) -> Response:
    """The page."""
    return _answer(request, "index.html")


@router.get("/page/{name}")
def file(request: Request, name: str) -> Response:
    """What it asks for."""
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    found = _known().get(name)
    if found is None:
        raise ServiceError(404, "the page has no such file")
    headers = {"ETag": found.tag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.type, headers=headers)
