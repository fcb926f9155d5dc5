"""Terminals: shells on a real terminal that outlive the connection that looks at them.

`POST /pty` starts one, `GET /pty` lists them, and the WebSocket `/pty/<id>` shows one: what was on
the screen first, then live. Frames of text are JSON messages, frames of bytes are what is typed or
shown. Frames are described in docs/protocol.md. Who looks at a terminal sees what its programs
show; its log file and its task's output are masked as all others are.
"""

import asyncio
import contextlib
import shutil
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.websockets import WebSocket, WebSocketDisconnect

from limpet.daemon.app import refuse
from limpet.daemon.context import DaemonContext
from limpet.daemon.paths import working_folder
from limpet.daemon.processes import Process, process_table
from limpet.daemon.routes import Route
from limpet.daemon.task import Stream, Task, TaskSpec, TaskSummary
from limpet.errors import InvalidInputError

NAME = "terminal"
MAX_SIDE = 1000
MAX_WAITING = 4 * 1024 * 1024


class OpenInput(msgspec.Struct):
    """`command` instead of a shell; `cwd` relative to the repo."""

    cols: int = 120
    rows: int = 30
    cwd: str | None = None
    command: str | None = None


class Opened(msgspec.Struct, rename="camel"):
    """The terminal's id, also its task's. `pty` is false where no terminal could be had."""

    id: str
    pty: bool


class Terminal(TaskSummary, kw_only=True):
    """A terminal. `busy`: something runs in it beside its shell, or may where nothing tells."""

    busy: bool


class TerminalList(msgspec.Struct):
    """Open ones and those that ended in the last 15 minutes."""

    terminals: list[Terminal]


async def open_terminal(ctx: DaemonContext, given: OpenInput, _: Request) -> Opened:
    """Start a shell on a terminal."""
    size = _size(given.cols, given.rows)
    cwd = await asyncio.to_thread(working_folder, ctx.repo, given.cwd)
    shell = shutil.which("bash") or "/bin/sh"
    task = await ctx.tasks.spawn(
        TaskSpec(
            given.command or [shell, "-i"],
            cwd=cwd,
            pty=True,
            name=NAME,
            label=given.command or "shell",
            size=size,
            interactive=True,
            screen=True,
        )
    )
    return Opened(id=task.id, pty=task.on_terminal)


async def list_terminals(ctx: DaemonContext, _: object, __: Request) -> TerminalList:
    """Terminals, open ones and those that ended lately."""
    tasks = [task for task in ctx.tasks.all() if task.spec.name == NAME]
    table = await asyncio.to_thread(process_table) if any(t.running for t in tasks) else {}
    return TerminalList(
        [
            Terminal(**msgspec.structs.asdict(task.summary()), busy=_is_busy(task, table))
            for task in tasks
        ]
    )


def _is_busy(task: Task, table: dict[int, Process]) -> bool:
    """Whether closing it would end more than a shell that waits."""
    if not task.running:
        return False
    if isinstance(task.spec.command, str) or task.pid not in table:
        return True
    return any(p.session == task.pid and p.pid != task.pid and not p.dead for p in table.values())


async def attach(ctx: DaemonContext, ws: WebSocket, rest: str) -> None:
    """Show one terminal on a WebSocket until it ends or the client leaves."""
    task = ctx.tasks.get(rest)
    if task is None or task.spec.name != NAME:
        await refuse(ws, 404, f"no terminal {rest!r}")
        return
    await ws.accept()
    typing = asyncio.create_task(_typed(ctx, ws, task))
    showing = asyncio.create_task(_shown(ws, task))
    done, pending = await asyncio.wait({typing, showing}, return_when=asyncio.FIRST_COMPLETED)
    for one in pending:
        one.cancel()
    await asyncio.gather(*done, *pending, return_exceptions=True)


async def _shown(ws: WebSocket, task: Task) -> None:
    with contextlib.suppress(WebSocketDisconnect, OSError, RuntimeError):
        await ws.send_json({"type": "ready", "pty": task.on_terminal})
        async for _, text in task.follow(screen=True):
            await ws.send_bytes(text.encode(errors="replace"))
        if task.running:  # it showed more than this client took in
            await ws.close(1013, "too slow")
            return
        await ws.send_json(
            {
                "type": "exit",
                "exitCode": task.exit_code,
                "status": task.status,
                "reason": task.ended_because,
            }
        )
        await ws.close(1000)


async def _typed(ctx: DaemonContext, ws: WebSocket, task: Task) -> None:
    while True:
        message = await ws.receive()
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("bytes")
        if data is not None:
            _type(ctx, task, data)
            continue
        try:
            wanted: Any = msgspec.json.decode(message.get("text") or "{}")
            if wanted["type"] == "input":
                _type(ctx, task, wanted["data"].encode())
            elif wanted["type"] == "resize":
                task.resize(*_size(wanted["cols"], wanted["rows"]))
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, InvalidInputError):
            await ws.send_json({"type": "error", "error": "not a message that is known"})


def _type(ctx: DaemonContext, task: Task, data: bytes) -> None:
    ctx.activity.touch("terminal input")
    if not task.on_terminal:
        _echo(task, "stdout", data)
        data = data.replace(b"\r", b"\n")
    task.write(data)


def _echo(task: Task, stream: Stream, data: bytes) -> None:
    task.emit(stream, data.decode(errors="replace").replace("\r", "\r\n"))


def _size(cols: object, rows: object) -> tuple[int, int]:
    if not isinstance(cols, int) or not isinstance(rows, int):
        raise InvalidInputError("cols and rows are numbers")
    if not (1 <= cols <= MAX_SIDE and 1 <= rows <= MAX_SIDE):
        raise InvalidInputError(f"cols and rows lie between 1 and {MAX_SIDE}")
    return cols, rows


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module; the WebSocket is `attach`."""
    return [
        Route(
            ("POST",),
            "/pty",
            open_terminal,
            OpenInput,
            Opened,
            statuses=(409,),
            summary="Open a terminal",
        ),
        Route(
            ("GET",),
            "/pty",
            list_terminals,
            output=TerminalList,
            activity=False,
            summary="Terminals",
        ),
    ]
