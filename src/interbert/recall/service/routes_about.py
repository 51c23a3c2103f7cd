"""What the service says of itself: /health, /ready, /info, /metrics."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

import interbert
from interbert.recall.search import MAX_TOPIC, THRESHOLD
from interbert.recall.service import models
from interbert.recall.service.errors import ServiceError
from interbert.recall.service.service import Served, Service

router = APIRouter()


@router.get("/health")
async def health() -> dict[str, str]:
    """That the process lives."""
    return {"status": "alive"}


@router.get("/ready")
def ready(service: Served) -> dict[str, Any]:
    """That questions are answered."""
    return {"status": "ready", "index_version": service.ready()}


@router.get("/info")
def info(service: Served) -> dict[str, Any]:
    """The model, the index, the limits."""
    return info_of(service)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(service: Served) -> Response:
    """For Prometheus."""
    with suppress(ServiceError):  # the rest is told where the index cannot be asked
        service.metrics.index_version.set(service.index.now().version)
    return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def info_of(service: Service) -> dict[str, Any]:
    """JSON values."""
    searcher, index, settings = service.index.now(), service.index, service.settings
    version = next(one for one in searcher.store.versions() if one.number == searcher.version)
    calibration = index.scorer.calibration
    known = calibration.about if "cuts" in calibration.about else None
    return {
        "interbert": interbert.__version__,
        "model": index.model_name,
        "weights_sha256": index.weights_sha256,
        "extractor": index.scorer.extractor.name,
        "index_version": version.number,
        "index_created": version.created,
        "products": version.products,
        "columns": searcher.store.columns(),
        "threshold": THRESHOLD,
        "calibration": None if known is None else {"pairs": known["pairs"], "cuts": known["cuts"]},
        "pictures_by_address": bool(settings.image_hosts),
        "topics": True,
        "others": [{"name": name, "path": path} for name, path in settings.others],
        "limits": {
            "body_bytes": settings.max_body_bytes,
            "picture_pixels": settings.max_pixels,
            "pictures": settings.max_pictures,
            "documents": models.MAX_DOCUMENTS,
            "text_characters": models.MAX_TEXT,
            "topic_characters": MAX_TOPIC,
            "filter_characters": models.MAX_FILTER,
            "page": models.MAX_PAGE,
            "candidates": models.MAX_CANDIDATES,
            "batch": settings.max_batch,
            "queue": settings.max_queue,
            "seconds": settings.time_limit_seconds,
        },
    }
