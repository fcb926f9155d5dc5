"""Asks a dev server whether it answers: one HEAD request, any HTTP status is a yes."""

import asyncio
import contextlib
from typing import Final, NamedTuple

TIMEOUT_S: Final = 5.0
MAX_HEAD_BYTES: Final = 64 * 1024


class Answer(NamedTuple):
    """That it answered, and whether with HTML."""

    status: int
    html: bool


async def head(host: str, port: int, timeout_s: float = TIMEOUT_S) -> Answer | None:
    """What `HEAD /` gives; None when nothing answers HTTP there in time."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, limit=MAX_HEAD_BYTES)
            writer.write(
                f"HEAD / HTTP/1.1\r\nHost: localhost:{port}\r\nAccept: text/html,*/*;q=0.8\r\n"
                "User-Agent: limpet-probe\r\nConnection: close\r\n\r\n".encode()
            )
            return _read(await reader.readuntil(b"\r\n\r\n"))
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(0.5):
                    await writer.wait_closed()


def _read(answer: bytes) -> Answer | None:
    first, _, rest = answer.decode("latin-1").partition("\r\n")
    version, _, status = first.partition(" ")
    if not version.startswith("HTTP/") or not status[:3].isdigit():
        return None
    html = any(
        line.lower().startswith("content-type:") and "text/html" in line.lower()
        for line in rest.split("\r\n")
    )
    return Answer(int(status[:3]), html)
