"""Anthropic's messages, server's side."""

import json
from collections.abc import Iterator
from typing import Any

from tests.models.protocol import (
    InvalidRequestError,
    arguments_of,
    bearer,
    every_answered,
    pieces,
    plain,
)
from tests.models.scenario import Error, Reply

_MOST_CACHE_POINTS = 4
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class AnthropicMessages:
    """`POST /v1/messages`."""

    path = "/v1/messages"
    ends_with = ""

    def key_of(self, headers: dict[str, str]) -> str:
        return headers.get("x-api-key") or bearer(headers)

    def check(self, body: dict[str, Any]) -> None:
        if "max_tokens" not in body:
            raise InvalidRequestError("max_tokens: Field required")
        messages = body["messages"]
        if not messages or messages[0]["role"] != "user":
            raise InvalidRequestError("messages: first message must use the user role")
        asked: list[str] = []
        for message in messages:
            blocks = message["content"] if isinstance(message["content"], list) else []
            if any(block["type"] == "text" and not block["text"].strip() for block in blocks):
                raise InvalidRequestError("messages: text content blocks must be non-empty")
            answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
            every_answered(asked, answered, "tool_use ids without tool_result blocks")
            asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
        every_answered(asked, [], "tool_use ids without tool_result blocks")
        uses = [
            block
            for message in messages
            if isinstance(message["content"], list)
            for block in message["content"]
            if block["type"] == "tool_use"
        ]
        plain((use["name"] for use in uses), (use["id"] for use in uses))
        if json.dumps(body).count('"cache_control"') > _MOST_CACHE_POINTS:
            raise InvalidRequestError("A maximum of 4 blocks with cache_control may be provided.")

    def events(self, reply: Reply, model: str, number: int) -> Iterator[dict[str, Any]]:
        tokens = reply.tokens
        usage = {
            "input_tokens": tokens.input - tokens.cached,
            "cache_read_input_tokens": tokens.cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": 1,
        }
        yield {
            "type": "message_start",
            "message": {
                "id": f"msg_{number}",
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": usage,
            },
        }
        yield {"type": "ping"}
        for index, (block, deltas) in enumerate(self._blocks(reply, number)):
            yield {"type": "content_block_start", "index": index, "content_block": block}
            for delta in deltas:
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        stop = "max_tokens" if reply.ends == "length" else "tool_use" if reply.calls else "end_turn"
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None},
            "usage": {"output_tokens": tokens.output},
        }
        yield {"type": "message_stop"}

    def _blocks(
        self, reply: Reply, number: int
    ) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        if reply.thinking:
            deltas = [
                {"type": "thinking_delta", "thinking": part} for part in pieces(reply.thinking)
            ]
            signed = {"type": "signature_delta", "signature": f"signature-{number}"}
            yield {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signed]
        if reply.text:
            deltas = [{"type": "text_delta", "text": part} for part in pieces(reply.text)]
            yield {"type": "text", "text": ""}, deltas
        for at, call in enumerate(reply.calls):
            block = {
                "type": "tool_use",
                "id": call.id or f"toolu_{number}_{at}",
                "name": call.tool,
                "input": {},
            }
            written = pieces(arguments_of(call.raw, call.input))
            yield block, [{"type": "input_json_delta", "partial_json": part} for part in written]

    def error(self, error: Error, key: str) -> dict[str, Any]:
        words = {
            "too_long": "prompt is too long: 210000 tokens > 200000 maximum",
            "quota": "Your credit balance is too low to access the Anthropic API.",
            "plain": f"It is scripted so ({error.status}, {key}).",
        }[error.kind]
        kind = "api_error" if error.status >= 500 else "invalid_request_error"
        return {
            "type": "error",
            "error": {"type": _TYPES.get(error.status, kind), "message": words},
            "request_id": "req_1",
        }

    def error_event(self, error: Error) -> dict[str, Any]:
        return self.error(error, "")

    def frame(self, event: dict[str, Any]) -> str:
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
