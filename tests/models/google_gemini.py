"""Google's Gemini, server's side. It streams a function call in one piece."""

import json
from collections.abc import Iterator
from typing import Any

from tests.models.protocol import InvalidRequestError, pieces, plain
from tests.models.scenario import Call, Error, Reply

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    529: "UNAVAILABLE",
}


class GoogleGemini:
    """`POST /v1beta/models/MODEL:streamGenerateContent`."""

    path = "/v1beta/models/{model}:streamGenerateContent"
    ends_with = ""

    def key_of(self, headers: dict[str, str]) -> str:
        return headers.get("x-goog-api-key", "")

    def check(self, body: dict[str, Any]) -> None:
        asked: list[str] = []
        for content in body["contents"]:
            calls = [
                part["functionCall"]["name"] for part in content["parts"] if "functionCall" in part
            ]
            given = [
                p["functionResponse"]["name"] for p in content["parts"] if "functionResponse" in p
            ]
            if given != asked:
                raise InvalidRequestError("function responses must follow their function calls")
            plain(calls, [])
            asked = calls
        if asked:
            raise InvalidRequestError("the last function calls have no response")

    def events(self, reply: Reply, model: str, number: int) -> Iterator[dict[str, Any]]:
        def chunk(part: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            candidate = {"index": 0, "content": {"role": "model", "parts": [part] if part else []}}
            if finish:
                candidate["finishReason"] = finish
            tokens = reply.tokens
            usage = {
                "promptTokenCount": tokens.input,
                "cachedContentTokenCount": tokens.cached,
                "candidatesTokenCount": tokens.output,
                "totalTokenCount": tokens.input + tokens.output,
            }
            return {
                "responseId": f"google-{number}",
                "modelVersion": model,
                "candidates": [candidate],
                "usageMetadata": usage,
            }

        for part in pieces(reply.thinking or ""):
            yield chunk({"text": part, "thought": True})
        for part in pieces(reply.text or ""):
            yield chunk({"text": part})
        for call in reply.calls:
            yield chunk({"functionCall": {"name": call.tool, "args": _arguments(call)}})
        yield chunk({}, "MAX_TOKENS" if reply.ends == "length" else "STOP")

    def error(self, error: Error, key: str) -> dict[str, Any]:
        status, code = error.status, error.status
        words = f"It is scripted so ({status}, {key})."
        details: list[dict[str, Any]] = []
        if status == 401:
            # Google calls a wrong key an invalid argument.
            status, code = 400, 400
            words = "API key not valid. Please pass a valid API key."
            kind = "type.googleapis.com/google.rpc.ErrorInfo"
            details = [{"@type": kind, "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]
        elif error.kind == "quota":
            kind = "type.googleapis.com/google.rpc.QuotaFailure"
            quota = {"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}
            details = [{"@type": kind, "violations": [quota]}]
        elif error.kind == "too_long":
            words = "The input token count (2000000) exceeds the maximum number of tokens allowed."
        body = {"code": code, "message": words, "status": _STATUSES.get(status, "INTERNAL")}
        return {"error": {**body, "details": details} if details else body}

    def error_event(self, error: Error) -> dict[str, Any]:
        return self.error(error, "")

    def frame(self, event: dict[str, Any]) -> str:
        return f"data: {json.dumps(event)}\r\n\r\n"


def _arguments(call: Call) -> object:
    """Gemini writes no JSON of its own: what cannot be an object becomes an odd one."""
    if call.raw is None:
        return call.input
    try:
        given = json.loads(call.raw)
    except (ValueError, RecursionError):
        return {"malformed": call.raw}
    return given if isinstance(given, dict) else {"malformed": given}
