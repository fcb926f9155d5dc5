"""The sandbox's tools as a model sees them: names, what they take, and how each is done.

What a model gives is checked before anything is done with it. What goes wrong in a way that the
model can mend is a `ToolFailedError` in words for it.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from limpet.harness.bounds import MAX_SHOWN_CHARS, cut
from limpet.harness.tools import Changed, Edit, Ended, Said, SandboxTools, ToolFailedError

Show = Callable[[str], Awaitable[None]]
"""Show people a piece of what a running tool prints."""

MOST_LINES = 2000
MOST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call: `output` for the model and for people, a file's change, a picture."""

    output: str
    ok: bool = True
    diff: str | None = None
    png: bytes | None = field(default=None, repr=False)


class Arguments(BaseModel):
    """What a model gives to a tool."""

    model_config = ConfigDict(extra="forbid")


A = TypeVar("A", bound=Arguments)
Path = Annotated[
    str, Field(min_length=1, max_length=4096, description="Relative to the repository")
]
Shell = Annotated[str, Field(min_length=1, max_length=100_000)]


@dataclass(frozen=True, slots=True)
class Tool(Generic[A]):
    """One tool. `looks`: it changes nothing, so that doing it twice is as good as once."""

    name: str
    says: str
    takes: type[A]
    title: Callable[[A], str]
    do: Callable[[A, SandboxTools, Show], Awaitable[Outcome]]
    looks: bool = False


class ReadArguments(Arguments):
    """A part of a file."""

    path: Path
    offset: Annotated[int, Field(ge=0, description="Lines to skip")] = 0
    limit: Annotated[int, Field(ge=1, le=MOST_LINES, description="Lines to give")] = MOST_LINES


async def _read(given: ReadArguments, tools: SandboxTools, _show: Show) -> Outcome:
    return Outcome(await tools.read(given.path, offset=given.offset, limit=given.limit))


class WriteArguments(Arguments):
    """A whole file."""

    path: Path
    content: str


def _changed(changed: Changed) -> Outcome:
    return Outcome(f"{changed.path} is written.", diff=changed.diff or None)


async def _write(given: WriteArguments, tools: SandboxTools, _show: Show) -> Outcome:
    return _changed(await tools.write(given.path, given.content))


class OneEdit(Arguments):
    """A replacement."""

    old: Annotated[
        str, Field(min_length=1, description="The exact text to replace, once in the file")
    ]
    new: str
    everywhere: Annotated[bool, Field(description="Replace every occurrence")] = False


class EditArguments(Arguments):
    """Replacements in one file, done in this order, all or none."""

    path: Path
    edits: Annotated[list[OneEdit], Field(min_length=1, max_length=200)]


async def _edit(given: EditArguments, tools: SandboxTools, _show: Show) -> Outcome:
    edits = [Edit(edit.old, edit.new, edit.everywhere) for edit in given.edits]
    return _changed(await tools.edit(given.path, edits))


class GlobArguments(Arguments):
    """A pattern of paths."""

    pattern: Annotated[
        str, Field(min_length=1, max_length=4096, description="Such as src/**/*.tsx")
    ]
    path: Path = "."


async def _glob(given: GlobArguments, tools: SandboxTools, _show: Show) -> Outcome:
    found = await tools.glob(given.pattern, path=given.path)
    return Outcome("\n".join(found) or "No file matches.")


class GrepArguments(Arguments):
    """A regular expression, and where to look for it."""

    pattern: Annotated[str, Field(min_length=1, max_length=4096)]
    path: Path = "."
    glob: Annotated[str | None, Field(description="Only in files that match, such as *.ts")] = None
    ignore_case: bool = False


async def _grep(given: GrepArguments, tools: SandboxTools, _show: Show) -> Outcome:
    found = await tools.grep(
        given.pattern, path=given.path, glob=given.glob, ignore_case=given.ignore_case
    )
    return Outcome(found or "Nothing matches.")


class BashArguments(Arguments):
    """A command that ends."""

    command: Shell
    timeout_s: Annotated[float, Field(gt=0, le=MOST_SECONDS, description="Seconds to wait")] = 120.0


async def _bash(given: BashArguments, tools: SandboxTools, show: Show) -> Outcome:
    running = tools.bash(given.command, timeout_s=given.timeout_s)
    room = MAX_SHOWN_CHARS
    try:
        async for said in running:
            if isinstance(said, Said):
                if room > 0 and said.text:
                    await show(said.text[:room])
                    if len(said.text) >= room:
                        await show("\n[It prints on; the rest is not shown.]\n")
                room -= len(said.text)
            else:
                return _ended(said, given.timeout_s)
    finally:
        close = getattr(running, "aclose", None)
        if close is not None:
            await close()
    raise ToolFailedError("The command's end was never told; it may still run.")


def _ended(ended: Ended, timeout_s: float) -> Outcome:
    words = cut(ended.output)
    if ended.truncated:
        words += "\n[The middle of its output is left out.]"
    if ended.timed_out:
        words += f"\n[It was stopped after {timeout_s:g} s. Start what runs on with start_task.]"
    elif ended.code != 0:
        words += f"\n[It ended with exit code {ended.code}.]"
    return Outcome(words.strip() or "[No output.]", ok=ended.code == 0 and not ended.timed_out)


class StartTaskArguments(Arguments):
    """A command that runs on."""

    command: Shell


async def _start_task(given: StartTaskArguments, tools: SandboxTools, _show: Show) -> Outcome:
    task = await tools.start_task(given.command)
    return Outcome(f"It runs as task {task}.")


class TaskArguments(Arguments):
    """A task by its id."""

    task: Annotated[str, Field(min_length=1, max_length=200)]


async def _task_log(given: TaskArguments, tools: SandboxTools, _show: Show) -> Outcome:
    return Outcome(await tools.task_log(given.task) or "[It has printed nothing.]")


async def _stop_task(given: TaskArguments, tools: SandboxTools, _show: Show) -> Outcome:
    await tools.stop_task(given.task)
    return Outcome(f"Task {given.task} is stopped.")


class GitArguments(Arguments):
    """What comes after `git`."""

    args: Annotated[
        list[str], Field(min_length=1, max_length=200, description='Such as ["status", "--short"]')
    ]


async def _git(given: GitArguments, tools: SandboxTools, _show: Show) -> Outcome:
    return Outcome(await tools.git(given.args) or "[git printed nothing.]")


class PreviewArguments(Arguments):
    """A page of the app."""

    path: Annotated[str, Field(pattern="^/", max_length=4096, description="Such as /pricing")] = "/"
    screenshot: Annotated[bool, Field(description="Also give a picture of the page")] = False


async def _preview(given: PreviewArguments, tools: SandboxTools, _show: Show) -> Outcome:
    page = await tools.preview(path=given.path, screenshot=given.screenshot)
    errors = "\n".join(f"- {error}" for error in page.console_errors)
    words = "\n".join(
        [
            f"Status {page.status}, title: {page.title}",
            f"Errors in the console:\n{errors}" if errors else "No errors in the console.",
            f"Visible text:\n{page.text}" if page.text else "No visible text.",
        ]
    )
    return Outcome(words, ok=page.status < 400, png=page.screenshot_png)


class SaveArguments(Arguments):
    """A name for the workspace as it is."""

    name: Annotated[str, Field(min_length=1, max_length=200)]


async def _save(given: SaveArguments, tools: SandboxTools, _show: Show) -> Outcome:
    return Outcome(f"Saved as snapshot {await tools.save(given.name)}.")


class RollBackArguments(Arguments):
    """A snapshot by its id."""

    snapshot: Annotated[str, Field(min_length=1, max_length=200)]


async def _roll_back(given: RollBackArguments, tools: SandboxTools, _show: Show) -> Outcome:
    return Outcome(await tools.roll_back(given.snapshot))


def _first_line(command: str) -> str:
    line, _, rest = command.strip().partition("\n")
    return f"{line[:120]} ..." if rest or len(line) > 120 else line


TOOLS: Sequence[Tool[Any]] = (
    Tool(
        "read",
        "Read a text file of the project; each line has its number before it.",
        ReadArguments,
        lambda given: f"Read {given.path}",
        _read,
        looks=True,
    ),
    Tool(
        "write",
        "Write a whole file, new or in place of what is there. For a change of a file use edit.",
        WriteArguments,
        lambda given: f"Write {given.path}",
        _write,
    ),
    Tool(
        "edit",
        "Replace exact pieces of a file, several at once: all are done or none. "
        "Give old without line numbers, with its white space, long enough to be there only once.",
        EditArguments,
        lambda given: f"Edit {given.path}",
        _edit,
    ),
    Tool(
        "glob",
        "List files whose paths match a pattern.",
        GlobArguments,
        lambda given: f"Find {given.pattern}",
        _glob,
        looks=True,
    ),
    Tool(
        "grep",
        "Search the project's files for a regular expression.",
        GrepArguments,
        lambda given: f"Search for {_first_line(given.pattern)}",
        _grep,
        looks=True,
    ),
    Tool(
        "bash",
        "Run a command that ends, in the project's folder. What runs on belongs in start_task.",
        BashArguments,
        lambda given: _first_line(given.command),
        _bash,
    ),
    Tool(
        "start_task",
        "Start a command that runs on; read what it prints with task_log.",
        StartTaskArguments,
        lambda given: f"Start {_first_line(given.command)}",
        _start_task,
    ),
    Tool(
        "task_log",
        "What a task has printed, its last part.",
        TaskArguments,
        lambda given: f"Log of {given.task}",
        _task_log,
        looks=True,
    ),
    Tool(
        "stop_task",
        "Stop a task.",
        TaskArguments,
        lambda given: f"Stop {given.task}",
        _stop_task,
    ),
    Tool(
        "git",
        "Run git in the repository: status, diff, log, add, commit.",
        GitArguments,
        lambda given: f"git {_first_line(' '.join(given.args))}",
        _git,
    ),
    Tool(
        "preview",
        "Look at the running app as the user sees it: errors in the console, visible text, "
        "a screenshot if asked for.",
        PreviewArguments,
        lambda given: f"Look at {given.path}",
        _preview,
        looks=True,
    ),
    Tool(
        "save",
        "Keep the workspace as it is under a name; gives the snapshot's id.",
        SaveArguments,
        lambda given: f"Save as {given.name}",
        _save,
    ),
    Tool(
        "roll_back",
        "Bring the workspace back to a snapshot; the present is saved first.",
        RollBackArguments,
        lambda given: f"Roll back to {given.snapshot}",
        _roll_back,
    ),
)
BY_NAME: dict[str, Tool[Any]] = {tool.name: tool for tool in TOOLS}
