"""A service in a thread that answers at once, as a test says: for what a real one does rarely, or at a size."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from interbert.recall.service.page import POLICY, page_files

PAGE = page_files()
LINES = "application/x-ndjson"
COLOURS = ("#c0392b", "#2980b9", "#27ae60", "#8e44ad", "#d35400", "#16a085")
DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 200" width="300" height="200">'
    '<rect width="300" height="200" fill="#eee"/><circle cx="80" cy="70" r="50" fill="COLOUR"/></svg>'
)
CALIBRATION = {
    "pairs": 1200,
    "cuts": [
        {"threshold": 0.1, "precision": 0.4, "recall": 0.99},
        {"threshold": 0.5, "precision": 0.7, "recall": 0.9},
        {"threshold": 0.7, "precision": 0.9, "recall": 0.6},
        {"threshold": 0.99, "precision": None, "recall": 0.0},
    ],
}


@dataclass
class Answer:
    """What is answered instead of the usual."""

    status: int
    error: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class Shop:
    """Products 0..count-1 with falling scores. `instead`: path -> answers that are given first, one a request.

    early: (scored, products) that are told before an answer, to whom reads lines; the answer, or `last` in its place,
    comes once `finish` is set.
    other: one more model, below other/, which finds only every second product.
    """

    def __init__(self, count: int = 60, step: int = 1, other: Shop | None = None) -> None:
        self.step, self.other = step, other
        self.titles = [f"product {number}" for number in range(count)]
        self.calibration: dict[str, Any] | None = CALIBRATION
        self.instead: dict[str, list[Answer]] = {}
        self.asked: list[dict[str, Any]] = []
        self.topic_count, self.reviews = 3, dict[str, str | None]()
        self.address = ""
        self.early: list[tuple[int, list[int]]] = []
        self.last: dict[str, Any] | None = None
        self.hold, self.finish = threading.Event(), threading.Event()
        self.hold.set()
        self.finish.set()

    def score(self, number: int) -> float:
        return round(1 - (number + 0.5) / len(self.titles), 6)

    def info(self) -> dict[str, Any]:
        columns = {"id": "text", "title": "text", "image": "text", "price": "number", "shop's own": "text"}
        others = [{"name": "second model", "path": "/other/"}] if self.other else []
        return {"model": "first model", "columns": columns, "calibration": self.calibration, "others": others}

    def recall(self, question: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(question)
        start, limit = int(question.get("cursor") or 0), question["limit"]
        passed = 0 if question.get("filter") == "price < 0" else len(self.titles)
        above = [number for number in range(0, passed, self.step) if self.score(number) > question["threshold"]]
        items = [self.item(number) for number in above[start : start + limit]]
        cascade = question["mode"] == "cascade"
        return {
            "topic": question["topic"],
            "threshold": question["threshold"],
            "total_passed": passed,
            "total_scored": min(passed, 200) if cascade else passed,
            "total_recalled": len(above),
            "items": items,
            "mode": question["mode"],
            "measured_recall": {"recall": 0.97, "topics": 64, "answers": 20} if cascade else None,
            "next_cursor": str(start + limit) if start + limit < len(above) else None,
            "index_version": 1,
        }

    def item(self, number: int) -> dict[str, Any]:
        return {
            "id": f"p/{number}",
            "title": self.titles[number],
            "score": self.score(number),
            "image_url": f"/products/p%2F{number}/image",
        }

    def topics(self) -> list[dict[str, Any]]:
        names = [f"topic {number}" for number in range(self.topic_count)]
        return [{**self.topic(name), "products": 8, "kept": 0, "dropped": 0, "cover": self.item(0)} for name in names]

    def topic(self, name: str) -> dict[str, Any]:
        kept = {"keep": True, "drop": False, None: None}
        products = [self.item(number) | {"kept": kept[self.reviews.get(f"p/{number}")]} for number in range(8)]
        about = {"name": name, "title": f"{name} title", "sub_title": "for rain", "threshold": 0.7, "filter": None}
        return about | {"products": products, "dropped": []}

    def explanation(self, topic: str) -> dict[str, Any]:
        words = topic.split()
        return {
            "text": topic,
            "score": 0.93,
            "image_size": [300, 200],
            "words": [{"word": one, "span": [0, 1], "weight": 0.8 - at} for at, one in enumerate(words)],
            "regions": [
                {"label": "shoe", "box": [20, 20, 140, 120], "weight": 1.5},
                {"label": "", "box": [150, 60, 290, 190], "weight": 0.4},
                {"label": "sky", "box": [0, 0, 300, 50], "weight": -0.2},
            ],
            "weights": [[0.6, 0.1, 0.05] for _ in words],
        }


class _Handler(BaseHTTPRequestHandler):
    shop: Shop
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        parts = [unquote(part) for part in place.path.split("/")[1:]]
        shop = self._shop(parts)
        if self._refused(shop, place.path):
            return
        if parts == [""]:
            self._file("index.html")
        elif parts[0] == "page" and len(parts) == 2:
            self._file(parts[1])
        elif parts == ["info"]:
            self._json(shop.info())
        elif parts == ["topics"]:
            self._json({"items": shop.topics(), "total": shop.topic_count, "next_cursor": None})
        elif parts[0] == "topics":
            self._json(shop.topic(parts[1]))
        elif parts[0] == "products" and parts[-1] == "explain":
            self._json(shop.explanation(parse_qs(place.query)["topic"][0]))
        elif parts[0] == "products" and parts[-1] == "image":
            colour = COLOURS[int(parts[1].split("/")[1]) % len(COLOURS)]
            self._send(DRAWING.replace("COLOUR", colour).encode(), "image/svg+xml")
        else:
            self._json({"error": {"message": f"there is no {place.path}"}}, 404)

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        shop = self._shop(self.path.split("/")[1:])
        shop.hold.wait(20)
        if self._refused(shop, self.path):
            return
        if self.path.endswith("/review"):
            shop.reviews[question["product"]] = question["verdict"]
            self._json({})
        elif shop.early and LINES in self.headers["Accept"]:
            self._lines(shop, shop.recall(question))
        else:
            self._json(shop.recall(question))

    def _lines(self, shop: Shop, answer: dict[str, Any]) -> None:
        self.close_connection = True
        self.send_response(200)
        for name, value in {"Content-Type": LINES, "Content-Security-Policy": POLICY, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        total = len(shop.titles)
        for scored, numbers in shop.early:
            self._write({"scored": scored, "total": total, "items": [shop.item(number) for number in numbers]})
        shop.finish.wait(20)
        self._write(shop.last or {"answer": answer})

    def _write(self, value: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(value).encode() + b"\n")

    def _shop(self, parts: list[str]) -> Shop:
        """Whose path it is; it is cut to be that one's own."""
        if parts[0] == "other" and self.shop.other:
            del parts[0]
            return self.shop.other
        return self.shop

    def _refused(self, shop: Shop, path: str) -> bool:
        kind = "/" + path.rsplit("/", 1)[-1]
        if not shop.instead.get(kind):
            return False
        answer = shop.instead[kind].pop(0)
        self._json({"error": answer.error}, answer.status, answer.headers)
        return True

    def _file(self, name: str) -> None:
        self._send(PAGE[name].content, PAGE[name].type)

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(json.dumps(value).encode(), "application/json", status, headers)

    def _send(self, body: bytes, type: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        own = {"Content-Type": type, "Content-Length": str(len(body)), "Content-Security-Policy": POLICY}
        for name, value in (own | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A browser that hangs up is nobody's fault."""


@contextmanager
def serving(shop: Shop) -> Iterator[Shop]:
    """The shop at `shop.address` as long as the context lasts."""
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"shop": shop}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    shop.address = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield shop
    finally:
        shop.hold.set()
        shop.finish.set()
        server.shutdown()
        server.server_close()
