"""What an agent may read and write by asking us: text files of the repository, by absolute path."""

import posixpath
from typing import Final

from limpet.harness.tools import SandboxTools, ToolFailedError

MAX_FILE_BYTES: Final = 8 * 1024 * 1024
_MISSING: Final = 44
_READ: Final = f'test -e "$1" || exit {_MISSING}; exec cat "$1"'


class NoFileError(ToolFailedError):
    """There is nothing at that path; agents go on by making it."""


class Files:
    """The files of the repository at `repo`, an absolute path as the sandbox sees it."""

    def __init__(self, tools: SandboxTools, repo: str) -> None:
        self._tools, self._repo = tools, repo

    def relative(self, path: str) -> str:
        """The path as the tools take it; `ToolFailedError` where it is not below the repository."""
        clean = posixpath.normpath(path)
        if not posixpath.isabs(path) or not clean.startswith(f"{self._repo}/"):
            raise ToolFailedError(f"{path[:200]} is no absolute path below {self._repo}")
        return clean.removeprefix(f"{self._repo}/")

    async def read(self, path: str, line: int | None, limit: int | None) -> str:
        """The text as it is, or `limit` of its lines from `line` (1-based) on.

        The tools' `read` numbers lines and gives the first ones only, while an agent writes back a
        whole file out of what it read: every byte counts.
        """
        data = bytearray()
        argv = ["sh", "-c", _READ, "sh", f"./{self.relative(path)}"]
        async with self._tools.process(argv) as process:
            await process.end_input()
            async for piece in process.output():
                data += piece
                if len(data) > MAX_FILE_BYTES:
                    raise ToolFailedError(f"{path} has more than {MAX_FILE_BYTES >> 20} MiB")
            code = await process.wait()
            if code == _MISSING:
                raise NoFileError(f"{path} does not exist")
            if code != 0:
                raise ToolFailedError(process.errors().strip() or f"{path} cannot be read")
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise ToolFailedError(f"{path} is no text in UTF-8") from None
        if line is None and limit is None:
            return text
        begin = max(0, (line or 1) - 1)
        end = None if limit is None else begin + limit
        return "".join(text.splitlines(keepends=True)[begin:end])

    async def write(self, path: str, content: str) -> None:
        """Put the text there, in the place of whatever was."""
        await self._tools.write(self.relative(path), content)
