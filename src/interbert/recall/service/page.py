"""The page: static files of the package, read once. No script but theirs, nothing from elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

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


@dataclass(frozen=True)
class File:
    """A file of the page. tag: changes with it."""

    content: bytes
    type: str
    tag: str


def page_files() -> dict[str, File]:
    """All of them by name; other kinds of files are no part of it."""
    found = {}
    for place in (files("interbert.recall") / "page").iterdir():
        ending = place.name.rpartition(".")[2]
        if ending in TYPES and place.is_file():
            content = place.read_bytes()
            found[place.name] = File(content, TYPES[ending], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


def page_routes() -> APIRouter:
    """`/` and what it asks for."""
    router = APIRouter(include_in_schema=False)
    known = page_files()

    @router.get("/")
    def index(request: Request) -> Response:
        return answer(request, "index.html")

    @router.get("/page/{name}")
    def file(request: Request, name: str) -> Response:
        return answer(request, name)

    def answer(request: Request, name: str) -> Response:
        found = known.get(name)
        if found is None:
            raise ServiceError(404, "the page has no such file")
        headers = {"ETag": found.tag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        if found.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type=found.type, headers=headers)

    return router
