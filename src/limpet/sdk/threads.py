"""Threads: conversations with agents, followed, stopped, undone, exported."""

from typing import Any, Literal, TypedDict, cast
from urllib.parse import quote

from limpet.sdk.connection import Connection
from limpet.sdk.feed import EventFeed

SILENCE_S = 60.0
"""The server says something on a thread's stream at least every 15 s."""


class ModelRef(TypedDict):
    """One model of one provider."""

    provider_id: str
    name: str


class RunUsage(TypedDict):
    """What was taken; `cost_usd` None: the price is not known."""

    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cost_usd: float | None


class Run(TypedDict):
    """One message's turn."""

    id: str
    message: str
    prompt: str
    status: Literal["queued", "running", "done", "stopped", "capped", "failed", "interrupted"]
    harness: str
    model: ModelRef | None
    usage: RunUsage
    checkpoint_before: str | None
    checkpoint_after: str | None
    undone: bool
    error: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class Thread(TypedDict):
    """One conversation with an agent, on one branch."""

    id: str
    agent_id: str
    branch: str
    title: str
    status: Literal["idle", "running", "failed"]
    harness: str
    model: ModelRef | None
    created_by: str
    may_write: bool
    archived: bool
    last_seq: int
    run: Run | None
    queued: int
    usage: RunUsage
    created_at: str
    updated_at: str


class Sent(TypedDict):
    """A message that was taken; `run` is its turn."""

    message: str
    run: str
    queued: bool
    thread: Thread


class KeptEvent(TypedDict):
    """One event of a thread; `event` has a `kind`."""

    seq: int
    run: str | None
    at: str
    event: dict[str, Any]


class Threads:
    """The operations on threads of one org. Every method raises a `LimpetError`."""

    def __init__(self, line: Connection) -> None:
        self._line = line

    def create(
        self,
        agent_id: str,
        *,
        thread_id: str | None = None,
        branch: str | None = None,
        title: str | None = None,
        model: ModelRef | None = None,
        harness: str | None = None,
    ) -> Thread:
        """A new thread; with the id of one of the caller's that is there already, that one."""
        said: dict[str, object] = {
            "agent_id": agent_id,
            **({"id": thread_id} if thread_id else {}),
            **({"branch": branch} if branch else {}),
            **({"title": title} if title else {}),
            **({"model": model} if model else {}),
            **({"harness": harness} if harness else {}),
        }
        return cast(Thread, self._line.send("POST", "/threads", said))

    def all(
        self,
        *,
        agent_id: str | None = None,
        search: str | None = None,
        archived: bool = False,
        most: int = 1000,
    ) -> list[Thread]:
        """Threads, the last used one first."""
        found: list[Thread] = []
        before: str | None = None
        while len(found) < most:
            query = {
                "agent_id": agent_id,
                "search": search,
                "archived": "true" if archived else None,
                "limit": str(min(200, most - len(found))),
                "before": before,
            }
            page = self._line.send("GET", "/threads", query=query)
            found += cast(list[Thread], page["threads"])
            before = page["next"]
            if before is None:
                break
        return found

    def get(self, thread_id: str) -> Thread:
        """One thread."""
        return cast(Thread, self._line.send("GET", _one(thread_id)))

    def update(
        self,
        thread_id: str,
        *,
        title: str | None = None,
        model: ModelRef | None = None,
        harness: str | None = None,
        archived: bool | None = None,
    ) -> Thread:
        """Change what is given; the rest stays."""
        said: dict[str, object | None] = {
            "title": title,
            "model": model,
            "harness": harness,
            "archived": archived,
        }
        told = {name: value for name, value in said.items() if value is not None}
        return cast(Thread, self._line.send("PATCH", _one(thread_id), told))

    def delete(self, thread_id: str) -> None:
        """Delete a thread; its branch and its snapshots stay."""
        self._line.send("DELETE", _one(thread_id))

    def send(self, thread_id: str, text: str, *, message_id: str | None = None) -> Sent:
        """Say something. With the id of a message that was sent already nothing is sent twice."""
        said = {"text": text, **({"id": message_id} if message_id else {})}
        return cast(Sent, self._line.send("POST", f"{_one(thread_id)}/messages", said))

    def stop(self, thread_id: str, *, keep_queued: bool = False) -> Thread:
        """End the run that goes on, at once."""
        said: dict[str, object] = {"keep_queued": keep_queued}
        return cast(Thread, self._line.send("POST", f"{_one(thread_id)}/stop", said))

    def runs(self, thread_id: str) -> list[Run]:
        """The turns of a thread."""
        return cast(list[Run], self._line.send("GET", f"{_one(thread_id)}/runs")["runs"])

    def undo(self, thread_id: str, run: str | None = None) -> dict[str, Any]:
        """The workspace as it was before a turn, by default the last one that is not undone."""
        said: dict[str, object] = {"run": run} if run else {}
        return cast(dict[str, Any], self._line.send("POST", f"{_one(thread_id)}/undo", said))

    def fork(
        self,
        thread_id: str,
        run: str,
        *,
        when: Literal["before", "after"] = "after",
        title: str | None = None,
    ) -> Thread:
        """Another thread that goes on from a turn, on a branch of its own."""
        said = {"run": run, "when": when, **({"title": title} if title else {})}
        return cast(Thread, self._line.send("POST", f"{_one(thread_id)}/fork", said))

    def events(self, thread_id: str) -> list[KeptEvent]:
        """Everything that has happened so far."""
        found: list[KeptEvent] = []
        more = True
        while more:
            after = str(found[-1]["seq"]) if found else "0"
            query = {"after": after, "limit": "1000"}
            page = self._line.send("GET", f"{_one(thread_id)}/log", query=query)
            found += cast(list[KeptEvent], page["events"])
            more = bool(page["more"])
        return found

    def follow(self, thread_id: str, *, after: int = 0) -> EventFeed:
        """Everything that happens after a number, now and later; see docs/threads.md."""
        query: dict[str, str | None] = {"after": str(after)}
        return EventFeed(
            self._line, f"{_one(thread_id)}/events", query, lasting=True, silence_s=SILENCE_S
        )

    def export(self, thread_id: str) -> dict[str, Any]:
        """The whole thread as one document."""
        return cast(dict[str, Any], self._line.send("GET", f"{_one(thread_id)}/export"))

    def import_(self, agent_id: str, document: dict[str, Any]) -> Thread:
        """An exported document as a thread of the agent's."""
        said: dict[str, object] = {"agent_id": agent_id, "document": document}
        return cast(Thread, self._line.send("POST", "/threads/import", said))


def _one(thread_id: str) -> str:
    return f"/threads/{quote(thread_id, safe='')}"
