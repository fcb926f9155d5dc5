"""A line to another MCP server over streamable HTTP, through the official client."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import httpx2
from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client

_MOST_PAGES = 20


@asynccontextmanager
async def connected(
    url: str,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    heard: Callable[[int], None] | None = None,
) -> AsyncIterator[Client]:
    """The server at `url`, greeted. `headers` go with every request to it, and nowhere else: the
    client follows a redirect only where it stays at the same scheme, host and port.

    `heard` is told the status of each answer. What goes wrong is raised as the client raises it.
    """

    async def told(response: httpx2.Response) -> None:
        if heard is not None:
            heard(response.status_code)

    async with (
        httpx2.AsyncClient(
            headers=dict(headers),
            timeout=httpx2.Timeout(timeout_s),
            trust_env=False,
            event_hooks={"response": [told]},
        ) as http,
        Client(
            streamable_http_client(url, http_client=http), read_timeout_seconds=timeout_s
        ) as client,
    ):
        yield client


async def tools_of(client: Client) -> AsyncGenerator[types.Tool]:
    """All tools of a server, page by page, up to a bound."""
    cursor = None
    for _ in range(_MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            yield tool
        cursor = page.next_cursor
        if cursor is None:
            break
