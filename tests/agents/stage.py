"""A real server, a real sandbox of the bundled template, and a scripted model on the wire."""

import asyncio
import contextlib
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.agents.hands import HANDS, Hands
from tests.live import QUIET_SAVER, LiveLimpet, poll_until
from tests.models.scenario import Call, Reply
from tests.models.server import KEY, ScriptedModels, scripted

MODEL = "claude-sonnet-4-6"
PAGE = "src/content.ts"
HEADLINE = "Something good starts here."
FINISHED_S = 240.0


@contextlib.contextmanager
def models_on_a_thread() -> Iterator[ScriptedModels]:
    """The scripted server, on an event loop of its own."""
    started: list[ScriptedModels] = []
    ready, over = threading.Event(), threading.Event()

    async def serve() -> None:
        async with scripted([]) as models:
            started.append(models)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(30), "the scripted models do not start"
        yield started[0]
    finally:
        over.set()
        thread.join(30)


@dataclass
class Stage:
    """One agent, and a person who speaks to it."""

    live: LiveLimpet
    models: ScriptedModels
    harness: str
    agent: str
    thread: str
    said: list[str] = field(default_factory=list)

    @property
    def hands(self) -> Hands:
        return HANDS[self.harness]

    @property
    def handle(self) -> str:
        """Of the sandbox that the thread's branch has."""
        branch = self.live.api("GET", f"/threads/{self.thread}")["branch"]
        boxes = self.live.api("GET", "/sandboxes")["sandboxes"]
        [handle] = [
            box["handle"]
            for box in boxes
            if (box["agent_id"], box["branch"]) == (self.agent, branch)
        ]
        return str(handle)

    # -- the model's side ----------------------------------------------------------------------

    def will(self, *steps: Call | str, **last: Any) -> None:
        """What the model does next: calls, one a request, and what it says at the end."""
        for place, step in enumerate(steps):
            more = last if place == len(steps) - 1 else {}
            told: dict[str, Any] = {"text": step} if isinstance(step, str) else {"calls": (step,)}
            self.models.replies.append(Reply(**told, **more))

    # -- the person's side ---------------------------------------------------------------------

    def send(self, text: str) -> str:
        """Say something; the run that answers."""
        sent = self.live.api("POST", f"/threads/{self.thread}/messages", {"text": text})
        return str(sent["run"])

    def ask(self, text: str) -> dict[str, Any]:
        """Say something and wait for the end of the answer: its run."""
        return self.ended(self.send(text))

    def ended(self, run: str) -> dict[str, Any]:
        """The run, once it has ended; what happened in it goes to the transcript."""

        def over() -> dict[str, Any] | None:
            found = [one for one in self.runs() if one["id"] == run]
            return found[0] if found and found[0]["status"] not in ("queued", "running") else None

        done: dict[str, Any] = poll_until("the turn to end", over, FINISHED_S, 0.2)
        self.said += transcript(self.events(run))
        return done

    def runs(self) -> list[dict[str, Any]]:
        """The thread's turns."""
        return list(self.live.api("GET", f"/threads/{self.thread}/runs")["runs"])

    def events(self, run: str | None = None) -> list[dict[str, Any]]:
        """What happened in the thread, or in one run."""
        found: list[dict[str, Any]] = []
        while True:
            after = found[-1]["seq"] if found else 0
            page = self.live.api("GET", f"/threads/{self.thread}/log?after={after}&limit=1000")
            found += page["events"]
            if not page["more"]:
                break
        if run is None:
            return [one["event"] for one in found]
        [message] = [one["message"] for one in self.runs() if one["id"] == run]
        return [
            one["event"] for one in found if one["run"] == run or one["event"].get("id") == message
        ]

    def of(self, run: str, kind: str) -> list[dict[str, Any]]:
        """The run's events of a kind."""
        return [event for event in self.events(run) if event["kind"] == kind]

    def wait_for(self, run: str, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """The run's events of a kind, once there are so many."""

        def there() -> list[dict[str, Any]] | None:
            found = self.of(run, kind)
            return found if len(found) >= count else None

        told: list[dict[str, Any]] = poll_until(f"{count} {kind} of {run}", there, FINISHED_S)
        return told

    def file(self, path: str = PAGE) -> str:
        """A file of the repository as it lies on disk."""
        return (self.live.root_of(self.handle) / "workspace/repo" / path).read_text()

    def evict(self) -> None:
        """kill -9 of everything, and the sandbox's files are gone: what is left is the store."""
        root = self.live.root_of(self.handle)
        self.live.kill_all()
        shutil.rmtree(root)
        self.live.start()


def transcript(events: list[dict[str, Any]]) -> list[str]:
    """A run in lines for people."""
    lines: list[str] = []
    said = ""
    for event in events:
        if event["kind"] == "text":
            said += event["delta"]
            continue
        if said.strip():
            lines.append(f"  agent    {said.strip()}")
        said = ""
        match event["kind"]:
            case "user_message":
                lines.append(f"  person   {event['text']}")
            case "tool_started":
                lines.append(f"  tool     {event['title']}")
            case "tool_finished":
                changed = (event["diff"] or "").splitlines()
                lines += [
                    f"           {line}"
                    for line in changed
                    if line[:1] in "+-" and line[1:2] != line[:1]
                ]
                if not event["ok"]:
                    lines.append(f"           failed: {event['output'][:200]}")
            case "notice":
                lines.append(f"  notice   {event['text']}")
            case "checkpoint":
                lines.append(f"  saved    {event['when']} the turn: {event['snapshot']}")
            case "run_finished":
                lines.append(
                    f"  ended    {event['how']}{' ' + event['error'] if event['error'] else ''}"
                )
    return lines


@dataclass
class Theatre:
    """A server with a scripted model, on which one story after the other is played."""

    live: LiveLimpet
    models: ScriptedModels
    harness: str
    command: str | None = None

    def stage(self) -> Stage:
        """A new agent of the bundled template that runs, and a thread with it."""
        self.models.replies.clear()
        self.models.asked.clear()
        self.models.held.clear()
        agent = self.live.json("new", "webapp")["agent"]["id"]
        if self.command is not None:
            self.live.api("PATCH", f"/agents/{agent}", {"acp_command": self.command})
        self.live.wait_phase(agent, "running")
        told = {"agent_id": agent, "harness": self.harness}
        thread = self.live.api("POST", "/threads", told)["id"]
        return Stage(self.live, self.models, self.harness, agent, thread)


@contextlib.contextmanager
def theatre(harness: str, kind: str, command: str | None = None) -> Iterator[Theatre]:
    """A server whose org has a model of that kind."""
    with models_on_a_thread() as models, LiveLimpet.temporary(QUIET_SAVER) as live:
        base = models.url if kind == "anthropic" else f"{models.url}/v1"
        body = {"kind": kind, "base_url": base, "api_key": KEY, "models": [MODEL]}
        live.api("POST", "/model-providers", body)
        yield Theatre(live, models, harness, command)
