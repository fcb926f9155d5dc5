"""Reads what an answer took out of the answer itself, while it passes by. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from limpet.control.gateway.protocols import Flavor

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
MAX_JSON_BYTES: Final = 32 * 1024 * 1024
CHARS_PER_TOKEN: Final = 4
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class UsageReader:
    """`feed` it the answer; `usage` is the provider's own object once it was told.

    `hides_usage`: the event of a stream that was asked for on our behalf alone is left out.
    """

    def __init__(self, flavor: Flavor, *, streams: bool, hides_usage: bool = False) -> None:
        self.usage: dict[str, Any] = {}
        self.complete = False
        self._flavor = flavor
        self._streams = streams
        self._hides = hides_usage
        self._kept = bytearray()
        self._too_long = False
        self._output_chars = 0

    def feed(self, chunk: bytes) -> bytes:
        """Take in a piece; what is to be handed on of it now."""
        if self._too_long:
            return chunk
        self._kept += chunk
        if len(self._kept) > (MAX_EVENT_BYTES if self._streams else MAX_JSON_BYTES):
            self._too_long = True
            kept, self._kept = bytes(self._kept), bytearray()
            return kept if self._hides else chunk
        if not self._streams:
            return chunk
        passed = bytearray()
        for event in self._events():
            if not (self._told(_data_of(event)) and self._hides):
                passed += event
        return bytes(passed) if self._hides else chunk

    def end(self) -> bytes:
        """The answer is whole; what was held back of it."""
        kept, self._kept = bytes(self._kept), bytearray()
        if not self._streams:
            told = _parsed(kept)
            if isinstance(told.get("usage"), dict):
                self.usage, self.complete = told["usage"], True
            return b""
        return kept if self._hides else b""

    def estimated(self, asked_bytes: int) -> dict[str, Any]:
        """What an answer that was cut off took, rather more than less: the provider counts it too.

        `asked_bytes` is the size of what was asked.
        """
        came_in = asked_bytes // CHARS_PER_TOKEN
        went_out = self._output_chars // CHARS_PER_TOKEN
        if self._flavor == "chat":
            return {"prompt_tokens": came_in, "completion_tokens": went_out, "total_tokens": 0}
        told = self.usage or {"input_tokens": came_in}
        return {**told, "output_tokens": max(went_out, _number(told.get("output_tokens")))}

    def _events(self) -> Iterator[bytes]:
        while found := _EVENT_END.search(self._kept):
            event = bytes(self._kept[: found.end()])
            del self._kept[: found.end()]
            yield event

    def _told(self, event: dict[str, Any]) -> bool:
        """Learn from an event; whether it tells of the usage and of nothing else."""
        match self._flavor, event:
            case "messages", {"type": "message_start", "message": {"usage": dict(usage)}}:
                self.usage = usage
            case "messages", {"type": "message_delta", "usage": dict(usage)}:
                told = {name: value for name, value in usage.items() if value is not None}
                self.usage = {**self.usage, **told}
            case "messages", {"type": "message_stop"}:
                self.complete = bool(self.usage)
            case "messages", {"delta": dict(delta)}:
                self._output_chars += _chars(delta)
            case "chat", {"usage": dict(usage)}:
                self.usage, self.complete = usage, True
                return not event.get("choices")
            case "chat", {"choices": list(choices)}:
                self._output_chars += _chars(
                    [choice.get("delta") for choice in choices if isinstance(choice, dict)]
                )
            case "responses", {"response": {"usage": dict(usage)}}:
                self.usage, self.complete = usage, True
            case "responses", {"delta": str(delta)}:
                self._output_chars += len(delta)
        return False


def _data_of(event: bytes) -> dict[str, Any]:
    lines = [line[5:] for line in event.splitlines() if line.startswith(b"data:")]
    return _parsed(b"\n".join(lines))


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _chars(value: object) -> int:
    """The length of all texts in it, names of types aside."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_chars(one) for name, one in value.items() if name != "type")
    if isinstance(value, list):
        return sum(_chars(one) for one in value)
    return 0


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
