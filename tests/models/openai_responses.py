"""OpenAI's responses, server's side."""

import json
from collections.abc import Iterator
from typing import Any

from tests.models.openai_chat import openai_error
from tests.models.protocol import arguments_of, bearer, every_answered, pieces, plain
from tests.models.scenario import Error, Reply

Event = dict[str, Any]


class OpenAIResponses:
    """`POST /v1/responses`."""

    path = "/v1/responses"
    ends_with = ""

    def key_of(self, headers: dict[str, str]) -> str:
        return bearer(headers)

    def check(self, body: Event) -> None:
        items = body["input"] if isinstance(body["input"], list) else []
        asked = [item["call_id"] for item in items if item.get("type") == "function_call"]
        answered = [i["call_id"] for i in items if i.get("type") == "function_call_output"]
        names = [item["name"] for item in items if item.get("type") == "function_call"]
        plain(names, asked)
        every_answered(asked, answered, "No tool output found for function call")

    def events(self, reply: Reply, model: str, number: int) -> Iterator[Event]:
        whole = {
            "id": f"resp_{number}",
            "object": "response",
            "created_at": 1700000000,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "model": model,
            "output": [],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
        }
        sequence = 0
        output: list[Event] = []
        for event in self._inner(reply, number, whole, output):
            yield {**event, "sequence_number": sequence}
            sequence += 1
        tokens = reply.tokens
        usage = {
            "input_tokens": tokens.input,
            "input_tokens_details": {"cached_tokens": tokens.cached},
            "output_tokens": tokens.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tokens.input + tokens.output,
        }
        cut = reply.ends == "length"
        status = "incomplete" if cut else "completed"
        details = {"reason": "max_output_tokens"} if cut else None
        ended = {"status": status, "incomplete_details": details, "output": output, "usage": usage}
        yield {
            "type": f"response.{status}",
            "sequence_number": sequence,
            "response": {**whole, **ended},
        }

    def _inner(
        self, reply: Reply, number: int, whole: Event, output: list[Event]
    ) -> Iterator[Event]:
        yield {"type": "response.created", "response": whole}
        yield {"type": "response.in_progress", "response": whole}
        if reply.thinking:
            yield from self._reasoning(reply.thinking, f"rs_{number}", output)
        if reply.text:
            yield from self._message(reply.text, f"msg_{number}", output)
        for at, call in enumerate(reply.calls):
            item = {
                "type": "function_call",
                "id": f"fc_{number}_{at}",
                "call_id": call.id or f"call_{number}_{at}",
                "name": call.tool,
            }
            yield from self._call(item, arguments_of(call.raw, call.input), output)

    def _reasoning(self, text: str, item_id: str, output: list[Event]) -> Iterator[Event]:
        at = {"item_id": item_id, "output_index": len(output), "summary_index": 0}
        begun = {"type": "reasoning", "id": item_id, "summary": []}
        part = {"type": "summary_text", "text": text}
        yield _added(output, begun)
        empty = {"type": "summary_text", "text": ""}
        yield {"type": "response.reasoning_summary_part.added", **at, "part": empty}
        for piece in pieces(text):
            yield {"type": "response.reasoning_summary_text.delta", **at, "delta": piece}
        yield {"type": "response.reasoning_summary_text.done", **at, "text": text}
        yield {"type": "response.reasoning_summary_part.done", **at, "part": part}
        yield _done(output, {**begun, "summary": [part], "encrypted_content": "sealed"})

    def _message(self, text: str, item_id: str, output: list[Event]) -> Iterator[Event]:
        at = {"item_id": item_id, "output_index": len(output), "content_index": 0}
        begun = {"type": "message", "id": item_id, "role": "assistant", "content": []}
        part = {"type": "output_text", "text": text, "annotations": []}
        yield _added(output, {**begun, "status": "in_progress"})
        yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}
        for piece in pieces(text):
            yield {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", **at, "text": text, "logprobs": []}
        yield {"type": "response.content_part.done", **at, "part": part}
        yield _done(output, {**begun, "status": "completed", "content": [part]})

    def _call(self, item: Event, arguments: str, output: list[Event]) -> Iterator[Event]:
        at = {"item_id": item["id"], "output_index": len(output)}
        yield _added(output, {**item, "status": "in_progress", "arguments": ""})
        for piece in pieces(arguments):
            yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
        done = {"name": item["name"], "arguments": arguments}
        yield {"type": "response.function_call_arguments.done", **at, **done}
        yield _done(output, {**item, "status": "completed", "arguments": arguments})

    def error(self, error: Error, key: str) -> Event:
        return openai_error(error, key)

    def error_event(self, error: Error) -> Event:
        inner = openai_error(error, "")["error"]
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        return {"type": "error", "sequence_number": 99, **inner, "code": code}

    def frame(self, event: Event) -> str:
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


def _added(output: list[Event], item: Event) -> Event:
    return {"type": "response.output_item.added", "output_index": len(output), "item": item}


def _done(output: list[Event], item: Event) -> Event:
    output.append(item)
    return {"type": "response.output_item.done", "output_index": len(output) - 1, "item": item}
