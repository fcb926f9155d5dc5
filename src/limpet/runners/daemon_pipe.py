"""A program in a sandbox on pipes, over the daemon's `/pipe` WebSocket (docs/protocol.md).

What the daemon sends is bounded by the window that it was given and checked in shape. The socket is
always read, so that a daemon that goes is missed at once, whatever nobody reads of the output.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from limpet.errors import ConflictError, DaemonError, DaemonUnreachableError, LimpetError
from limpet.runners.daemon_answers import Json, unreachable
from limpet.runners.daemon_client import QUICK_TIMEOUT_S, DaemonClient

PATH: Final = "/pipe"
MAX_WINDOW_BYTES: Final = 1024 * 1024
PIECE_BYTES: Final = 64 * 1024
ERRORS_CHARS: Final = 16 * 1024
GONE_WITHIN_S: Final = 5.0
_MAX_WORDS: Final = 2000


class ProgramEndedError(ConflictError):
    """The program reads no more: it has ended, or closed its input."""

    code = "program_ended"


class ProgramRefusedError(ConflictError):
    """The daemon cannot start the program, and says why."""

    code = "program_refused"


@asynccontextmanager
async def piped(
    client: DaemonClient, argv: Sequence[str], env: Mapping[str, str]
) -> AsyncGenerator["DaemonPipe"]:
    """A program in the repository's folder; killed on leaving, with all that it started.

    Raises `ProgramRefusedError` when it cannot be started, and what `DaemonClient.socket` raises.
    """
    async with client.socket(PATH) as ws:
        pipe = await _begun(ws, client.url, {"type": "start", "argv": [*argv], "env": {**env}})
        listening = asyncio.create_task(pipe.listen())
        try:
            yield pipe
        finally:
            try:
                await pipe.kill()
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)


async def _begun(ws: aiohttp.ClientWebSocketResponse, url: str, start: Json) -> "DaemonPipe":
    try:
        async with asyncio.timeout(QUICK_TIMEOUT_S):
            await ws.send_str(json.dumps(start))
            message = await ws.receive()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise unreachable(url, PATH, error) from error
    told = _told(message)
    if told.get("type") == "error":
        raise ProgramRefusedError(_words(told))
    window = told.get("window")
    if told.get("type") != "started" or not isinstance(window, int):
        raise DaemonError("The daemon does not say that the program runs", daemon_status=101)
    return DaemonPipe(ws, url, min(window, MAX_WINDOW_BYTES))


class DaemonPipe:
    """The program's two ends. Once the daemon is gone, everything raises `LimpetError`."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, url: str, window: int) -> None:
        self._ws = ws
        self._url = url
        self._window = window
        self._room = window
        self._sending = asyncio.Lock()
        self._pieces: deque[bytes] = deque()
        self._held = 0
        """Bytes of output that the daemon was not yet told to be taken."""
        self._untold = 0
        self._output_ended = False
        self._input_closed = False
        self._code: int | None = None
        self._said = ""
        self._broken: LimpetError | None = None
        self._news = asyncio.Event()

    async def send(self, data: bytes) -> None:
        """Put bytes into its standard input, whole before another's; waits while it takes none.

        Raises `ProgramEndedError`.
        """
        async with self._sending:
            view = memoryview(data)
            while view:
                while self._room <= 0 and self._takes_input():
                    await self._changed()
                if not self._takes_input():
                    raise self._broken or ProgramEndedError("The program reads no more.")
                piece = view[: min(self._room, PIECE_BYTES)]
                self._room -= len(piece)
                await self._put(bytes(piece))
                view = view[len(piece) :]

    async def end_input(self) -> None:
        """Close its standard input; nothing when it is closed."""
        async with self._sending:
            if self._takes_input():
                self._input_closed = True
                await self._put({"type": "end"})

    async def output(self) -> AsyncGenerator[bytes]:
        """Pieces of its standard output, until it ends. Followed once."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                yield piece
                self._untold += len(piece)
                if self._untold >= self._window // 4 or not self._pieces:
                    await self._tell_taken()
            if self._output_ended:
                return
            if self._broken is not None:
                raise self._broken
            await self._changed()

    def errors(self) -> str:
        """The last of its standard error, and why the daemon ended it where it did."""
        return self._said

    async def wait(self) -> int:
        """Its exit code, once it has ended; 128 + number when a signal ended it."""
        while self._code is None:
            if self._broken is not None:
                raise self._broken
            await self._changed()
        return self._code

    async def kill(self) -> None:
        """End it with all that it started; returns once it is gone, or the daemon is."""
        if self._code is not None or self._broken is not None:
            return
        with contextlib.suppress(LimpetError, TimeoutError):
            async with asyncio.timeout(GONE_WITHIN_S):
                await self._put({"type": "kill"})
                await self.wait()

    async def listen(self) -> None:
        """Take in what the daemon sends, until it closes."""
        try:
            while not (self._output_ended and self._code is not None):
                self._hear(await self._ws.receive())
                self._news.set()
        except LimpetError as error:
            self._broken = error
        except (aiohttp.ClientError, OSError) as error:
            self._broken = unreachable(self._url, PATH, error)
        finally:
            self._news.set()

    def _hear(self, message: aiohttp.WSMessage) -> None:
        if message.type == aiohttp.WSMsgType.BINARY:
            self._held += len(message.data)
            if self._held > self._window:
                raise DaemonError("The daemon sends more than it may", daemon_status=101)
            self._pieces.append(message.data)
            return
        told = _told(message)
        match told.get("type"), told:
            case "taken", {"bytes": int(count)} if 0 <= count <= self._window - self._room:
                self._room += count
            case "stderr", {"data": str(text)}:
                self._said = (self._said + text)[-ERRORS_CHARS:]
            case "closed", _:
                self._input_closed = True
            case "end", _:
                self._output_ended = True
            case "exit", {"exitCode": int(code)}:
                self._code = code
                if isinstance(reason := told.get("reason"), str):
                    self._said = f"{self._said}[ended: {reason[:_MAX_WORDS]}]\n"
            case "error", _:
                raise DaemonError(_words(told), daemon_status=101)
            case kind, _:
                raise DaemonError(f"The daemon sends no sound {kind!r}"[:200], daemon_status=101)

    def _takes_input(self) -> bool:
        return self._code is None and self._broken is None and not self._input_closed

    async def _changed(self) -> None:
        self._news.clear()
        await self._news.wait()

    async def _tell_taken(self) -> None:
        taken, self._untold = self._untold, 0
        self._held -= taken
        with contextlib.suppress(DaemonUnreachableError):  # what listens tells it
            await self._put({"type": "taken", "bytes": taken})

    async def _put(self, message: bytes | Json) -> None:
        try:
            if isinstance(message, bytes):
                await self._ws.send_bytes(message)
            else:
                await self._ws.send_str(json.dumps(message))
        except (aiohttp.ClientError, OSError) as error:
            raise self._broken or unreachable(self._url, PATH, error) from error


def _told(message: aiohttp.WSMessage) -> Json:
    """A message of the daemon's; `LimpetError` when it is none."""
    if message.type != aiohttp.WSMsgType.TEXT:
        raise DaemonUnreachableError(
            "The sandbox went away.", hint="Start it again; its files are kept."
        )
    try:
        told = json.loads(message.data)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise DaemonError("The daemon sends no JSON object", daemon_status=101)
    return told


def _words(told: Json) -> str:
    return str(told.get("error", ""))[:_MAX_WORDS] or "The daemon says no more."
