"""Routes on tasks: list, look, follow, end, forget."""

from collections.abc import AsyncIterator
from signal import Signals

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from limpet.daemon.context import DaemonContext
from limpet.daemon.routes import Route, RouteError
from limpet.daemon.status_routes import SSE_HEADERS
from limpet.daemon.task import Task
from limpet.errors import InvalidInputError, NotFoundError

_encode = msgspec.json.Encoder().encode


async def list_tasks(ctx: DaemonContext, _: object, request: Request) -> dict[str, object]:
    """Tasks that run or ended in the last 15 minutes; `?status=` takes several, by commas."""
    wanted = {s for s in request.query_params.get("status", "").split(",") if s}
    tasks = [t for t in ctx.tasks.all() if not wanted or t.status in wanted]
    return {"tasks": [task.summary() for task in tasks]}


async def get_task(ctx: DaemonContext, _: object, request: Request) -> dict[str, object]:
    """One task with its output."""
    task = _found(ctx, request)
    return {**task.summary(), "stdout": task.stdout.text(), "stderr": task.stderr.text()}


async def stream_task(ctx: DaemonContext, _: object, request: Request) -> Response:
    """A task's output so far, then live, then `event: end`."""
    task = _found(ctx, request)

    async def frames() -> AsyncIterator[bytes]:
        async for stream, text in task.follow():
            yield b"event: %s\ndata: %s\n\n" % (stream.encode(), _encode({"data": text}))
        if not task.running:
            end = {"status": task.status, "exitCode": task.exit_code, "timedOut": task.timed_out}
            yield b"event: end\ndata: %s\n\n" % _encode(end)

    return StreamingResponse(frames(), media_type="text/event-stream", headers=SSE_HEADERS)


async def kill_task(ctx: DaemonContext, _: object, request: Request) -> dict[str, object]:
    """End one task: TERM (or `?signal=`), then KILL."""
    task = _found(ctx, request)
    if not task.running:
        raise InvalidInputError(f"{task.id} is not running")
    await task.kill(first=_signal(request.query_params.get("signal", "SIGTERM")))
    return {"ok": True}


async def kill_all(ctx: DaemonContext, _: object, __: Request) -> dict[str, object]:
    """End all tasks."""
    return {"ok": True, "killed": await ctx.tasks.kill_all()}


async def forget_task(ctx: DaemonContext, _: object, request: Request) -> dict[str, object]:
    """Forget a task that has ended."""
    task = ctx.tasks.get(request.path_params["id"])
    if task is None:
        raise InvalidInputError(f"no task {request.path_params['id']}")
    if task.running:
        raise InvalidInputError(f"{task.id} is still running")
    ctx.tasks.forget(task.id)
    return {"ok": True}


def _found(ctx: DaemonContext, request: Request) -> Task:
    task = ctx.tasks.get(request.path_params["id"])
    if task is None:
        raise NotFoundError(f"no task {request.path_params['id']}")
    return task


def _signal(name: str) -> Signals:
    name = name.upper()
    try:
        return Signals[name if name.startswith("SIG") else f"SIG{name}"]
    except KeyError:
        raise RouteError(f"no signal is called {name!r}") from None


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    get, post = ("GET",), ("POST",)
    return [
        Route(get, "/tasks", list_tasks, activity=False, summary="Tasks"),
        Route(post, "/tasks/kill-all", kill_all, summary="End all tasks"),
        Route(get, "/tasks/{id}", get_task, activity=False, summary="A task and its output"),
        Route(get, "/tasks/{id}/stream", stream_task, activity=False, summary="Follow a task"),
        Route(post, "/tasks/{id}/kill", kill_task, summary="End a task"),
        Route(("DELETE",), "/tasks/{id}", forget_task, summary="Forget a task that has ended"),
    ]
