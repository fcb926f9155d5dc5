"""From a task that tells what happens to an iteration that can be left at any moment."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio

from limpet.harness.bounds import showable
from limpet.harness.events import HarnessEvent

Emit = Callable[[HarnessEvent], Awaitable[None]]
"""Give an event away; returns when whoever iterates asks for the next one."""

_UNWIND_S = 10.0


async def events_of(work: Callable[[Emit], Awaitable[None]]) -> AsyncGenerator[HarnessEvent]:
    """What `work` emits, one by one; its exception comes out at the end.

    The work is a task of its own: time limits and streams inside it then belong to one task,
    whoever iterates. Leaving the iteration, by cancellation or by closing it, cancels the work and
    waits until it has let go of what it holds. Every event can be written down as JSON.
    """
    queue: asyncio.Queue[HarnessEvent | None] = asyncio.Queue()

    async def emit(event: HarnessEvent) -> None:
        given = event.model_dump()
        shown = showable(given)
        await queue.put(event if shown == given else type(event).model_validate(shown))
        await queue.join()

    async def worker() -> None:
        try:
            await work(emit)
        finally:
            queue.put_nowait(None)

    task = asyncio.create_task(worker())
    try:
        while (event := await queue.get()) is not None:
            yield event
            queue.task_done()
        await task
    finally:
        task.cancel()
        with anyio.move_on_after(_UNWIND_S, shield=True):
            await asyncio.wait([task])
        if task.done() and not task.cancelled():
            task.exception()
