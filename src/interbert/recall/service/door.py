"""What stands before every route: ids of requests, keys, sizes, how many at once, headers, the log.

A plain ASGI application around another, so that a route hears when its client leaves.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
import traceback
import uuid
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from interbert.recall.service.errors import ServiceError, answer_of, defect
from interbert.recall.service.reading import SLASH
from interbert.recall.service.service import Service
from interbert.recall.service.settings import digest_of

log = logging.getLogger("interbert.service")

SAFE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
OPEN = ("/health", "/ready", "/")  # without a key; and what is below /page/
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'"


class Door:
    """Lets requests in to `app`, or says why not."""

    def __init__(self, app: ASGIApp, service: Service, log_requests: bool = False) -> None:
        self.app, self.service, self._log_requests, self._open = app, service, log_requests, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        id = asked if SAFE_ID.fullmatch(asked) else uuid.uuid4().hex
        state = scope["state"] = {**scope.get("state", {}), "request_id": id, "began": time.monotonic()}
        answer = _Answer(send, id, self.service.settings.send_seconds)
        self._open += 1
        self.service.metrics.open.set(self._open)
        try:
            await self._inside(scope, receive, answer, id)
        except Exception:
            log.error(json.dumps({"request_id": id, "defect": traceback.format_exc()}))
            if not answer.status:
                await answer_of(defect(), id)(scope, receive, answer)
        finally:
            self._open -= 1
            self.service.metrics.open.set(self._open)
            self._note(scope, answer.status, time.monotonic() - state["began"], id)

    async def _inside(self, scope: Scope, receive: Receive, send: Send, id: str) -> None:
        try:
            self._check(scope)
        except ServiceError as error:
            await answer_of(error, id)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        """Raises ServiceError for what goes no further. Nothing of the body is read yet."""
        _decode_slashes(scope)
        settings, headers, path = self.service.settings, Headers(scope=scope), scope["path"]
        if settings.key_digests and path not in OPEN and not path.startswith("/page/"):
            _check_key(headers.get("authorization", ""), settings.key_digests)
        if self._open > settings.max_at_once and path not in ("/health", "/ready"):
            raise ServiceError(
                429, f"{self._open - 1} requests are open already; come again later", code="too_many", retry_seconds=1
            )
        if scope["method"] in ("POST", "PUT"):
            _check_body(headers, path, settings.max_body_bytes)

    def _note(self, scope: Scope, status: int, seconds: float, id: str) -> None:
        route = getattr(scope.get("route"), "path_format", "none")
        method = scope["method"] if scope["method"] in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS") else "other"
        self.service.metrics.requests.labels(method, route, status or "left").inc()
        self.service.metrics.seconds.labels(route).observe(seconds)
        if self._log_requests:
            line = {
                "method": method,
                "route": route,
                "status": status,
                "ms": round(1000 * seconds, 1),
                "request_id": id,
            }
            log.info(json.dumps(line))


class _Answer:
    """What goes out: with our headers, and not slower than so many seconds a part. status: 0 until it has begun."""

    def __init__(self, send: Send, id: str, seconds: float) -> None:
        self._send, self._id, self._seconds, self.status = send, id, seconds, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._id
            for name, value in HEADERS.items():
                headers[name] = value
            headers.setdefault("Content-Security-Policy", NOTHING)
            headers.setdefault("Cache-Control", "no-store")
        async with asyncio.timeout(self._seconds):
            await self._send(message)


def _decode_slashes(scope: Scope) -> None:
    """A %2F in an address is a part of a name, not a border between two; a proxy may have decoded it."""
    raw: Any = scope.get("raw_path") or b""
    if b"%00" in raw or SLASH in scope["path"]:
        raise ServiceError(404, "there is nothing at this address", code="not_found")
    path = raw.partition(b"?")[0].decode("ascii", "replace")
    if "%" in path:
        scope["path"] = unquote(path.replace("%2F", "%00").replace("%2f", "%00"))


def _check_key(given: str, digests: tuple[bytes, ...]) -> None:
    scheme, _, key = given.partition(" ")
    digest = digest_of(key.strip())
    right = [hmac.compare_digest(digest, one) for one in digests]  # all of them, however the first compare
    if scheme.lower() != "bearer" or not any(right):
        raise ServiceError(401, "wanted a key:  Authorization: Bearer KEY", code="wrong_key" if given else "no_key")


def _check_body(headers: Headers, path: str, most: int) -> None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = "multipart/form-data" if path.endswith("/upload") else "application/json"
    if kind != wanted:
        raise ServiceError(415, f"got a body of type '{kind[:60]}', wanted {wanted}", param="Content-Type")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise ServiceError(415, "got a compressed body, wanted it as it is", param="Content-Encoding")
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length[:20]) > most:
        raise ServiceError(413, f"the body has {length[:20]} bytes; wanted at most {most:,}", param="Content-Length")
