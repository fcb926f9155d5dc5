"""Counts the requests that pass to a server: a plain TCP proxy that looks for request lines."""

import asyncio
import contextlib
import re
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

_REQUEST: Final = re.compile(rb"(?m)^(GET|PUT|HEAD|POST|DELETE) /[^ ]* HTTP/1\.1\r$")


class Requests:
    """How many requests of each method have passed."""

    def __init__(self) -> None:
        self.by_method: Counter[str] = Counter()

    def take(self) -> dict[str, int]:
        """Those since this was asked last."""
        found, self.by_method = dict(sorted(self.by_method.items())), Counter()
        return found


@contextlib.contextmanager
def counting_proxy(upstream: str) -> Iterator[tuple[Requests, str]]:
    """What has passed, and the endpoint to use."""
    where = urlsplit(upstream)
    requests = Requests()
    started = threading.Event()
    loop = asyncio.new_event_loop()
    port = 0

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, count: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if count:
                    for found in _REQUEST.finditer(data):
                        requests.by_method[found[1].decode()] += 1
                writer.write(data)
                await writer.drain()
        with contextlib.suppress(ConnectionError):
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(where.hostname, where.port)
        with contextlib.suppress(asyncio.CancelledError):  # the proxy ends
            await asyncio.gather(
                pump(reader, up_writer, count=True), pump(up_reader, writer, count=False)
            )

    async def main() -> None:
        nonlocal port
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        started.set()
        async with server:
            with contextlib.suppress(asyncio.CancelledError):
                await server.serve_forever()

    task = loop.create_task(main())

    async def end(left: set[asyncio.Task[None]]) -> None:
        for one in left:
            one.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def run() -> None:
        loop.run_until_complete(task)
        loop.run_until_complete(end(asyncio.all_tasks(loop)))
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    try:
        yield requests, f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
