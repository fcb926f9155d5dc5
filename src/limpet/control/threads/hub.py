"""Who follows which thread: woken at once by writes here, and soon by those of other servers.

A follower is only told that there is something new; it reads that from the database, at its own
pace, so that a slow one holds nobody up and costs no memory.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog
from sqlalchemy import select, tuple_

from limpet.control.db import Database, ThreadRow
from limpet.control.threads.keys import ThreadKey
from limpet.errors import LimpetError
from limpet.ids import OrgId

log = structlog.get_logger(__name__)

POLL_S: Final = 1.0
_ASKED_AT_ONCE: Final = 200


class Follower:
    """One who follows a thread. Close it when done."""

    def __init__(self, hub: "ThreadHub", key: ThreadKey) -> None:
        self._hub, self._key = hub, key
        self.stirred = asyncio.Event()

    async def news(self, timeout_s: float) -> bool:
        """Wait until something may be new; False when nothing was for so long."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.stirred.wait()
        except TimeoutError:
            return False
        self.stirred.clear()
        return True

    def close(self) -> None:
        """Follow no more."""
        self._hub.drop(self._key, self)


class ThreadHub:
    """All followers of one control plane."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followers: dict[ThreadKey, set[Follower]] = {}
        self._seen: dict[ThreadKey, tuple[int, int]] = {}
        self.closed = False

    def follow(self, key: ThreadKey) -> Follower:
        """Be told of the thread from now on."""
        follower = Follower(self, key)
        self._followers.setdefault(key, set()).add(follower)
        return follower

    def drop(self, key: ThreadKey, follower: Follower) -> None:
        """Forget a follower."""
        followers = self._followers.get(key, set())
        followers.discard(follower)
        if not followers:
            self._followers.pop(key, None)
            self._seen.pop(key, None)

    def wake(self, key: ThreadKey) -> None:
        """Something about the thread was written."""
        for follower in self._followers.get(key, ()):
            follower.stirred.set()

    def close(self) -> None:
        """Wake everyone for the last time."""
        self.closed = True
        for key in self._followers:
            self.wake(key)

    async def run(self) -> None:
        """Look, as long as this runs, for what other servers wrote to threads followed here."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.look()
            except LimpetError as error:
                log.warning("threads_not_looked_at", error=error.message)

    async def look(self) -> None:
        """Wake those whose threads have changed since the last look."""
        keys = list(self._followers)
        for begin in range(0, len(keys), _ASKED_AT_ONCE):
            asked = keys[begin : begin + _ASKED_AT_ONCE]
            found = await self._states(asked)
            for key in asked:
                state = found.get(key, (0, 0))
                if key in self._followers and self._seen.get(key) != state:
                    self._seen[key] = state
                    self.wake(key)

    async def _states(self, keys: Sequence[ThreadKey]) -> dict[ThreadKey, tuple[int, int]]:
        query = select(ThreadRow.org_id, ThreadRow.id, ThreadRow.last_seq, ThreadRow.version).where(
            tuple_(ThreadRow.org_id, ThreadRow.id).in_([(k.org, k.thread) for k in keys])
        )
        async with self._database.reading() as session:
            rows = await session.execute(query)
            return {ThreadKey(OrgId(org), thread): (seq, v) for org, thread, seq, v in rows}
