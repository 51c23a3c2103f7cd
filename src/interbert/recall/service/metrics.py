"""What /metrics says, for Prometheus: requests by route and status, times, batches, the queue, the index's version."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The numbers of one service; each has its own registry, so that several can live in one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "interbert_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self.seconds = Histogram(
            "interbert_request_seconds", "From a request to its answer.", ("route",), buckets=SECONDS, registry=registry
        )
        self.open = Gauge("interbert_requests_open", "Requests that have no answer yet.", registry=registry)
        self.queued = Gauge("interbert_queue", "Requests that wait to be computed.", registry=registry)
        self.batch = Histogram(
            "interbert_batch_requests",
            "Requests that were computed together.",
            ("what",),
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        self.busy_seconds = Counter("interbert_compute_seconds", "Time spent computing.", ("what",), registry=registry)
        self.left = Counter(
            "interbert_left", "Requests whose client left or whose time was over.", ("why",), registry=registry
        )
        self.index_version = Gauge("interbert_index_version", "Of the index that answers.", registry=registry)

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)
