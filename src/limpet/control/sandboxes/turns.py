"""Turns: what may not happen to one sandbox at once, and what is shared when asked for twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Turns(Generic[K]):
    """A lock for each key, there only while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[K, tuple[asyncio.Lock, int]] = {}

    @contextlib.asynccontextmanager
    async def of(self, key: K) -> AsyncIterator[None]:
        """Hold the key's turn; others wait in order."""
        lock, count = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, count + 1)
        try:
            async with lock:
                yield
        finally:
            lock, count = self._locks[key]
            if count == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, count - 1)

    def taken(self, key: K) -> bool:
        """Whether somebody has the turn now."""
        return key in self._locks and self._locks[key][0].locked()


class Shared(Generic[K, T]):
    """Work that two who ask at once get once. It goes on when one who asked goes away."""

    def __init__(self) -> None:
        self._under_way: dict[K, asyncio.Task[T]] = {}

    async def do(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """The result of the work under way for `key`, or of `work`, begun now: then also True."""
        task = self._under_way.get(key)
        first = task is None
        if task is None:
            task = asyncio.create_task(work())
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task), first

    def _finished(self, key: K, task: asyncio.Task[T]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # retrieved here, in case all who asked have gone

    async def settle(self) -> None:
        """Wait until all that is under way has ended, whatever came of it."""
        while self._under_way:
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)
