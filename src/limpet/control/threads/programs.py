"""A harness' program in the sandbox: the daemon's pipe, with errors in words for who drives it."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager

from limpet.errors import DaemonUnreachableError, LimpetError
from limpet.harness.tools import ToolFailedError
from limpet.runners.daemon_client import DaemonClient
from limpet.runners.daemon_pipe import DaemonPipe, piped


class PipedProgram:
    """A `PipedProcess` of the sandbox; everything raises `ToolFailedError` once that is gone."""

    def __init__(self, pipe: DaemonPipe) -> None:
        self._pipe = pipe

    async def send(self, data: bytes) -> None:
        """See `PipedProcess`."""
        with _as_tool_failure():
            await self._pipe.send(data)

    async def end_input(self) -> None:
        """See `PipedProcess`."""
        with _as_tool_failure():
            await self._pipe.end_input()

    async def output(self) -> AsyncIterator[bytes]:
        """See `PipedProcess`."""
        with _as_tool_failure():
            async with aclosing(self._pipe.output()) as pieces:
                async for piece in pieces:
                    yield piece

    def errors(self) -> str:
        """See `PipedProcess`; ends with why, where the sandbox ended it."""
        return self._pipe.errors()

    async def wait(self) -> int:
        """See `PipedProcess`."""
        with _as_tool_failure():
            return await self._pipe.wait()


@asynccontextmanager
async def program(
    client: DaemonClient, argv: Sequence[str], env: Mapping[str, str] | None
) -> AsyncGenerator[PipedProgram]:
    """A program in the sandbox of `client`, killed on leaving.

    Raises `ToolFailedError` where it cannot be started, `DaemonUnreachableError` when nobody
    answers.
    """
    async with AsyncExitStack() as stack:
        try:
            pipe = await stack.enter_async_context(piped(client, argv, env or {}))
        except DaemonUnreachableError:
            raise
        except LimpetError as error:
            raise ToolFailedError(words_of(error)) from error
        yield PipedProgram(pipe)


def words_of(error: LimpetError) -> str:
    """What happened and what to do, in one line."""
    return f"{error.message} {error.hint}".strip()


@contextmanager
def _as_tool_failure() -> Iterator[None]:
    try:
        yield
    except LimpetError as error:
        raise ToolFailedError(words_of(error)) from error
