"""A sandbox's tools over a real folder: real files, bash and git, without isolation."""

import asyncio
import contextlib
import difflib
import os
import re
import signal
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

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
    Spent,
    ToolFailedError,
)
from tests.harness.programs import installed
from tests.models.server import ScriptedModels

MOST_BYTES = 1_000_000


@dataclass
class FolderProcess:
    """A `PipedProcess` of this machine."""

    process: asyncio.subprocess.Process
    said: bytearray = field(default_factory=bytearray)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data)
            await self.process.stdin.drain()
        except OSError as error:
            raise ToolFailedError("The process has ended.") from error

    async def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def output(self) -> AsyncIterator[bytes]:
        assert self.process.stdout is not None
        while piece := await self.process.stdout.read(65536):
            yield piece

    async def listen(self) -> None:
        assert self.process.stderr is not None
        while piece := await self.process.stderr.read(65536):
            self.said = (self.said + piece)[-16384:]
        self.heard.set()

    def errors(self) -> str:
        return self.said.decode(errors="replace")

    async def wait(self) -> int:
        code = await self.process.wait()
        with contextlib.suppress(TimeoutError):  # a child may hold it open
            await asyncio.wait_for(self.heard.wait(), 1.0)
        return code


@dataclass
class StraightGateway:
    """A `ModelGateway` that lets everything through: a scripted server's own address and key.

    With `counts` it tells that server's requests; it says that it refuses what comes after
    `refuse_after` of them.
    """

    url: str
    token: str
    counts: ScriptedModels | None = None
    refuse_after: int | None = None
    refusal: str | None = None
    """What it says from the first request on."""

    def spent(self) -> Spent:
        return Spent() if self.counts is None else Spent(requests=len(self.counts.asked))

    def refused(self) -> str | None:
        most = self.refuse_after
        if most is None or self.counts is None or len(self.counts.asked) <= most:
            return self.refusal
        return f"The run asked the model as often as it may: {most} times."


@dataclass
class FolderTools:
    """`page` is what the preview shows. `shells` are the pids of every command begun."""

    folder: Path
    page: PageState = field(default_factory=lambda: PageState("http://app/", "App", 200))
    shells: list[int] = field(default_factory=list)
    tasks: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    snapshots: dict[str, dict[str, bytes]] = field(default_factory=dict)
    models: ModelGateway | None = None
    ends_all_at_roll_back: bool = False
    """Whether a roll-back ends every process of the sandbox, as a real one does."""
    cli: str | None = None
    """What is run in place of a harness' program."""
    environ: dict[str, str] = field(default_factory=dict)
    """What of the sandbox's own variables its programs have."""

    def _at(self, path: str) -> Path:
        at = (self.folder / path).resolve()
        if not at.is_relative_to(self.folder.resolve()):
            raise ToolFailedError(f"{path} lies outside the project.")
        return at

    async def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> str:
        at = self._at(path)
        if not at.is_file():
            raise ToolFailedError(f"{path} is no file.")
        last = offset + (limit or 2000)
        lines: list[str] = []
        room = MOST_BYTES
        with at.open(errors="replace") as file:
            for number, line in enumerate(iter(lambda: file.readline(MOST_BYTES), "")):
                if number >= last or room <= 0:
                    break
                room -= len(line)
                if number >= offset:
                    lines.append(f"{number + 1:6}\t{line}")
        return "".join(lines)

    def _put(self, at: Path, path: str, old: str, new: str) -> Changed:
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(new)
        names = (f"a/{path}", f"b/{path}")
        lines = (old.splitlines(keepends=True), new.splitlines(keepends=True))
        return Changed(path, "".join(difflib.unified_diff(*lines, *names)))

    async def write(self, path: str, content: str) -> Changed:
        at = self._at(path)
        return self._put(at, path, at.read_text() if at.exists() else "", content)

    async def edit(self, path: str, edits: Sequence[Edit]) -> Changed:
        at = self._at(path)
        if not at.is_file():
            raise ToolFailedError(f"{path} is no file.")
        before = text = at.read_text()
        for edit in edits:
            times = text.count(edit.old)
            if times == 0 or (times > 1 and not edit.everywhere):
                raise ToolFailedError(f"{edit.old!r} is {times} times in {path}; nothing was done.")
            text = text.replace(edit.old, edit.new)
        return self._put(at, path, before, text)

    async def glob(self, pattern: str, *, path: str = ".") -> Sequence[str]:
        found = self._at(path).glob(pattern)
        return sorted(str(at.relative_to(self.folder.resolve())) for at in found if at.is_file())

    async def grep(
        self, pattern: str, *, path: str = ".", glob: str | None = None, ignore_case: bool = False
    ) -> str:
        try:
            sought = re.compile(pattern, re.IGNORECASE if ignore_case else 0)
        except re.error as error:
            raise ToolFailedError(f"The pattern is wrong: {error}") from error
        hits = [
            f"{name}:{number}:{line}"
            for name in await self.glob(f"**/{glob or '*'}", path=path)
            for number, line in enumerate((self.folder / name).read_text().splitlines(), 1)
            if sought.search(line)
        ]
        return "\n".join(hits)

    async def bash(self, command: str, *, timeout_s: float = 120.0) -> AsyncGenerator[Said | Ended]:
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            command,
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self.shells.append(process.pid)
        assert process.stdout is not None
        said = ""
        timed_out = False
        try:
            async with asyncio.timeout(timeout_s):
                while piece := await process.stdout.read(65536):
                    text = piece.decode(errors="replace")
                    said = (said + text)[-MOST_BYTES:]
                    yield Said(text)
                await process.wait()
        except TimeoutError:
            timed_out = True
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        assert process.returncode is not None
        yield Ended(process.returncode, said, timed_out=timed_out)

    async def start_task(self, command: str) -> str:
        name = f"task-{len(self.tasks) + 1}"
        with (self.folder / f"{name}.log").open("wb") as log:
            self.tasks[name] = await asyncio.create_subprocess_exec(
                "bash",
                "-c",
                command,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return name

    async def task_log(self, task: str) -> str:
        if task not in self.tasks:
            raise ToolFailedError(f"There is no task {task}.")
        return (self.folder / f"{task}.log").read_text()

    async def stop_task(self, task: str) -> None:
        if task not in self.tasks:
            raise ToolFailedError(f"There is no task {task}.")
        process = self.tasks.pop(task)
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    async def git(self, args: Sequence[str]) -> str:
        process = await asyncio.create_subprocess_exec(
            "git",
            *args,
            cwd=self.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        if process.returncode:
            raise ToolFailedError(said.decode(errors="replace"))
        return said.decode(errors="replace")

    async def preview(self, *, path: str = "/", screenshot: bool = False) -> PageState:
        page = self.page
        png = page.screenshot_png if screenshot else None
        return PageState(page.url, page.title, page.status, page.console_errors, page.text, png)

    async def save(self, name: str) -> str:
        names = await self.glob("**/*")
        self.snapshots[name] = {at: (self.folder / at).read_bytes() for at in names}
        return name

    async def roll_back(self, snapshot: str) -> str:
        if snapshot not in self.snapshots:
            raise ToolFailedError(f"There is no snapshot {snapshot}.")
        for name in await self.glob("**/*"):
            (self.folder / name).unlink()
        for name, content in self.snapshots[snapshot].items():
            (self.folder / name).write_bytes(content)
        if self.ends_all_at_roll_back:
            for group in self.shells:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
        return f"The workspace is as it was in {snapshot}."

    async def folders(self) -> Folders:
        return Folders(repo=str(self.folder), home=str(self.folder.parent / "home"))

    async def program(self, wanted: NpmProgram, tell: Callable[[str], Awaitable[None]]) -> str:
        return self.cli or await installed(wanted, tell)

    @asynccontextmanager
    async def process(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> AsyncIterator[FolderProcess]:
        home = (await self.folders()).home
        Path(home).mkdir(exist_ok=True)
        scratch = self.folder.parent / "tmp"
        scratch.mkdir(exist_ok=True)
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=self.folder,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": home,
                    "TMPDIR": str(scratch),
                    **self.environ,
                    **(env or {}),
                },
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolFailedError(f"{argv[0]}: {error.strerror}") from error
        self.shells.append(process.pid)
        piped = FolderProcess(process)
        listening = asyncio.create_task(piped.listen())
        try:
            yield piped
        finally:
            # The group outlives its leader as long as any of it runs.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            assert process.stdout is not None
            while await process.stdout.read(65536):
                pass  # asyncio's wait ends with the pipes, and a full one does not
            await process.wait()
            await listening

    @asynccontextmanager
    async def gateway(self) -> AsyncIterator[ModelGateway]:
        if self.models is None:
            raise ModelError("This provider's protocol cannot be handed through.")
        yield self.models


async def all_gone(tools: FolderTools) -> None:
    """Wait until nothing runs any more that was begun; what was killed may take a moment."""
    while any(lives(group) for group in tools.shells):
        await asyncio.sleep(0.01)


def lives(group: int) -> bool:
    """Whether any process of the group runs."""
    return any(
        fields[4] == str(group) and fields[2] != "Z"
        for stat in Path("/proc").glob("[0-9]*/stat")
        if (fields := _fields(stat))
    )


def _fields(stat: Path) -> list[str]:
    try:
        text = stat.read_text()
    except OSError:
        return []
    before, _, after = text.rpartition(")")
    return [before.split()[0], "", *after.split()]
