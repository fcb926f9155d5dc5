"""Routes on tasks: list, look, follow, end, forget."""

from collections.abc import AsyncIterator
from signal import Signals

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from limpet.daemon.context import DaemonContext
from limpet.daemon.routes import SSE, SSE_HEADERS, Done, Route, RouteError
from limpet.daemon.task import Task, TaskSummary
from limpet.errors import InvalidInputError, NotFoundError

_encode = msgspec.json.Encoder().encode


class TasksQuery(msgspec.Struct):
    """`status`: several, by commas."""

    status: str = ""


class KillQuery(msgspec.Struct):
    """The signal that comes first."""

    signal: str = "SIGTERM"


class TaskList(msgspec.Struct):
    """Tasks that run or ended in the last 15 minutes, oldest first."""

    tasks: list[TaskSummary]


class TaskOutput(TaskSummary, rename="camel", kw_only=True):
    """A task with the last 256 KiB of its output; on a terminal all of it is `stdout`."""

    stdout: str
    stderr: str


class KilledAll(msgspec.Struct):
    """How many there were."""

    ok: bool
    killed: int


async def list_tasks(ctx: DaemonContext, given: TasksQuery, _: Request) -> TaskList:
    """Tasks that run or ended lately."""
    wanted = {s for s in given.status.split(",") if s}
    return TaskList([t.summary() for t in ctx.tasks.all() if not wanted or t.status in wanted])


async def get_task(ctx: DaemonContext, _: object, request: Request) -> TaskOutput:
    """One task with its output."""
    task = _found(ctx, request)
    summary = msgspec.structs.asdict(task.summary())
    return TaskOutput(**summary, stdout=task.stdout.text(), stderr=task.stderr.text())


async def stream_task(ctx: DaemonContext, _: object, request: Request) -> Response:
    """A task's output so far, then live, then `event: end`."""
    task = _found(ctx, request)

    async def frames() -> AsyncIterator[bytes]:
        async for stream, text in task.follow():
            yield b"event: %s\ndata: %s\n\n" % (stream.encode(), _encode({"data": text}))
        if not task.running:
            end = {"status": task.status, "exitCode": task.exit_code, "timedOut": task.timed_out}
            yield b"event: end\ndata: %s\n\n" % _encode(end)

    return StreamingResponse(frames(), media_type=SSE, headers=SSE_HEADERS)


async def kill_task(ctx: DaemonContext, given: KillQuery, request: Request) -> Done:
    """End one task: TERM (or another signal), then KILL."""
    task = _found(ctx, request)
    if not task.running:
        raise InvalidInputError(f"{task.id} is not running")
    await task.kill(first=_signal(given.signal))
    return Done(ok=True)


async def kill_all(ctx: DaemonContext, _: object, __: Request) -> KilledAll:
    """End all tasks."""
    return KilledAll(ok=True, killed=await ctx.tasks.kill_all())


async def forget_task(ctx: DaemonContext, _: object, request: Request) -> Done:
    """Forget a task that has ended."""
    task = ctx.tasks.get(request.path_params["id"])
    if task is None:
        raise InvalidInputError(f"no task {request.path_params['id']}")
    if task.running:
        raise InvalidInputError(f"{task.id} is still running")
    ctx.tasks.forget(task.id)
    return Done(ok=True)


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
        Route(
            get,
            "/tasks",
            list_tasks,
            output=TaskList,
            query=TasksQuery,
            activity=False,
            summary="Tasks that run or ended in the last 15 minutes",
        ),
        Route(
            post,
            "/tasks/kill-all",
            kill_all,
            output=KilledAll,
            summary="End all tasks: TERM, and after 3 s KILL",
        ),
        Route(
            get,
            "/tasks/{id}",
            get_task,
            output=TaskOutput,
            statuses=(404,),
            activity=False,
            summary="A task and its output",
        ),
        Route(
            get,
            "/tasks/{id}/stream",
            stream_task,
            media=(SSE,),
            statuses=(404,),
            activity=False,
            summary="Follow a task",
        ),
        Route(
            post,
            "/tasks/{id}/kill",
            kill_task,
            output=Done,
            query=KillQuery,
            statuses=(400, 404),
            summary="End a task: TERM or the signal, and after 3 s KILL",
        ),
        Route(
            ("DELETE",),
            "/tasks/{id}",
            forget_task,
            output=Done,
            statuses=(400,),
            summary="Forget a task that has ended",
        ),
    ]
