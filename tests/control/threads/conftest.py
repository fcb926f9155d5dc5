"""Threads over real sandboxes and a real database, with a model that does as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from limpet.control.auth import Identity
from limpet.control.db import EMBEDDED_ORG, EMBEDDED_USER
from limpet.control.mcp_servers import McpServers
from limpet.control.operations.thread_models import (
    KeptEvent,
    ModelProviderCreate,
    Thread,
    ThreadCreate,
    ThreadSend,
    ThreadSent,
)
from limpet.control.pictures.finding import choose_browser
from limpet.control.pictures.page import Bounds
from limpet.control.pictures.taking import IDLE_S, Pictures
from limpet.control.preview_door import PreviewDoor
from limpet.control.preview_hosts import PreviewHosts
from limpet.control.preview_tokens import PURPOSE, PreviewTokens
from limpet.control.secrets import SecretBox
from limpet.control.threads.caps import CapsBook
from limpet.control.threads.claims import Claims
from limpet.control.threads.hub import ThreadHub
from limpet.control.threads.journal import Journal
from limpet.control.threads.keys import ThreadKey
from limpet.control.threads.npm_programs import NpmPrograms
from limpet.control.threads.parts import ThreadParts
from limpet.control.threads.providers import Providers
from limpet.control.threads.service import ThreadService
from limpet.harness.acp import AcpAgent, Waits
from limpet.harness.base import Harness
from limpet.ids import UserId
from tests.control.sandboxes import conftest as sandboxes
from tests.control.sandboxes.conftest import Box, House
from tests.control.threads.scripted import Scripted

house = sandboxes.house
template_folder = sandboxes.template_folder

OWNER = Identity(EMBEDDED_ORG, EMBEDDED_ORG, EMBEDDED_USER, "owner", "api-key")
OTHER = Identity(EMBEDDED_ORG, EMBEDDED_ORG, UserId("somebody-else"), "member", "api-key")


@dataclass
class Chat:
    """One control plane's threads, and one agent with a source to talk to."""

    house: House
    box: Box
    service: ThreadService
    harness: Scripted
    opened: list[Any] = field(default_factory=list)

    async def thread(self, **wanted: Any) -> Thread:
        return await self.service.create(
            OWNER, ThreadCreate.model_validate({"agent_id": self.box.agent.id, **wanted})
        )

    async def send(self, thread: Thread, *lines: str, id: str | None = None) -> ThreadSent:
        wanted = ThreadSend(thread_id=thread.id, text="\n".join(lines), id=id)
        return await self.service.send(OWNER, wanted)

    async def ask(self, thread: Thread, *lines: str) -> ThreadSent:
        """Say something, and wait until it is answered."""
        sent = await self.send(thread, *lines)
        await self.finished(thread, sent.run)
        return sent

    async def finished(self, thread: Thread, run: str) -> None:
        await self.until(thread, lambda e: e.event.kind == "run_finished" and e.event.run == run)

    async def until(self, thread: Thread, holds: Any) -> list[KeptEvent]:
        """The events up to the first for which something holds, waited for."""
        key = ThreadKey(EMBEDDED_ORG, thread.id)
        follower = self.service.parts.hub.follow(key)
        try:
            async with asyncio.timeout(90):
                while True:
                    events = await self.events(thread)
                    for number, event in enumerate(events):
                        if holds(event):
                            return events[: number + 1]
                    await follower.news(5)
        finally:
            follower.close()

    async def events(self, thread: Thread) -> list[KeptEvent]:
        events, more = await self.service.parts.journal.read(
            ThreadKey(EMBEDDED_ORG, thread.id), after=0, limit=100_000
        )
        assert not more
        return events

    async def kinds(self, thread: Thread) -> list[str]:
        return [kept.event.kind for kept in await self.events(thread)]

    async def settled(self, thread: Thread) -> None:
        await self.service.scheduler.settled(ThreadKey(EMBEDDED_ORG, thread.id))

    async def view(self, thread: Thread) -> Thread:
        return await self.service.get(OWNER, thread.id)


def thread_service(
    house: House,
    harness: Callable[[], Harness],
    *,
    owner: str | None = None,
    exclusive: bool = True,
) -> ThreadService:
    """Threads over the house's sandboxes; with an `owner` those of another control plane."""
    hub = ThreadHub(house.db)
    leases = house.service.parts.leases
    return ThreadService(
        ThreadParts(
            database=house.db,
            sandboxes=house.service,
            providers=Providers(house.db, SecretBox.open_for(house.settings)),
            servers=McpServers(house.db, SecretBox.open_for(house.settings)),
            caps=CapsBook(house.db),
            harnesses={"decopilot": harness, "acp": lambda: AcpAgent(waits=Waits(settle_s=0.0))},
            hub=hub,
            journal=Journal(house.db, hub.wake),
            claims=Claims(house.db, owner or leases.owner, exclusive=exclusive),
            programs=NpmPrograms(house.data_dir / "tools"),
            pictures=Pictures(
                choose_browser("off"),
                _previews(house).serving_unwatched,
                house.settings.previews.local,
                denied=(),
                bounds=Bounds(),
                idle_s=IDLE_S,
            ),
        )
    )


def _previews(house: House) -> PreviewHosts:
    tokens = PreviewTokens(SecretBox.open_for(house.settings).signer(PURPOSE))
    door = PreviewDoor(tokens, "link", house.settings.port)
    return PreviewHosts(house.service, house.settings.previews, door)


@pytest.fixture
async def harness() -> Scripted:
    return Scripted()


@pytest.fixture
async def chat(house: House, harness: Scripted) -> AsyncIterator[Chat]:
    """An agent from a template, a model, and threads that are worked on."""
    service = thread_service(house, harness)
    box = await house.agent(template="page", instructions="Make it blue.")
    await service.parts.providers.create(
        EMBEDDED_ORG,
        ModelProviderCreate(
            kind="openai-compatible", base_url="http://127.0.0.1:1/v1", models=["scripted"]
        ),
    )
    async with service.working():
        yield Chat(house, box, service, harness)
