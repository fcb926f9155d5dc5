"""Server-sent events: bytes in, events out (the WHATWG HTML standard, section 9.2)."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from limpet.errors import LimpetError

MAX_EVENT_BYTES = 16 << 20


class EventTooLargeError(LimpetError):
    """The server sent one event that is larger than any that it should send."""

    code = "event_too_large"


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, its data as text, and the id to resume after (or None)."""

    name: str
    data: str
    id: str | None = None

    def json(self) -> dict[str, Any]:
        """The data as a JSON object; an empty one where it is none."""
        try:
            told = json.loads(self.data)
        except ValueError:
            return {}
        return told if isinstance(told, dict) else {}


def parse_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events in a stream of bytes cut anywhere; comments and what is cut off are left out.

    Lines end with LF or CR LF. Raises `EventTooLargeError` past 16 MiB.
    """
    buffer = b""
    name, event_id, data = "", None, list[str]()
    size = 0
    for chunk in chunks:
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        for raw in lines:
            line = raw.removesuffix(b"\r").decode("utf-8", "replace")
            if not line:
                if data or name:
                    yield Event(name or "message", "\n".join(data), event_id)
                name, data, size = "", [], 0
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
                size += len(raw)
            elif field == "id" and "\0" not in value:
                event_id = value
        if size + len(buffer) > MAX_EVENT_BYTES:
            raise EventTooLargeError(f"The server sent an event of over {MAX_EVENT_BYTES:,} bytes")
