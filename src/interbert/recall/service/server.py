"""uvicorn, with what it leaves open: a time for the client to send its request, a bound on connections, a clean end.

SIGTERM and Ctrl-C: no new connections, what was asked is answered, then the process ends as the signal says. The same
signal again ends it at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from contextlib import ExitStack
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from interbert.errors import InterbertError
from interbert.recall.service.door import Door
from interbert.recall.service.settings import Settings

BACKLOG = 2048
STATUS_OF = {signal.SIGINT: 130, signal.SIGTERM: 143}
_SLOW = {
    "error": {
        "type": "invalid_request",
        "message": "the request took too long to arrive",
        "param": None,
        "code": "too_slow",
        "request_id": "",
    }
}


def protocol_of(settings: Settings) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, where a client has `header_seconds` and `body_seconds` to send a request."""

    class Deadlines(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > settings.max_connections:
                transport.abort()
            else:
                self._set(settings.header_seconds)

        def connection_lost(self, exc: Exception | None) -> None:
            self._unset()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._set(settings.header_seconds)

        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            self._set(settings.body_seconds)

        def on_message_complete(self) -> None:
            self._unset()
            super().on_message_complete()

        def _set(self, seconds: float) -> None:
            self._unset()
            self._deadline = self.loop.call_later(seconds, self._too_slow)

        def _unset(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_slow(self) -> None:
            if self.transport.is_closing():
                return
            if self.scope is not None and (self.cycle is None or not self.cycle.response_started):
                self.transport.write(_response_408())
            self.transport.close()

    return Deadlines


def _response_408() -> bytes:
    body = json.dumps(_SLOW).encode()
    return (
        b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )


class _Server(uvicorn.Server):
    """Says when it stops; a second signal does not wait."""

    door: Door

    def status(self) -> int:
        """With which the process ends."""
        signals = self._captured_signals
        return STATUS_OF.get(signal.Signals(signals[0]), 1) if signals else 1

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.door.service.stopping = True
        if self.should_exit:
            os._exit(STATUS_OF.get(signal.Signals(sig), 1))
        super().handle_exit(sig, frame)


def bound(host: str, port: int) -> socket.socket:
    """A socket for the service to listen on. port: 0 takes one that is free. Raises InterbertError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with ExitStack() as closing:
            listening = closing.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            closing.pop_all()
    except OSError as error:
        raise InterbertError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}); give another --port or --host"
        ) from error
    return listening


def opened(listening: socket.socket) -> str:
    """Lets connections in, which wait until `serve`. Returns the address for a browser on this machine."""
    listening.listen(BACKLOG)
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}/"


def serve(door: Door, listening: socket.socket) -> None:
    """Answers on the socket until a signal ends it."""
    settings = door.service.settings
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    options: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False, "lifespan": "on"}
    config = uvicorn.Config(
        door,
        http=protocol_of(settings),
        ws="none",
        loop="asyncio",
        timeout_keep_alive=max(1, round(settings.idle_seconds)),
        timeout_graceful_shutdown=max(1, round(settings.time_limit_seconds + 5)),
        proxy_headers=False,
        **options,
    )
    server = _Server(config)
    server.door = door
    try:
        server.run(sockets=[listening])
    finally:
        if door.service.batcher.is_computing:  # Python must not be taken down under a thread that computes
            sys.stdout.flush()
            os._exit(server.status())
