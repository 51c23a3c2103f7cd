"""What goes wrong, in one shape: {"error": {"type", "message", "param", "code", "request_id"}}, without what was sent.

In: errors of ours, of FastAPI and of whatever breaks. Out: a response, and `Retry-After` where it helps to come again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import Scope

from interbert.recall.service.models import ErrorAnswer, ErrorFacts

LEFT = 499  # nobody reads it: the client has gone
TYPES = {401: "unauthorized", 404: "not_found", 429: "busy", 500: "internal", 503: "unavailable"}
CODES = {
    400: "malformed",
    401: "no_key",
    404: "not_found",
    405: "method_not_allowed",
    408: "too_slow",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid_value",
}
_MESSAGES = {
    400: "the body cannot be read; wanted JSON in UTF-8",
    404: "there is nothing at this address; /openapi.json says what there is",
    405: "this address does not know this method; /openapi.json says which it knows",
    413: "the body is larger than this service takes; /info says how large it may be",
}
DOCUMENTED = {status: {"model": ErrorAnswer} for status in (400, 401, 404, 405, 408, 413, 415, 422, 429, 500, 503)}


class ServiceError(Exception):
    """An answer that is an error. code: for machines.  param: the field it is about.  retry_seconds: wait so long."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.retry_seconds = status, message, param, retry_seconds
        self.code = code or CODES.get(status, "internal")

    @property
    def retry_after(self) -> int | None:
        """Whole seconds, as HTTP has them."""
        return None if self.retry_seconds is None else max(1, round(self.retry_seconds + 0.499))


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


def request_id(scope: Scope) -> str:
    """The id of a request, which the door gave it."""
    return str(scope.get("state", {}).get("request_id", ""))


def facts_of(error: ServiceError, id: str) -> ErrorFacts:
    """What is said of an error."""
    kind = TYPES.get(error.status, "invalid_request")
    return ErrorFacts(type=kind, message=error.message, param=error.param, code=error.code, request_id=id)


def answer_of(error: ServiceError, id: str) -> Response:
    """The response of an error."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": facts_of(error, id).model_dump()}, error.status, headers)


def add_handlers(app: FastAPI) -> None:
    """Gives every error its shape."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, ServiceError)
        return answer_of(error, request_id(request.scope))

    async def left(request: Request, error: Exception) -> Response:
        return Response(status_code=LEFT)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer_of(of_validation(error.errors()), request_id(request.scope))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = error.status_code
        response = answer_of(ServiceError(status, _MESSAGES.get(status, "it failed")), request_id(request.scope))
        response.headers.update(error.headers or {})
        return response

    async def broken(request: Request, error: Exception) -> Response:
        return answer_of(defect(), request_id(request.scope))

    app.add_exception_handler(ServiceError, ours)
    app.add_exception_handler(ClientLeft, left)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, broken)


def of_validation(errors: Sequence[Any]) -> ServiceError:
    """The first of pydantic's errors, in words; what was sent is not repeated."""
    first = errors[0]
    if first["type"] == "json_invalid":
        return ServiceError(400, f"the body is no JSON: {first.get('ctx', {}).get('error', 'it breaks off')}")
    place = [str(part) for part in first["loc"]]
    if place and place[0] in ("body", "query", "path", "header"):
        place = place[1:]
    param = ".".join(place) or None
    message = first["msg"].removeprefix("Value error, ")
    more = f" ({len(errors) - 1} more are wrong)" if len(errors) > 1 else ""
    return ServiceError(422, f"{param or 'the body'}: {message}{more}", param=param)


def defect() -> ServiceError:
    """What is said where the fault is ours."""
    return ServiceError(500, "the service failed at this; its log says more, by the request's id", code="internal")
