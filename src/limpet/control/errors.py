"""One JSON shape for every error: `{"error": {"code", "message", "hint"}}`."""

from collections.abc import Iterable
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from limpet.errors import InvalidInputError, LimpetError

_CODES = {400: "invalid", 413: "too_large"}


class ErrorDetail(BaseModel):
    """`code` is stable; `message` says what happened, `hint` what to do about it, or nothing."""

    code: str
    message: str
    hint: str


class ErrorBody(BaseModel):
    """What every failed request answers with."""

    error: ErrorDetail


def invalid_input(problems: Iterable[object]) -> InvalidInputError:
    """The one error for input that does not fit: each field and what is wrong, never its value."""
    told = []
    for problem in problems:
        if not isinstance(problem, dict):
            continue
        place = ".".join(str(part) for part in problem["loc"] if part not in {"body", "query"})
        message = str(problem["msg"]).removeprefix("Value error, ")
        told.append(f"{place}: {message}" if place else message)
    return InvalidInputError("; ".join(told) or "The input does not fit")


def error_response(error: LimpetError, **headers: str) -> JSONResponse:
    """The answer for `error`."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return JSONResponse({"error": error.as_dict()}, status_code=error.status, headers=headers)


class CrashesAnswered:
    """Ends a crash here once it was logged and answered, so that the server logs none twice."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; a crash in the middle of an answer goes up and breaks it off."""
        try:
            await self._app(scope, receive, send)
        except Exception:
            if not scope.get("limpet.crash_answered"):
                raise


def install_error_handlers(app: FastAPI) -> None:
    """Give every error of `app` the one shape."""

    @app.exception_handler(LimpetError)
    async def limpet_error(request: Request, error: LimpetError) -> JSONResponse:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            structlog.get_logger().warning(
                "request_failed",
                method=request.method,
                path=request.url.path,
                code=error.code,
                error=error.message,
            )
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def validation_error(_request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(invalid_input(error.errors()))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        phrase = HTTPStatus(error.status_code).phrase
        code = _CODES.get(error.status_code, phrase.lower().replace(" ", "_"))
        message = str(error.detail or phrase)
        if error.status_code == HTTPStatus.NOT_FOUND:
            message = f"There is nothing at {request.method} {request.url.path[:200]}"
        body = {"code": code, "message": message, "hint": "/api/openapi.json tells what there is."}
        return JSONResponse({"error": body}, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        structlog.get_logger().error(
            "request_crashed", method=request.method, path=request.url.path, exc_info=error
        )
        request.scope["limpet.crash_answered"] = True
        body = {
            "code": "internal",
            "message": "Something went wrong inside Limpet",
            "hint": "The server's log says more.",
        }
        return JSONResponse({"error": body}, status_code=500)
