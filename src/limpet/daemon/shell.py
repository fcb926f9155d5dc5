"""`/bash` and `/exec/<script>`: one command, awaited or in the background."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from typing import Literal

import msgspec
from starlette.requests import Request

from limpet.daemon.context import DaemonContext
from limpet.daemon.paths import working_folder
from limpet.daemon.routes import Route, RouteError
from limpet.daemon.task import Status, Task, TaskSpec
from limpet.errors import InvalidInputError

DEFAULT_TIMEOUT_MS = 30_000
MAX_AWAIT_MS = 120_000
MAX_BACKGROUND_MS = 15 * 60_000

Mode = Literal["await", "background"]


class BashInput(msgspec.Struct):
    """`timeout` is milliseconds: at most 2 minutes awaited, 15 in the background."""

    command: str
    timeout: int | None = None
    cwd: str | None = None
    env: dict[str, str] = {}
    mode: Mode = "await"


class ExecInput(msgspec.Struct, rename={"timeout_ms": "timeoutMs"}):
    """How a script runs."""

    mode: Mode = "background"
    timeout_ms: int | None = None
    env: dict[str, str] = {}


class CommandResult(msgspec.Struct, rename="camel"):
    """What a command gave: `exit_code` is -1 when its time ran out."""

    task_id: str
    status: Status
    stdout: str
    stderr: str
    exit_code: int
    timed_out: bool
    truncated: bool


class Started(msgspec.Struct, rename="camel"):
    """A command that runs on."""

    task_id: str
    status: Status


class Killed(msgspec.Struct):
    """How many there were."""

    killed: int


async def bash(ctx: DaemonContext, given: BashInput, _: Request) -> CommandResult | Started:
    """Run a command with `bash -c`, in pipes, its whole process group ended with it."""
    if not given.command.strip():
        raise InvalidInputError("command is empty")
    check_env(given.env)
    spec = TaskSpec(
        given.command,
        cwd=await asyncio.to_thread(working_folder, ctx.repo, given.cwd),
        env=given.env,
        timeout_s=_timeout_s(given.timeout, given.mode),
    )
    task = await ctx.tasks.spawn(spec)
    if task.running:
        busy = ExitStack()
        busy.enter_context(ctx.activity.busy())
        task.on_end.append(lambda _: busy.close())
    return await _outcome(ctx, task, given.mode)


async def exec_script(
    ctx: DaemonContext, given: ExecInput, request: Request
) -> CommandResult | Started:
    """Run a script that the package manager knows."""
    check_env(given.env)
    name = request.path_params["script"]
    _check_script(name)
    if ctx.config.current is None:
        raise RouteError("no config yet: POST /config first", status=409)
    available = list(ctx.setup.scripts)
    if name not in available:
        raise RouteError(f"no script named {name!r}", status=404, available=available)
    spec = ctx.setup.script_task(name, given.env)
    if given.timeout_ms is not None or given.mode == "await":
        spec = replace(spec, timeout_s=_timeout_s(given.timeout_ms, given.mode))
    task = await ctx.tasks.spawn(spec)
    return await _outcome(ctx, task, given.mode)


async def kill_script(ctx: DaemonContext, _: object, request: Request) -> Killed:
    """End every run of a script."""
    name = request.path_params["script"]
    _check_script(name)
    return Killed(killed=await ctx.tasks.kill_named(name))


async def _outcome(ctx: DaemonContext, task: Task, mode: Mode) -> CommandResult | Started:
    def ended(_: Task) -> None:
        ctx.activity.touch("command ended")

    if task.running:
        task.on_end.append(ended)
    if mode == "background":
        return Started(task.id, task.status)
    code = await task.wait()
    return CommandResult(
        task_id=task.id,
        status=task.status,
        stdout=task.stdout.text(),
        stderr=task.stderr.text(),
        exit_code=code,
        timed_out=task.timed_out,
        truncated=task.truncated,
    )


def _timeout_s(given_ms: int | None, mode: Mode) -> float:
    most = MAX_AWAIT_MS if mode == "await" else MAX_BACKGROUND_MS
    if given_ms is None:
        return (DEFAULT_TIMEOUT_MS if mode == "await" else MAX_BACKGROUND_MS) / 1000
    if given_ms < 1:
        raise InvalidInputError("timeout is milliseconds, at least 1")
    return min(given_ms, most) / 1000


def check_env(env: dict[str, str]) -> None:
    """`InvalidInputError` for names or values that no process could get."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise InvalidInputError(f"env: {name!r} is not a variable that can be set")


def _check_script(name: str) -> None:
    if not name or name.startswith("-") or len(name) > 200 or not name.isprintable():
        raise InvalidInputError(f"{name!r} is not a script's name")


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    post = ("POST",)
    command = CommandResult | Started
    return [
        Route(post, "/bash", bash, BashInput, command, statuses=(409,), summary="Run a command"),
        Route(
            post,
            "/exec/{script}",
            exec_script,
            ExecInput,
            command,
            statuses=(404, 409),
            summary="Run a script of the project",
        ),
        Route(
            post,
            "/exec/{script}/kill",
            kill_script,
            output=Killed,
            statuses=(400,),
            summary="End a script's runs",
        ),
    ]
