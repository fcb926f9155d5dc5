"""Server-sent events: bytes in, events out (the WHATWG HTML standard, section 9.2)."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

MAX_EVENT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its name, its data as text, and the id to resume after (or None)."""

    name: str
    data: str
    id: str | None = None

    def json(self) -> Any:
        """The data as JSON; an empty object where it is none."""
        try:
            return json.loads(self.data)
        except ValueError:
            return {}


def parse_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events in a stream of bytes cut anywhere; comments and what is cut off are left out."""
    buffer = b""
    name, event_id, data = "", None, list[str]()
    for chunk in chunks:
        buffer += chunk
        *lines, buffer = buffer.split(b"\n")
        if len(buffer) > MAX_EVENT_BYTES:
            return
        for raw in lines:
            line = raw.rstrip(b"\r").decode("utf-8", "replace")
            if not line:
                if data or name:
                    yield Event(name or "message", "\n".join(data), event_id)
                name, data = "", []
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                event_id = value
