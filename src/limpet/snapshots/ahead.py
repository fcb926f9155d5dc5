"""Work that runs ahead of who needs it, each piece owned and awaited by the one who started it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class OneAhead(Generic[R]):
    """At most one piece of work at a time beside its owner, who must call `close` in the end."""

    def __init__(self) -> None:
        self._task: asyncio.Task[R] | None = None

    async def start(self, work: Coroutine[Any, Any, R]) -> None:
        """Begin this when what was begun before is done; raises what that raised."""
        try:
            await self.wait()
        except BaseException:
            work.close()
            raise
        self._task = asyncio.create_task(work)

    async def wait(self) -> R | None:
        """What the work under way gave, or raises what it raised; None when there is none."""
        task = self._task
        if task is None:
            return None
        try:
            return await task
        finally:
            if task.done():
                self._task = None

    async def close(self) -> None:
        """End what is under way; its errors are of no interest any more."""
        task, self._task = self._task, None
        if task is not None:
            await _end([task])


async def each(items: Sequence[T], act: Callable[[T], Awaitable[R]], *, at_once: int) -> list[R]:
    """What `act` gives for each item, in order, with at most `at_once` of them under way.

    The first error ends all of them and is raised.
    """
    results: dict[int, R] = {}
    todo = iter(enumerate(items))

    async def work() -> None:
        for number, item in todo:
            results[number] = await act(item)

    tasks = [asyncio.create_task(work()) for _ in range(min(at_once, len(items)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        await _end(tasks)
    return [results[number] for number in range(len(items))]


async def _end(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
