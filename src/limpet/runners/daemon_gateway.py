"""Requests from inside a sandbox, over the daemon's `/gateway` WebSocket (docs/protocol.md).

Whoever asks, and the daemon itself, may be anything: what comes is bounded by windows and checked
in shape, and a daemon that breaks the protocol is broken off with.
"""

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from limpet.errors import DaemonError, DaemonUnreachableError, InvalidInputError, LimpetError
from limpet.runners.daemon_answers import Json, unreachable
from limpet.runners.daemon_client import QUICK_TIMEOUT_S, DaemonClient

log = logging.getLogger(__name__)

PATH: Final = "/gateway"
WINDOW_BYTES: Final = 256 * 1024
PIECE_BYTES: Final = 64 * 1024
MAX_REQUESTS: Final = 128
GONE_WITHIN_S: Final = 5.0
_ID_BYTES: Final = 4
_MAX_HEADERS: Final = 500

Headers = Sequence[tuple[str, str]]


class AskerGoneError(DaemonUnreachableError):
    """Whoever asked from inside the sandbox has gone, or the sandbox has."""

    code = "asker_gone"


class TooLargeError(InvalidInputError):
    """A request from inside has a body over the limit."""

    code = "too_large"
    status = 413


class Asked:
    """One request from inside, and its answer. Everything but `body` raises `AskerGoneError`."""

    def __init__(self, stream: "_Stream", number: int, method: str, path: str, headers: Headers):
        self.method = method
        self.path = path
        self.headers = headers
        self.begun = False
        self.ended = False
        self._stream = stream
        self._number = number
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._whole = False
        self._room = WINDOW_BYTES
        self._news = asyncio.Event()

    async def body(self, most_bytes: int) -> bytes:
        """All of its body; `TooLargeError` when that is more."""
        read = bytearray()
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                read += piece
                if len(read) > most_bytes:
                    raise TooLargeError(f"A request has at most {most_bytes} bytes")
                self._held -= len(piece)
                await self._tell({"type": "taken", "bytes": len(piece)})
            if self._whole:
                return bytes(read)
            await self._changed()

    async def begin(self, status: int, headers: Headers) -> None:
        """Begin the answer."""
        self.begun = True
        await self._tell({"type": "answer", "status": status, "headers": [*headers]})

    async def send(self, data: bytes) -> None:
        """A piece of the answer's body; waits while whoever asked takes none."""
        for at in range(0, len(data), PIECE_BYTES):
            piece = data[at : at + PIECE_BYTES]
            while self._room < len(piece):
                await self._changed()
            self._room -= len(piece)
            await self._stream.put(self._number.to_bytes(_ID_BYTES, "big") + piece)

    async def end(self) -> None:
        """The answer is whole."""
        self.ended = True
        await self._tell({"type": "end"})

    async def break_off(self) -> None:
        """The answer will not be whole."""
        self.ended = True
        await self._tell({"type": "broken"})

    def take_in(self, piece: bytes) -> None:
        """More of its body has come."""
        self._held += len(piece)
        if self._held > WINDOW_BYTES or self._whole:
            raise DaemonError("The daemon sends more than it may", daemon_status=101)
        self._pieces.append(piece)
        self._news.set()

    def hear(self, told: Json) -> None:
        """What the daemon says of it."""
        match told:
            case {"type": "end"}:
                self._whole = True
            case {"type": "taken", "bytes": int(count)} if 0 <= count <= WINDOW_BYTES - self._room:
                self._room += count
            case _:
                raise DaemonError("The daemon sends no sound message", daemon_status=101)
        self._news.set()

    async def _changed(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def _tell(self, message: Json) -> None:
        await self._stream.put({**message, "id": self._number})


Answer = Callable[[Asked], Awaitable[None]]


@asynccontextmanager
async def reverse_stream(client: DaemonClient, answer: Answer) -> AsyncGenerator[int]:
    """A loopback port inside the sandbox whose requests `answer` answers, for as long as entered.

    On leaving, what is still open is broken off and the port is gone.
    `answer` is a task of its own for each request, cancelled when whoever asked goes. Raises what
    `DaemonClient.socket` raises.
    """
    async with client.socket(PATH) as ws:
        stream = _Stream(ws, client.url, answer)
        port = await stream.port()
        listening = asyncio.create_task(stream.listen())
        try:
            yield port
        finally:
            with contextlib.suppress(AskerGoneError):
                await stream.put({"type": "close"})
            # The daemon closes once the port is gone.
            await asyncio.wait({listening}, timeout=GONE_WITHIN_S)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


class _Stream:
    def __init__(self, ws: aiohttp.ClientWebSocketResponse, url: str, answer: Answer) -> None:
        self._ws = ws
        self._url = url
        self._answer = answer
        self._asked: dict[int, Asked] = {}
        self._answering: dict[int, asyncio.Task[None]] = {}

    async def port(self) -> int:
        """What the daemon listens on."""
        try:
            async with asyncio.timeout(QUICK_TIMEOUT_S):
                message = await self._ws.receive()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unreachable(self._url, PATH, error) from error
        match _told(message):
            case {"type": "listening", "port": int(port)} if 0 < port < 65536:
                return port
        raise DaemonError("The daemon does not say where it listens", daemon_status=101)

    async def listen(self) -> None:
        """Take in what comes until the daemon closes, or breaks the protocol."""
        try:
            while True:
                message = await self._ws.receive()
                if message.type == aiohttp.WSMsgType.BINARY:
                    self._take_in(message.data)
                else:
                    self._hear(_told(message))
        except DaemonUnreachableError:
            log.info("the gateway of %s is gone", self._url)
        except (LimpetError, aiohttp.ClientError, OSError) as error:
            log.warning("the gateway of %s is broken off with: %s", self._url, error)
        finally:
            answering = [*self._answering.values()]
            for task in answering:
                task.cancel()
            await asyncio.gather(*answering, return_exceptions=True)
            await self._ws.close()

    def _take_in(self, data: bytes) -> None:
        asked = self._asked.get(int.from_bytes(data[:_ID_BYTES], "big"))
        if len(data) >= _ID_BYTES and asked is not None:
            asked.take_in(data[_ID_BYTES:])

    def _hear(self, told: Json) -> None:
        number = told.get("id")
        if not isinstance(number, int):
            raise DaemonError("The daemon sends no number", daemon_status=101)
        if told.get("type") == "request":
            self._begin(number, told)
        elif told.get("type") == "gone":
            if task := self._answering.get(number):
                task.cancel()
        elif (asked := self._asked.get(number)) is not None:
            asked.hear(told)

    def _begin(self, number: int, told: Json) -> None:
        method, path, headers = told.get("method"), told.get("path"), told.get("headers")
        if not (isinstance(method, str) and isinstance(path, str) and isinstance(headers, list)):
            raise DaemonError("The daemon sends no sound request", daemon_status=101)
        pairs = [
            (one[0].lower(), one[1])
            for one in headers[:_MAX_HEADERS]
            if isinstance(one, list) and len(one) == 2 and all(isinstance(p, str) for p in one)
        ]
        sound = 0 < number < 1 << 8 * _ID_BYTES and number not in self._answering
        if not sound or len(self._answering) >= MAX_REQUESTS:
            raise DaemonError("The daemon sends more requests than it may", daemon_status=101)
        asked = self._asked[number] = Asked(self, number, method, path, pairs)
        task = self._answering[number] = asyncio.create_task(self._answered(asked))

        def forget(_: asyncio.Task[None]) -> None:
            del self._asked[number], self._answering[number]

        task.add_done_callback(forget)

    async def _answered(self, asked: Asked) -> None:
        try:
            await self._answer(asked)
        except AskerGoneError:
            return
        except Exception:  # the edge: whoever asked is told, and the others go on
            log.exception("a request through the gateway was not answered")
        finally:
            if not asked.ended:
                with contextlib.suppress(AskerGoneError):
                    await asked.break_off()

    async def put(self, message: bytes | Json) -> None:
        """Send one frame; `AskerGoneError` when the daemon is gone."""
        try:
            if isinstance(message, bytes):
                await self._ws.send_bytes(message)
            else:
                await self._ws.send_str(json.dumps(message))
        except (aiohttp.ClientError, OSError) as error:
            raise AskerGoneError("The sandbox went away.") from error


def _told(message: aiohttp.WSMessage) -> Json:
    if message.type != aiohttp.WSMsgType.TEXT:
        raise DaemonUnreachableError("The sandbox went away.")
    try:
        told = json.loads(message.data)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise DaemonError("The daemon sends no JSON object", daemon_status=101)
    return told
