"""What tests put into stores and read back."""

from collections.abc import AsyncIterator

from limpet.stores.base import SandboxStore


async def read(
    store: SandboxStore, key: str, *, start: int = 0, length: int | None = None
) -> bytes | None:
    """All that a key holds, or a range of it; None when it is missing."""
    chunks = await store.get(key, start=start, length=length)
    return None if chunks is None else b"".join([chunk async for chunk in chunks])


async def parts(*chunks: bytes) -> AsyncIterator[bytes]:
    """A body that comes in pieces."""
    for chunk in chunks:
        yield chunk
