"""Programs on pipes: a WebSocket that starts one, is its standard input and output, and ends it.

Frames of bytes are what it reads and writes, as they are; frames of text are JSON messages, told
in docs/protocol.md. Both directions are held to a window of bytes that the other side has not yet
said to have taken, so that the socket itself is always read: a client that goes is missed at once,
and the program with all that it started is killed. It is a task like any other, whose standard
error is its log; nothing of its output is kept.
"""

import asyncio
import contextlib
import os
import secrets
import shlex
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from limpet.daemon.app import refuse
from limpet.daemon.context import DaemonContext
from limpet.daemon.processes import end_started
from limpet.daemon.shell import check_env
from limpet.daemon.task import Stream, Task, TaskSpec
from limpet.errors import InvalidInputError, LimpetError

NAME: Final = "pipe"
MARKER: Final = "LIMPET_PIPE"
WINDOW_BYTES: Final = 256 * 1024
PIECE_BYTES: Final = 64 * 1024
STDERR_BYTES: Final = 16 * 1024
MAX_MESSAGE_BYTES: Final = 2 * 1024 * 1024
MAX_AT_ONCE: Final = 32
START_WITHIN_S: Final = 15.0
_MAX_LABEL: Final = 200
_POLICY, _BAD_MESSAGE = 1008, 1003


class Start(msgspec.Struct, tag="start"):
    """The program and its arguments; `env` is laid over the config's and the daemon's."""

    argv: list[str]
    env: dict[str, str] = {}


class EndInput(msgspec.Struct, tag="end"):
    """No more input will come."""


class Kill(msgspec.Struct, tag="kill"):
    """End it, with all that it started."""


class Taken(msgspec.Struct, tag="taken"):
    """So many bytes of output were taken in."""

    bytes: int


class BadMessageError(InvalidInputError):
    """The client sent what does not belong here; `close_code` is what its socket closes with."""

    def __init__(self, message: str, close_code: int = _BAD_MESSAGE) -> None:
        super().__init__(message)
        self.close_code = close_code


_decode = msgspec.json.Decoder(Start | EndInput | Kill | Taken).decode


async def serve(ctx: DaemonContext, ws: WebSocket, rest: str) -> None:
    """Start one program on this socket and end it with it."""
    if rest:
        await refuse(ws, 404, f"Not found: {ws.scope['path']}")
        return
    if "origin" in ws.headers:
        await refuse(ws, 403, "programs on pipes are not started from browsers")
        return
    if len(ctx.tasks.running(NAME)) >= MAX_AT_ONCE:
        await refuse(ws, 429, f"{MAX_AT_ONCE} programs on pipes run already")
        return
    await ws.accept()
    try:
        await _serve(ctx, ws)
    except BadMessageError as error:
        await _close(ws, error.message, error.close_code)
    except LimpetError as error:
        await _close(ws, error.message, _POLICY, code=error.code)
    except (WebSocketDisconnect, OSError, RuntimeError):
        return  # the client is gone, and its program was ended


async def _serve(ctx: DaemonContext, ws: WebSocket) -> None:
    start = await _start_message(ws)
    marker = secrets.token_hex(8)
    task = await ctx.tasks.spawn(_spec(ctx, start, marker))
    if task.pipes is None:
        raise InvalidInputError(task.stderr.text().strip().removeprefix("[spawn error] "))
    ctx.activity.touch("program started")
    with ExitStack() as stack:
        stack.callback(ctx.activity.touch, "program ended")
        stack.enter_context(ctx.activity.busy())
        for fd in task.pipes:
            os.set_blocking(fd, False)
        await _Piped(ws, task, f"{MARKER}={marker}", *task.pipes).run()


def _spec(ctx: DaemonContext, start: Start, marker: str) -> TaskSpec:
    if not start.argv or not start.argv[0]:
        raise BadMessageError("argv names no program", _POLICY)
    if any("\0" in word for word in start.argv):
        raise BadMessageError("argv: a NUL byte cannot be part of an argument", _POLICY)
    check_env(start.env)
    return TaskSpec(
        start.argv,
        cwd=ctx.repo,
        env={**start.env, MARKER: marker},
        name=NAME,
        label=shlex.join(start.argv)[:_MAX_LABEL],
        piped=True,
    )


async def _start_message(ws: WebSocket) -> Start:
    try:
        async with asyncio.timeout(START_WITHIN_S):
            message = await ws.receive()
    except TimeoutError:
        raise BadMessageError("no start message came in time", _POLICY) from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    wanted = _message(message.get("text"))
    if not isinstance(wanted, Start):
        raise BadMessageError("the first message is start")
    return wanted


def _message(text: str | None) -> Start | EndInput | Kill | Taken:
    if text is None:
        raise BadMessageError("the first message is start")
    if len(text) > MAX_MESSAGE_BYTES:
        raise BadMessageError(f"a message has at most {MAX_MESSAGE_BYTES} bytes", 1009)
    try:
        told: Start | EndInput | Kill | Taken = _decode(text)
        return told
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadMessageError(f"not a message that is known: {error}") from None


async def _close(ws: WebSocket, words: str, close_code: int, *, code: str = "") -> None:
    with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
        await ws.send_json({"type": "error", "error": words, **({"code": code} if code else {})})
        await ws.close(close_code)


class _Piped:
    """One program that runs and the socket that it runs for."""

    def __init__(
        self, ws: WebSocket, task: Task, marker: str, input_fd: int, output_fd: int
    ) -> None:
        self._ws = ws
        self._task = task
        self._marker = marker
        self._input: int | None = input_fd
        self._output = output_fd
        self._unwritten = bytearray()
        self._ends_after_that = False
        self._credit = WINDOW_BYTES
        self._over = False
        self._said = ""
        self._kicked = asyncio.Event()
        """Something changed that who sends waits for."""
        self._taken = 0
        self._closed_told = False

    async def run(self) -> None:
        """See to it until it has ended and its last output is sent, or the client is gone."""
        self._task.on_output.append(self._hear)
        listening = asyncio.create_task(self._listen())
        ending = asyncio.create_task(self._end())
        sending = asyncio.create_task(self._send())
        try:
            await asyncio.wait({listening, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (listening, sending):
                one.cancel()
            try:
                await asyncio.shield(self._kill())
                await asyncio.shield(ending)
            finally:
                self._close_input()
                asyncio.get_running_loop().remove_reader(self._output)
                os.close(self._output)
                results = await asyncio.gather(listening, sending, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    # -- its end -------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Wait for its end, and end what it left behind."""
        await self._task.wait()
        await self._end_started()
        self._over = True
        self._kicked.set()

    async def _kill(self) -> None:
        if self._task.running:
            self._task.intentional = True
            await self._end_started()
            await self._task.kill(first=signal.SIGKILL)

    async def _end_started(self) -> None:
        assert self._task.pid is not None
        # One that cannot be ended (it waits for a disk) is not waited for; a stop meets it again.
        with contextlib.suppress(TimeoutError):
            await end_started(self._task.pid, self._marker)

    # -- from the client -----------------------------------------------------------------------

    async def _listen(self) -> None:
        killing: asyncio.Task[None] | None = None
        try:
            while True:
                message = await self._ws.receive()
                if message["type"] == "websocket.disconnect":
                    return
                data = message.get("bytes")
                if data is not None:
                    self._take_in(data)
                    continue
                match _message(message.get("text")):
                    case Taken(bytes=count):
                        self._give_credit(count)
                    case EndInput():
                        self._ends_after_that = True
                        self._write()
                    case Kill():
                        killing = killing or asyncio.create_task(self._kill())
                    case Start():
                        raise BadMessageError("one socket starts one program", _POLICY)
        finally:
            if killing is not None:
                await asyncio.gather(killing, return_exceptions=True)

    def _give_credit(self, count: int) -> None:
        if not 0 <= count <= WINDOW_BYTES - self._credit:
            raise BadMessageError("taken: more than was sent", _POLICY)
        self._credit += count
        self._kicked.set()

    def _take_in(self, data: bytes) -> None:
        if len(self._unwritten) + self._taken + len(data) > WINDOW_BYTES:
            raise BadMessageError("more input than the window holds", _POLICY)
        if self._ends_after_that:
            raise BadMessageError("input after its end", _POLICY)
        if self._input is None:
            self._taken += len(data)  # nobody will read it
            self._kicked.set()
            return
        waits = bool(self._unwritten)
        self._unwritten += data
        if not waits:
            self._write()

    def _write(self) -> None:
        """Write what there is, now and whenever there is room."""
        if self._input is None:
            return
        self._kicked.set()
        loop = asyncio.get_running_loop()
        try:
            while self._unwritten:
                written = os.write(self._input, self._unwritten[:PIECE_BYTES])
                del self._unwritten[:written]
                self._taken += written
        except BlockingIOError:
            loop.add_writer(self._input, self._write)
            return
        except OSError:  # it reads no more
            self._taken += len(self._unwritten)
            self._unwritten.clear()
            self._close_input()
            return
        loop.remove_writer(self._input)
        if self._ends_after_that:
            self._close_input()

    def _close_input(self) -> None:
        if self._input is not None:
            asyncio.get_running_loop().remove_writer(self._input)
            os.close(self._input)
            self._input = None

    # -- to the client -------------------------------------------------------------------------

    def _hear(self, stream: Stream, text: str) -> None:
        if stream == "stderr":
            self._said = (self._said + text)[-STDERR_BYTES:]
            self._kicked.set()

    async def _send(self) -> None:
        """Everything that the client is told, in one order."""
        ws = self._ws
        await ws.send_json({"type": "started", "id": self._task.id, "window": WINDOW_BYTES})
        readable = _Readable(self._output, self._kicked.set)
        output_open, exit_told = True, False
        while True:
            self._kicked.clear()
            if self._taken:
                taken, self._taken = self._taken, 0
                await ws.send_json({"type": "taken", "bytes": taken})
            if self._input is None and not self._ends_after_that and not self._closed_told:
                self._closed_told = True
                await ws.send_json({"type": "closed"})
            if self._said:
                said, self._said = self._said, ""
                await ws.send_json({"type": "stderr", "data": said})
            over = self._over
            if over and not exit_told:
                exit_told = True
                await ws.send_json(
                    {
                        "type": "exit",
                        "exitCode": self._task.exit_code,
                        "status": self._task.status,
                        "reason": self._task.ended_because,
                    }
                )
            if output_open and self._credit > 0:
                piece = readable.read(min(PIECE_BYTES, self._credit))
                if piece:
                    self._credit -= len(piece)
                    await ws.send_bytes(piece)
                    continue
                if piece is not None or over:  # what is not there once it is over will not come
                    output_open = False
                    await ws.send_json({"type": "end"})
            if exit_told and not output_open:
                await ws.close(1000)
                return
            await self._kicked.wait()


class _Readable:
    """A descriptor that is read when it has something, and only when that is wanted."""

    def __init__(self, fd: int, wake: Callable[[], None]) -> None:
        self._fd = fd
        self._wake = wake

    def read(self, most: int) -> bytes | None:
        """What is there, b"" at its end; None, and `wake` once there is something."""
        loop = asyncio.get_running_loop()
        try:
            return os.read(self._fd, most)
        except BlockingIOError:
            loop.add_reader(self._fd, self._woken)
            return None

    def _woken(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        self._wake()
