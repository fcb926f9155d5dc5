"""OpenAI's chat completions, server's side, as OpenAI, Ollama, llama.cpp and vLLM speak them."""

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


def openai_error(error: Error, key: str) -> dict[str, Any]:
    """OpenAI's body of an error; of a wrong key it tells the key."""
    words, code = f"It is scripted so ({error.status}, {key}).", None
    if error.status == 401:
        words, code = (
            f"Incorrect API key provided: {key}. You can find yours online.",
            "invalid_api_key",
        )
    elif error.kind == "too_long":
        words, code = (
            "This model's maximum context length is 128000 tokens.",
            "context_length_exceeded",
        )
    elif error.kind == "quota":
        words, code = "You exceeded your current quota.", "insufficient_quota"
    elif error.status == 404:
        words, code = "The model does not exist.", "model_not_found"
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return {"error": {"message": words, "type": code or kind, "param": None, "code": code}}


class OpenAIChat:
    """`POST /v1/chat/completions`."""

    path = "/v1/chat/completions"
    ends_with = "data: [DONE]\n\n"

    def key_of(self, headers: dict[str, str]) -> str:
        return bearer(headers)

    def check(self, body: dict[str, Any]) -> None:
        asked: list[str] = []
        answered: list[str] = []
        for message in body["messages"]:
            if message["role"] == "tool":
                answered.append(message["tool_call_id"])
                continue
            every_answered(asked, answered, "tool_call_ids did not have response messages")
            asked = [call["id"] for call in message.get("tool_calls") or []]
            answered = []
        every_answered(asked, answered, "tool_call_ids did not have response messages")
        calls = [c for m in body["messages"] for c in m.get("tool_calls") or []]
        plain((c["function"]["name"] for c in calls), (c["id"] for c in calls))
        if not body["messages"]:
            raise InvalidRequestError("messages: array too short")

    def events(self, reply: Reply, model: str, number: int) -> Iterator[dict[str, Any]]:
        def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
            return {**head, "choices": [choice], "usage": None}

        head = {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": model,
        }
        yield chunk({"role": "assistant", "content": ""})
        for part in pieces(reply.thinking or ""):
            yield chunk({"reasoning_content": part})
        for part in pieces(reply.text or ""):
            yield chunk({"content": part})
        for at, call in enumerate(reply.calls):
            function = {"name": call.tool, "arguments": ""}
            begun = {"index": at, "id": call.id or f"call_{number}_{at}", "type": "function"}
            yield chunk({"tool_calls": [{**begun, "function": function}]})
            for part in pieces(arguments_of(call.raw, call.input)):
                yield chunk({"tool_calls": [{"index": at, "function": {"arguments": part}}]})
        yield chunk(
            {}, "length" if reply.ends == "length" else "tool_calls" if reply.calls else "stop"
        )
        tokens = reply.tokens
        yield {
            **head,
            "choices": [],
            "usage": {
                "prompt_tokens": tokens.input,
                "completion_tokens": tokens.output,
                "total_tokens": tokens.input + tokens.output,
                "prompt_tokens_details": {"cached_tokens": tokens.cached},
            },
        }

    def error(self, error: Error, key: str) -> dict[str, Any]:
        return openai_error(error, key)

    def error_event(self, error: Error) -> dict[str, Any]:
        return openai_error(error, "")

    def frame(self, event: dict[str, Any]) -> str:
        return f"data: {json.dumps(event)}\n\n"
