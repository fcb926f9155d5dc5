"""Threads as JSON documents, out and in. What comes in is checked like anybody's input."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from limpet.control.operations.thread_models import EXPORT_FORMAT, KeptEvent, ThreadExport
from limpet.errors import InvalidInputError
from limpet.harness.events import (
    Checkpoint,
    Event,
    RunFinished,
    RunStarted,
    StateKept,
    Text,
    UserMessage,
)
from limpet.ids import new_id

MAX_EVENTS: Final = 100_000
_EXPORT: Final = TypeAdapter(ThreadExport)


def checked_document(document: dict[str, Any]) -> ThreadExport:
    """The exported thread in `document`; `InvalidInputError` for anything else."""
    if document.get("format") != EXPORT_FORMAT:
        raise InvalidInputError(
            f"This is no exported thread: its format is not {EXPORT_FORMAT!r}",
            hint="Give what THREAD_EXPORT gave.",
        )
    try:
        told = _EXPORT.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"][:4])
        raise InvalidInputError(f"document.{place}: {first['msg']}") from None
    if len(told.events) > MAX_EVENTS:
        raise InvalidInputError(f"The thread has more than {MAX_EVENTS} events")
    return told


def renamed(events: list[KeptEvent]) -> list[tuple[str | None, datetime, Event]]:
    """The events with fresh ids of runs and messages, as `(run, at, event)`.

    Left out: checkpoints, which are snapshots of another branch, and what is never shown.
    """
    runs: dict[str, str] = {}
    messages: dict[str, str] = {}

    def run(old: str) -> str:
        return runs.setdefault(old, new_id("run"))

    def message(old: str) -> str:
        return messages.setdefault(old, new_id("msg"))

    found: list[tuple[str | None, datetime, Event]] = []
    for kept in events:
        event: Event = kept.event
        if isinstance(event, Checkpoint | StateKept):
            continue
        if isinstance(event, UserMessage):
            event = event.model_copy(update={"id": message(event.id)})
        elif isinstance(event, RunStarted):
            event = event.model_copy(
                update={"run": run(event.run), "message": message(event.message)}
            )
        elif isinstance(event, RunFinished):
            event = event.model_copy(update={"run": run(event.run)})
        found.append((run(kept.run) if kept.run is not None else None, sound_time(kept.at), event))
    return found


@dataclass(slots=True)
class ImportedTurn:
    """A finished turn that imported events tell of."""

    run: str
    message: str
    prompt: str
    at: datetime
    answer: str = ""
    status: str = "interrupted"
    error: str | None = None


def turns_of(events: list[tuple[str | None, datetime, Event]]) -> list[ImportedTurn]:
    """The turns of the events, in order."""
    said: dict[str, str] = {}
    turns: dict[str, ImportedTurn] = {}
    for run, at, event in events:
        if isinstance(event, UserMessage):
            said[event.id] = event.text
        elif isinstance(event, RunStarted):
            prompt = storable(said.get(event.message, ""))
            turns.setdefault(event.run, ImportedTurn(event.run, event.message, prompt, at))
        elif isinstance(event, RunFinished) and event.run in turns:
            turns[event.run].status = event.how
            turns[event.run].error = storable(event.error) if event.error else None
        elif isinstance(event, Text) and run in turns:
            turns[run].answer += storable(event.delta)
    return list(turns.values())


def storable(text: str) -> str:
    """Text without what some databases do not take."""
    return text.replace("\0", "").encode(errors="replace").decode()


def sound_time(at: datetime) -> datetime:
    """A moment that a database can hold, in UTC, and not in the future."""
    zoned = at if at.tzinfo else at.replace(tzinfo=UTC)
    now = datetime.now(UTC)
    return min(max(zoned, now - timedelta(days=365 * 100)), now)
