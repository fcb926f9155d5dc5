"""One JSON shape for every error: `{"error": {"code", "message", "hint"}}`."""

from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from limpet.control.operations.registry import invalid_input
from limpet.errors import LimpetError


class ErrorDetail(BaseModel):
    """`code` is stable; `message` says what happened, `hint` what to do about it, or nothing."""

    code: str
    message: str
    hint: str


class ErrorBody(BaseModel):
    """What every failed request answers with."""

    error: ErrorDetail


def error_response(error: LimpetError, **headers: str) -> JSONResponse:
    """The answer for `error`."""
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", "Bearer")
    return JSONResponse({"error": error.as_dict()}, status_code=error.status, headers=headers)


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
        code = phrase.lower().replace(" ", "_")
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
        body = {
            "code": "internal",
            "message": "Something went wrong inside Limpet",
            "hint": "The server's log says more.",
        }
        return JSONResponse({"error": body}, status_code=500)
