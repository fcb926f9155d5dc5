"""Thumbnails of agents: how the preview of an agent's own branch looked after its last save.

They lie in the store, so that every control plane has them, outside of all snapshots: one object an
agent, replaced each time. When it was taken is what the store says of it.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import structlog

from limpet.control.egress import policy_for_pages
from limpet.control.pictures.page import MAX_THUMBNAIL_BYTES, THUMBNAIL
from limpet.control.pictures.taking import Pictures
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.service import SandboxService
from limpet.errors import LimpetError, NotFoundError
from limpet.ids import AgentId, OrgId, handle_for
from limpet.stores.base import SandboxStore
from limpet.stores.keys import thumbnail_key, thumbnails_prefix

log = structlog.get_logger(__name__)

SETTLES_S: Final = 2.0
"""From a save to the picture: several saves in a row make one."""
AT_MOST_EVERY_S: Final = 20.0
FRESH_S: Final = 30.0
"""For so long what the store listed is believed; other servers put pictures there too."""
STORE_PATIENCE_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A stored picture. `etag` changes with it."""

    etag: str
    image: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Listed:
    at_s: float
    taken: Mapping[str, datetime]


class Thumbnails:
    """Takes them after saves, and gives them out. `close` it."""

    def __init__(
        self,
        store: SandboxStore,
        sandboxes: SandboxService,
        pictures: Pictures,
        *,
        settles_s: float = SETTLES_S,
        at_most_every_s: float = AT_MOST_EVERY_S,
    ) -> None:
        self._store = store
        self._sandboxes = sandboxes
        self._pictures = pictures
        self._settles_s = settles_s
        self._at_most_every_s = at_most_every_s
        self._listed: dict[OrgId, _Listed] = {}
        self._under_way: dict[SandboxKey, asyncio.Task[None]] = {}
        self._again: set[SandboxKey] = set()
        self._last_s: dict[SandboxKey, float] = {}
        self._closed = False
        sandboxes.parts.on_saved = self.wanted

    async def close(self) -> None:
        """Take no more; what is under way is given up."""
        self._closed = True
        for task in list(self._under_way.values()):
            task.cancel()
        await self.settle()

    async def settle(self) -> None:
        """Wait for the pictures that are under way."""
        while self._under_way:
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)

    def wanted(self, key: SandboxKey) -> None:
        """The sandbox was saved: take its picture soon, after the one that is under way."""
        if self._closed or not self._pictures.possible:
            return
        if key in self._under_way:
            self._again.add(key)
            return
        task = asyncio.create_task(self._soon(key), name="thumbnail")
        self._under_way[key] = task
        task.add_done_callback(lambda _done: self._done(key))

    def _done(self, key: SandboxKey) -> None:
        self._under_way.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.wanted(key)

    async def _soon(self, key: SandboxKey) -> None:
        last_s = self._last_s.get(key)
        wait_s = 0.0 if last_s is None else last_s + self._at_most_every_s - time.monotonic()
        await asyncio.sleep(max(self._settles_s, wait_s))
        self._again.discard(key)  # the picture shows those saves too
        try:
            if await self._take(key):
                self._last_s[key] = time.monotonic()
        except LimpetError as error:
            log.info("no_thumbnail", agent=key.agent, code=error.code, why=error.message)
        except Exception:
            log.exception("thumbnail_broke", agent=key.agent)

    async def _take(self, key: SandboxKey) -> bool:
        """Whether a picture was put into the store."""
        parts = self._sandboxes.parts
        agent = await parts.rows.agent(key.org, key.agent)
        if agent.default_branch != key.branch:
            return False
        handle = handle_for(key.org, key.agent, key.branch)
        reached = await self._sandboxes.reach(key.org, handle)
        if not (await reached.client.health()).ready:
            return False
        policy = policy_for_pages(agent, parts.settings.egress)
        picture = await self._pictures.take(handle, "/", policy, THUMBNAIL)
        if not 200 <= picture.status < 400:
            return False
        where = thumbnail_key(key.org, key.agent)
        stored = await self._store.put(where, picture.image)
        try:
            await parts.rows.agent(key.org, key.agent)
        except NotFoundError:  # it was deleted meanwhile
            await self._store.delete(where)
            return False
        self._remember(key.org, where, stored.modified_at_s)
        return True

    # -- giving out ----------------------------------------------------------------------------

    async def taken(self, org: OrgId) -> Mapping[str, datetime]:
        """When the org's thumbnails were taken, by their keys; what was known last while the store
        is away.
        """
        known = self._listed.get(org)
        if known is not None and time.monotonic() - known.at_s < FRESH_S:
            return known.taken
        try:
            async with asyncio.timeout(STORE_PATIENCE_S):
                taken = {
                    one.key: _moment(one.modified_at_s)
                    async for one in self._store.list(thumbnails_prefix(org))
                }
        except (LimpetError, TimeoutError) as error:
            log.info("thumbnails_not_seen", org=org, error=str(error))
            taken = dict(known.taken) if known else {}
        self._listed[org] = _Listed(time.monotonic(), taken)
        return taken

    async def taken_of(self, org: OrgId, agent: AgentId) -> datetime | None:
        """When the agent's was taken; None when it has none."""
        return (await self.taken(org)).get(thumbnail_key(org, agent))

    async def etag(self, org: OrgId, agent: AgentId) -> str:
        """The thumbnail's etag, or `NotFoundError`."""
        found = await self._store.head(thumbnail_key(org, agent))
        if found is None:
            raise NotFoundError("There is no picture of this agent's preview yet")
        return found.etag

    async def get(self, org: OrgId, agent: AgentId) -> Thumbnail:
        """The agent's thumbnail, or `NotFoundError`."""
        etag = await self.etag(org, agent)
        body = await self._store.get(thumbnail_key(org, agent), length=MAX_THUMBNAIL_BYTES)
        if body is None:
            raise NotFoundError("There is no picture of this agent's preview any more")
        return Thumbnail(etag, b"".join([chunk async for chunk in body]))

    async def forget(self, org: OrgId, agent: AgentId) -> None:
        """Delete an agent's thumbnail. A store that is away keeps it, told in the log."""
        where = thumbnail_key(org, agent)
        try:
            await self._store.delete(where)
        except LimpetError as error:
            log.warning("thumbnail_left", key=where, error=error.message)
        known = self._listed.get(org)
        if known is not None:
            left = {key: at for key, at in known.taken.items() if key != where}
            self._listed[org] = _Listed(known.at_s, left)

    def _remember(self, org: OrgId, where: str, at_s: float) -> None:
        known = self._listed.get(org)
        if known is not None:
            self._listed[org] = _Listed(known.at_s, {**known.taken, where: _moment(at_s)})


def _moment(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)
