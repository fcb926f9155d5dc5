"""Streams between a daemon and the store: stalls are noticed, a thread's chunks reach the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import anyio.to_thread

from limpet.errors import UnreachableError
from limpet.snapshots.judge import TooMuchError

STALL_S = 120.0


class StalledError(UnreachableError):
    """A stream stopped in the middle and nothing more came."""

    code = "stalled"


async def without_stalls(
    chunks: AsyncIterator[bytes], stall_s: float = STALL_S, *, who: str = "The sandbox"
) -> AsyncIterator[bytes]:
    """`chunks`; raises `StalledError`, which names `who`, when none comes for `stall_s` seconds."""
    while True:
        try:
            async with asyncio.timeout(stall_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise StalledError(
                f"{who} sent nothing for {stall_s:.0f} s in the middle of a snapshot",
                hint="Nothing was stored. Try again.",
            ) from None
        yield chunk


async def at_most(
    chunks: AsyncIterator[bytes], limit_bytes: int, *, who: str = "The sandbox"
) -> AsyncIterator[bytes]:
    """`chunks`; raises `TooMuchError`, which names `who`, once they are over the limit."""
    seen = 0
    async for chunk in chunks:
        seen += len(chunk)
        if seen > limit_bytes:
            raise TooMuchError(f"{who} sent more than {limit_bytes:,} bytes for one snapshot")
        yield chunk


async def counted(
    chunks: AsyncIterator[bytes], told: Callable[[int], None], every: int = 1 << 20
) -> AsyncIterator[bytes]:
    """`chunks`; `told` is given the bytes so far, about each `every` bytes."""
    seen = last = 0
    async for chunk in chunks:
        seen += len(chunk)
        if seen - last >= every:
            last = seen
            told(seen)
        yield chunk


async def from_thread(blocking: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks of a blocking iterator, each taken in a thread."""
    end = object()
    try:
        while True:
            chunk = await anyio.to_thread.run_sync(next, blocking, end)
            if chunk is end:
                return
            assert isinstance(chunk, bytes)
            yield chunk
    finally:
        close = getattr(blocking, "close", None)
        if close is not None:
            await anyio.to_thread.run_sync(close)
