"""What a harness may do with the sandbox of its run. The control plane gives it one, bound to it.

Paths are relative to the repository's folder. A failure that the model can do something about is a
`ToolFailedError` whose words are meant for it; whatever else is raised ends the run.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Final, Protocol


class ToolFailedError(Exception):
    """The tool did not do it, and says why in words that a model can act on."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One exact replacement in a file: of the one occurrence, or `everywhere`."""

    old: str
    new: str
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """A file was written. `diff` is unified, and empty where it cannot be shown."""

    path: str
    diff: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of a running command's output."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A command has ended. `code` as a shell tells it; `truncated`: its middle is left out."""

    code: int
    output: str
    timed_out: bool = False
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class PageState:
    """What the preview shows right now."""

    url: str
    title: str
    status: int
    console_errors: Sequence[str] = ()
    text: str = ""
    """The page's visible text, cut."""
    screenshot_png: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Folders:
    """Where things lie, as absolute paths that the sandbox's own processes see."""

    repo: str
    home: str


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """A package of npm's registry; `integrity` is what npm finds of it there."""

    name: str
    integrity: str


@dataclass(frozen=True, slots=True)
class NpmProgram:
    """A program that a harness drives, out of a package that needs no others.

    `packages` by platform (`linux-x64`, `linux-arm64-musl`, `darwin-arm64`, ...), all of one
    `version`; `file` is the program in each. `name` for folders, `title` for people.
    """

    name: str
    title: str
    version: str
    file: str
    packages: Mapping[str, NpmPackage]


class PipedProcess(Protocol):
    """A process in the sandbox whose standard input and output are ours, byte for byte."""

    async def send(self, data: bytes) -> None:
        """Put bytes into its standard input; waits while it takes none in.

        Raises `ToolFailedError` when it has ended or the sandbox is gone.
        """
        ...

    async def end_input(self) -> None:
        """Close its standard input."""
        ...

    def output(self) -> AsyncIterator[bytes]:
        """Pieces of its standard output, until it ends; cut anywhere. Followed once.

        Raises `ToolFailedError` when the sandbox is gone.
        """
        ...

    def errors(self) -> str:
        """The last of what it wrote to standard error, at most some 16 KiB."""
        ...

    async def wait(self) -> int:
        """Wait until it has ended; its code, as a shell tells it.

        Raises `ToolFailedError` when the sandbox is gone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run's gateway has let through so far."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cost_usd: float | None = None


NOTHING_SPENT: Final = Spent()


class ModelGateway(Protocol):
    """The run's model, reached from inside its sandbox with a token that is worth nothing else.

    It speaks the provider's own protocol at `url`, for the model that was chosen; a request
    for another model is answered by the chosen one.
    """

    @property
    def url(self) -> str:
        """Base address without a trailing slash, such as `http://127.0.0.1:40123`."""
        ...

    @property
    def token(self) -> str:
        """What the provider's key is elsewhere: `x-api-key`, or a bearer token."""
        ...

    def spent(self) -> Spent: ...

    def refused(self) -> str | None:
        """Why the gateway lets nothing more through (a cap of the run), for people; or None."""
        ...


class SandboxTools(Protocol):
    """The sandbox of one run: the one whose preview the user looks at."""

    async def read(self, path: str, *, offset: int = 0, limit: int | None = None) -> str:
        """Lines of a text file from `offset` (0-based) on, each after its number and a tab."""
        ...

    async def write(self, path: str, content: str) -> Changed: ...

    async def edit(self, path: str, edits: Sequence[Edit]) -> Changed:
        """All of the edits, or none."""
        ...

    async def glob(self, pattern: str, *, path: str = ".") -> Sequence[str]: ...

    async def grep(
        self, pattern: str, *, path: str = ".", glob: str | None = None, ignore_case: bool = False
    ) -> str: ...

    def bash(self, command: str, *, timeout_s: float = 120.0) -> AsyncIterator[Said | Ended]:
        """Run it in a shell, in the repository's folder; the last thing given is `Ended`."""
        ...

    async def start_task(self, command: str) -> str:
        """Start what runs on; its task's id."""
        ...

    async def task_log(self, task: str) -> str: ...

    async def stop_task(self, task: str) -> None: ...

    async def git(self, args: Sequence[str]) -> str:
        """What `git ARGS` prints: status, diff, log, commit."""
        ...

    async def preview(self, *, path: str = "/", screenshot: bool = False) -> PageState: ...

    async def save(self, name: str) -> str:
        """A named snapshot; its id."""
        ...

    async def roll_back(self, snapshot: str) -> str:
        """The workspace as it was in that snapshot, the present saved first; words about it."""
        ...

    # -- what runs inside on a harness' behalf ---------------------------------------------------

    async def folders(self) -> Folders: ...

    async def program(self, wanted: NpmProgram, tell: Callable[[str], Awaitable[None]]) -> str:
        """Where the sandbox's processes find the program, which is installed where it is not there.

        `tell` gets a line for people when that begins. Raises `LimpetError` where it cannot be
        had: no npm, no network, a registry that refuses.
        """
        ...

    def process(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> AbstractAsyncContextManager[PipedProcess]:
        """A process in the repository's folder, ended with all that it started on leaving.

        It ends as well when the control plane dies. Raises `ToolFailedError` on entering where the
        program is not there.
        """
        ...

    def gateway(self) -> AbstractAsyncContextManager[ModelGateway]:
        """The run's model for processes in the sandbox, as long as it is entered.

        Raises `ModelError` on entering where the provider's protocol cannot be handed through.
        """
        ...
