"""The server: real HTTP on loopback, one scripted reply a request, everything asked on record."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.models.anthropic_messages import AnthropicMessages
from tests.models.google_gemini import GoogleGemini
from tests.models.openai_chat import OpenAIChat
from tests.models.openai_responses import OpenAIResponses
from tests.models.protocol import InvalidRequestError, WireProtocol
from tests.models.scenario import Error, Reply

KEY = "sk-scripted-0123456789abcdef"
PROTOCOLS: tuple[WireProtocol, ...] = (
    AnthropicMessages(),
    OpenAIChat(),
    OpenAIResponses(),
    GoogleGemini(),
)


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def text(self) -> str:
        """All of its body."""
        return json.dumps(self.body)

    def pictures(self, base64: str) -> int:
        """How often it holds a picture, in either alphabet of base64."""
        text = self.text
        url_safe = base64.replace("+", "-").replace("/", "_")
        return text.count(base64) + (text.count(url_safe) if url_safe != base64 else 0)


@dataclass
class ScriptedModels:
    """A server at `url` that answers on every protocol from one row of replies."""

    replies: list[Reply]
    key: str
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while an answer is held back in its middle."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when whoever asked has gone from an answer that was held back."""
    refused: list[str] = field(default_factory=list)
    """Why requests were refused that no provider would take."""

    async def answer(self, protocol: WireProtocol, request: web.Request) -> web.StreamResponse:
        """One request."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.json()
        self.asked.append(Asked(request.path, headers, body))
        key = protocol.key_of(headers)
        if key != self.key:
            return self._error(protocol, Error(status=401), key)
        try:
            protocol.check(body)
        except InvalidRequestError as error:
            self.refused.append(str(error))
            return self._error(protocol, Error(status=400), key)
        if not self.replies:
            return self._error(protocol, Error(status=418), key)
        reply = self.replies.pop(0)
        if reply.error is not None and not reply.error.in_stream:
            return self._error(protocol, reply.error, key)
        model = body.get("model") or request.match_info["model"]
        return await self._stream(protocol, request, reply, model)

    def _error(self, protocol: WireProtocol, error: Error, key: str) -> web.Response:
        headers = {} if error.retry_after is None else {"Retry-After": f"{error.retry_after:g}"}
        body = protocol.error(error, key)
        code = body["error"].get("code")
        status = code if isinstance(code, int) else error.status
        return web.json_response(body, status=status, headers=headers)

    async def _stream(
        self, protocol: WireProtocol, request: web.Request, reply: Reply, model: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        events = list(protocol.events(reply, model, len(self.asked)))
        half = len(events) // 2
        cut_after = half if reply.cut_after == "half" else reply.cut_after
        for sent, event in enumerate(events):
            if sent == cut_after:
                if request.transport is not None:
                    request.transport.abort()
                return response
            if sent == reply.hold_after:
                await self._hold()
            if sent == half and reply.error is not None:
                await response.write(protocol.frame(protocol.error_event(reply.error)).encode())
                return response
            await response.write(protocol.frame(event).encode())
        await response.write(protocol.ends_with.encode())
        return response

    async def _hold(self) -> None:
        """Until the handler is cancelled, as it is when the client goes."""
        self.held.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()


@asynccontextmanager
async def scripted(replies: Iterable[Reply], key: str = KEY) -> AsyncIterator[ScriptedModels]:
    """The server on a free port, for as long as it is entered."""
    each = [reply for several in replies for reply in [several] * several.times]
    models = ScriptedModels(each, key)

    def handler_of(protocol: WireProtocol) -> Any:
        async def handler(request: web.Request) -> web.StreamResponse:
            return await models.answer(protocol, request)

        return handler

    app = web.Application(client_max_size=64 * 1024 * 1024)
    for protocol in PROTOCOLS:
        app.router.add_post(protocol.path, handler_of(protocol))
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        models.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield models
    finally:
        await runner.cleanup()
