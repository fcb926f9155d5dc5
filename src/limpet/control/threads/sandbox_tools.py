"""The tools of a harness, over the routes of one sandbox's daemon.

A daemon that refuses is a `ToolFailedError` in its own words. A sandbox that went away in the
middle is brought home once, as a start does, and asked again.
"""

import asyncio
import difflib
import json
import re
import shlex
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

from limpet.control.egress import policy_for_pages
from limpet.control.pictures.page import Picture
from limpet.control.pictures.taking import Pictures
from limpet.control.sandboxes.daemons import NotRunningError
from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.keeping import checked_name
from limpet.control.sandboxes.saving import NothingToSaveError
from limpet.control.sandboxes.service import SandboxService
from limpet.control.threads.command_output import CommandOutput
from limpet.control.threads.console import PreviewConsoles
from limpet.control.threads.npm_programs import NpmPrograms, program_in
from limpet.control.threads.preview_look import look_at
from limpet.control.threads.programs import PipedProgram, program, words_of
from limpet.control.threads.run_model import RunModel
from limpet.control.vm_events import split_frames
from limpet.errors import (
    DaemonError,
    DaemonUnreachableError,
    InvalidInputError,
    LimpetError,
    NotFoundError,
)
from limpet.harness.base import ModelError
from limpet.harness.tools import (
    Changed,
    Edit,
    Ended,
    Folders,
    ModelGateway,
    NpmProgram,
    PageState,
    Said,
    ToolFailedError,
)
from limpet.ids import Handle, SnapshotId, handle_for
from limpet.runners.daemon_client import DaemonClient
from limpet.runners.daemon_gateway import reverse_stream

FILES_TIMEOUT_S: Final = 60.0
MAX_COMMAND_S: Final = 900.0
GIT_TIMEOUT_MS: Final = 120_000
UNHEARD_POLL_S: Final = 0.5
MAX_DIFF_CHARS: Final = 200_000
TIMED_OUT_CODE: Final = 124
_T = TypeVar("_T")
_TASK = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SNAPSHOT = re.compile(r"[A-Za-z0-9-]{1,64}")
_FORWARDED: Final = (400, 404, 408, 409, 412, 413, 507)
_MISSING: Final = "File not found"
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")


class DaemonTools:
    """A `SandboxTools` of one sandbox. `revive` starts the sandbox again where it is gone.

    Without a `model` there is no gateway; with `pictures` the preview is seen as browsers show it.
    """

    def __init__(
        self,
        sandboxes: SandboxService,
        key: SandboxKey,
        consoles: PreviewConsoles,
        revive: Callable[[], Awaitable[None]],
        model: RunModel | None = None,
        programs: NpmPrograms | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        self._sandboxes = sandboxes
        self._key = key
        self._consoles = consoles
        self._revive = revive
        self._programs = programs
        self._model = model
        self._pictures = pictures
        self.handle: Handle = handle_for(key.org, key.agent, key.branch)

    # -- files ---------------------------------------------------------------------------------

    async def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> str:
        """See `SandboxTools`. `ToolFailedError` for a picture and for what is no text."""
        asked: dict[str, object] = {"path": path, "offset": max(0, offset) + 1}
        if limit is not None:
            asked["limit"] = max(1, limit)
        told = await self._call("POST", "/read", asked)
        if told.get("kind") != "text":
            raise ToolFailedError(f"{path} is no text ({told.get('kind')})")
        return str(told.get("content", ""))

    async def write(self, path: str, content: str) -> Changed:
        """See `SandboxTools`."""
        before = await self._content(path)
        await self._call("POST", "/write", {"path": path, "content": content})
        return Changed(path, await _diff(path, before, content))

    async def edit(self, path: str, edits: Sequence[Edit]) -> Changed:
        """See `SandboxTools`."""
        if not edits:
            raise ToolFailedError("Give at least one edit")
        before = await self._content(path)
        told = await self._call(
            "POST",
            "/edit",
            {
                "path": path,
                "edits": [
                    {"old_string": e.old, "new_string": e.new, "replace_all": e.everywhere}
                    for e in edits
                ],
            },
        )
        after = told.get("content")
        return Changed(path, await _diff(path, before, after if isinstance(after, str) else None))

    async def glob(self, pattern: str, *, path: str = ".") -> Sequence[str]:
        """See `SandboxTools`."""
        told = await self._call("POST", "/glob", {"pattern": pattern, "path": path})
        files = told.get("files")
        return [str(name) for name in files] if isinstance(files, list) else []

    async def grep(
        self, pattern: str, *, path: str = ".", glob: str | None = None, ignore_case: bool = False
    ) -> str:
        """See `SandboxTools`: lines as `path:line:text`."""
        asked = {
            "pattern": pattern,
            "path": path,
            "glob": glob,
            "ignore_case": ignore_case,
            "output_mode": "content",
        }
        told = await self._call(
            "POST", "/grep", {name: value for name, value in asked.items() if value is not None}
        )
        return str(told.get("results", ""))

    async def _content(self, path: str) -> str | None:
        """The file's text as it is; "" where there is none, None where it cannot be shown."""
        try:
            told = await self._call("POST", "/read", {"path": path, "raw": True})
        except ToolFailedError as error:
            return (
                "" if "not found" in str(error).lower() or "no such" in str(error).lower() else None
            )
        content = told.get("content")
        return content if isinstance(content, str) and len(content) <= MAX_DIFF_CHARS else None

    # -- commands ------------------------------------------------------------------------------

    async def bash(self, command: str, *, timeout_s: float = 120.0) -> AsyncIterator[Said | Ended]:
        """See `SandboxTools`. Who stops listening ends the command."""
        allowed_s = min(max(timeout_s, 1.0), MAX_COMMAND_S)
        starting = asyncio.ensure_future(self._start_command(command, allowed_s))
        try:
            client, task = await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.shield(self._kill_once_started(starting))
            raise
        output, ended = CommandOutput(), False
        try:
            async with client.request("GET", f"/_sandbox/tasks/{task}/stream") as answer:
                if answer.status != 200:
                    raise ToolFailedError("The command's output is not to be had")
                async for frame in split_frames(answer.body):
                    event, data = _parsed(frame)
                    if event in ("stdout", "stderr"):
                        shown = output.add(str(data.get("data", "")))
                        if shown:
                            yield Said(shown)
                    elif event == "end":
                        ended = True
                        yield await self._ended(task, data, output)
                        return
            # Cut off, as one that takes too little of a flood is: the command itself goes on.
            unheard = await self._ended_unheard(task)
            ended = True
            yield unheard
        except DaemonUnreachableError as error:
            ended = True
            raise ToolFailedError(
                "The sandbox went away while the command ran. It is started again by the next "
                f"tool. So far:\n{output.text}"
            ) from error
        finally:
            if not ended:
                await asyncio.shield(self._kill(client, task))

    async def _ended(self, task: str, data: Mapping[str, Any], output: CommandOutput) -> Ended:
        timed_out = bool(data.get("timedOut"))
        code = data.get("exitCode")
        if data.get("status") == "failed":  # it could not even be started; stderr says why
            output.add(str((await self._call("GET", f"/tasks/{task}")).get("stderr", "")))
        return Ended(
            code=TIMED_OUT_CODE if timed_out else code if isinstance(code, int) else -1,
            output=output.text,
            timed_out=timed_out,
            truncated=output.truncated,
        )

    async def _ended_unheard(self, task: str) -> Ended:
        """Wait for the end of a command without its stream; the output is what was kept of it."""
        while True:
            told = await self._call("GET", f"/tasks/{task}")
            if told.get("status") != "running":
                break
            await asyncio.sleep(UNHEARD_POLL_S)
        output = CommandOutput()
        output.add(f"{told.get('stdout', '')}{told.get('stderr', '')}")
        ended = await self._ended(task, {**told, "status": "ended"}, output)
        return replace(ended, truncated=True)

    async def _start_command(self, command: str, allowed_s: float) -> tuple[DaemonClient, str]:
        told = await self._call(
            "POST",
            "/bash",
            {"command": command, "mode": "background", "timeout": round(allowed_s * 1000)},
        )
        task = _checked_task(str(told.get("taskId", "")))
        client, _ = await self._client()
        return client, task

    async def _kill_once_started(self, starting: asyncio.Future[tuple[DaemonClient, str]]) -> None:
        """It may run already, although the daemon's answer is still on its way."""
        try:
            client, task = await starting
        except (LimpetError, ToolFailedError):
            return  # it was never begun
        await self._kill(client, task)

    async def _kill(self, client: DaemonClient, task: str) -> None:
        try:
            await client.call("POST", f"/_sandbox/tasks/{task}/kill", json={"signal": "SIGKILL"})
        except LimpetError:
            return  # it ended by itself, or with its sandbox

    async def start_task(self, command: str) -> str:
        """See `SandboxTools`: a terminal of its own, which nobody needs to look at."""
        told = await self._call("POST", "/pty", {"command": command, "cols": 200})
        return _checked_task(str(told.get("id", "")))

    async def task_log(self, task: str) -> str:
        """See `SandboxTools`: how it stands, and what it printed last."""
        told = await self._call("GET", f"/tasks/{_checked_task(task)}")
        printed = CommandOutput()
        printed.add(_ANSI.sub("", f"{told.get('stdout', '')}{told.get('stderr', '')}"))
        code = told.get("exitCode")
        state = str(told.get("status")) + (f", code {code}" if code is not None else "")
        return f"[{state}]\n{printed.text}"

    async def stop_task(self, task: str) -> None:
        """See `SandboxTools`."""
        await self._call("POST", f"/tasks/{_checked_task(task)}/kill", {})

    async def git(self, args: Sequence[str]) -> str:
        """See `SandboxTools`. `ToolFailedError` with git's words where it fails."""
        told = await self._call(
            "POST",
            "/bash",
            {
                "command": shlex.join(["git", "--no-pager", *args]),
                "timeout": GIT_TIMEOUT_MS,
                "env": {"GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true", "GIT_PAGER": "cat"},
            },
            timeout_s=GIT_TIMEOUT_MS / 1000 + 10,
        )
        output = CommandOutput()
        output.add(f"{told.get('stdout', '')}{told.get('stderr', '')}")
        if told.get("exitCode") != 0:
            raise ToolFailedError(output.text or f"git ended with {told.get('exitCode')}")
        return output.text

    # -- what people see -----------------------------------------------------------------------

    async def preview(self, *, path: str = "/", screenshot: bool = False) -> PageState:
        """See `SandboxTools`. Console errors are those that a browser tab has told of, and those of
        a load by this server's own browser, where it has one.
        """
        client, _ = await self._client()
        return await look_at(
            client,
            path,
            shown_at=self._sandboxes.looking.preview_url(self.handle) or "",
            errors=self._consoles.errors(self.handle),
            screenshot=screenshot,
            picture=self._picture if self._pictures and self._pictures.possible else None,
        )

    async def _picture(self, path: str) -> Picture:
        assert self._pictures is not None
        parts = self._sandboxes.parts
        agent = await parts.rows.agent(self._key.org, self._key.agent)
        policy = policy_for_pages(agent, parts.settings.egress)
        return await self._pictures.take(self.handle, path, policy)

    async def save(self, name: str) -> str:
        """See `SandboxTools`."""
        try:
            saved = await self._sandboxes.save(
                self._key.org, self._key.agent, self._key.branch, name=checked_name(name)
            )
        except (InvalidInputError, NothingToSaveError) as error:
            raise ToolFailedError(words_of(error)) from error
        return saved.id

    async def roll_back(self, snapshot: str) -> str:
        """See `SandboxTools`."""
        if not _SNAPSHOT.fullmatch(snapshot):
            raise ToolFailedError(f"{snapshot[:80]!r} is no snapshot's id")
        try:
            restored = await self._sandboxes.restore(
                self._key.org, self._key.agent, self._key.branch, SnapshotId(snapshot)
            )
        except NotFoundError as error:
            raise ToolFailedError(words_of(error)) from error
        saved = restored.saved_first
        before = f" What was there before is snapshot {saved.id}." if saved else ""
        return f"The workspace is as it was in snapshot {snapshot}.{before}"

    # -- what runs inside on a harness' behalf -------------------------------------------------

    async def folders(self) -> Folders:
        """See `SandboxTools`."""
        told = await self._call("GET", "/folders")
        return Folders(repo=str(told.get("repo", "")), home=str(told.get("home", "")))

    async def program(self, wanted: NpmProgram, tell: Callable[[str], Awaitable[None]]) -> str:
        """See `SandboxTools`."""
        if self._programs is None:
            raise ToolFailedError(f"No programs are installed here; {wanted.title} is one.")
        return await program_in(self, self._sandboxes.parts.runner, self._programs, wanted, tell)

    @asynccontextmanager
    async def process(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> AsyncGenerator[PipedProgram]:
        """See `SandboxTools`."""
        async with AsyncExitStack() as stack:
            yield await self._asked(
                lambda client: stack.enter_async_context(program(client, argv, env))
            )

    @asynccontextmanager
    async def gateway(self) -> AsyncGenerator[ModelGateway]:
        """See `SandboxTools`."""
        if self._model is None:
            raise ModelError("No model was chosen. Choose one and send the message again.")
        async with self._model.gateway() as gateway, AsyncExitStack() as stack:
            port = await self._asked(
                lambda client: stack.enter_async_context(reverse_stream(client, gateway.answer))
            )
            gateway.url = f"http://127.0.0.1:{port}"
            yield gateway

    # -- the daemon ----------------------------------------------------------------------------

    async def _client(self) -> tuple[DaemonClient, bool]:
        """The daemon's client, and whether the sandbox had to be brought home for it."""
        try:
            return (await self._sandboxes.reach(self._key.org, self.handle)).client, False
        except (NotRunningError, NotFoundError):
            await self._revive()
            return (await self._sandboxes.reach(self._key.org, self.handle)).client, True

    async def _call(
        self,
        method: str,
        route: str,
        body: Mapping[str, object] | None = None,
        *,
        timeout_s: float = FILES_TIMEOUT_S,
    ) -> dict[str, object]:
        try:
            return await self._asked(
                lambda client: client.call(
                    method, f"/_sandbox{route}", json=body, timeout_s=timeout_s
                )
            )
        except DaemonError as error:
            if error.daemon_status not in _FORWARDED:
                raise
            raise ToolFailedError(words_of(error)) from error

    async def _asked(self, ask: Callable[[DaemonClient], Awaitable[_T]]) -> _T:
        """What the daemon answers, asked once more where the sandbox had to be brought home."""
        for attempt in range(2):
            client, revived = await self._client()
            try:
                return await ask(client)
            except DaemonUnreachableError:
                if revived or attempt or await self._sandboxes.parts.runner.alive(self.handle):
                    raise
        raise AssertionError("the second attempt returns or raises")


def _checked_task(task: str) -> str:
    if not _TASK.fullmatch(task):
        raise ToolFailedError(f"{task[:80]!r} is no task's id")
    return task


def _parsed(frame: bytes) -> tuple[str, Mapping[str, Any]]:
    event, data = "", ""
    for line in frame.decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "event":
            event = value.strip()
        elif name == "data":
            data += value.removeprefix(" ")
    if not data:
        return event, {}
    try:
        told = json.loads(data)
    except ValueError:
        return event, {}
    return event, told if isinstance(told, dict) else {}


async def _diff(path: str, before: str | None, after: str | None) -> str:
    if before is None or after is None or len(after) > MAX_DIFF_CHARS:
        return ""
    lines = await asyncio.to_thread(
        lambda: list(
            difflib.unified_diff(
                before.splitlines(keepends=True),
                after.splitlines(keepends=True),
                f"a/{path}" if before else "/dev/null",
                f"b/{path}",
            )
        )
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
