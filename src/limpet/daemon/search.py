"""`/grep`: with ripgrep where it is installed, else the same answers from Python.

Both look into what git does not ignore and into no hidden files; with a `glob`, into everything
that matches it; in a folder that was named and is ignored itself, into all that is not hidden.
Neither looks into `.git`, or into `node_modules` unless the path lies in it, nor at files that hold
a NUL byte, and neither follows links. Memory stays flat however large a file is.
"""

import asyncio
import base64
import os
import re
import stat
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import IO, Final, Literal

import msgspec
from starlette.requests import Request

from limpet.daemon import names
from limpet.daemon.capabilities import has
from limpet.daemon.children import child_environment
from limpet.daemon.context import DaemonContext
from limpet.daemon.files import workspace_of
from limpet.daemon.gate import gate
from limpet.daemon.paths import told
from limpet.daemon.patterns import compile_pattern, walk_files
from limpet.daemon.routes import Route
from limpet.errors import InvalidInputError

TIMEOUT_S = 30.0
MAX_LIMIT = 100_000
MAX_LINE_CHARACTERS = 2000
MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_RECORD_BYTES = 64 * 1024 * 1024
BLOCK_BYTES = 64 * 1024
_PLAIN: Final = re.compile(r"\*\.[A-Za-z0-9]+")
"""Globs that ripgrep may narrow the search by: it takes them for no less than we do."""

Mode = Literal["files", "count", "content"]
Line = tuple[str, int, str, bool]
"""Path, number, text, and whether it matches itself."""


class GrepInput(msgspec.Struct):
    """`context` is lines around a match, `limit` the most lines (or files) that come back."""

    pattern: str
    path: str | None = None
    output_mode: Mode = "files"
    ignore_case: bool = False
    context: int = 0
    glob: str | None = None
    limit: int = 250


class GrepResult(msgspec.Struct, rename="camel"):
    """`results` is lines of text; `match_count` counts the files, or the lines that match."""

    results: str
    match_count: int


async def grep(ctx: DaemonContext, given: GrepInput, _: Request) -> GrepResult:
    """Search files' contents."""
    if not given.pattern or "\0" in given.pattern:
        raise InvalidInputError("pattern is empty or holds a NUL byte")
    if given.limit < 1 or given.context < 0:
        raise InvalidInputError("limit begins at 1, context at 0")
    workspace = workspace_of(ctx)
    target = ctx.settings.app_root / workspace.relative(given.path) if given.path else ctx.repo
    await asyncio.to_thread(_check_target, target, given.path)
    search = _Search(ctx, given, target)
    return await asyncio.to_thread(search.by_ripgrep if has("ripgrep") else search.by_python)


def _check_target(target: Path, given: str | None) -> None:
    with told(given or ""):
        try:
            mode = target.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise InvalidInputError(f"File not found: {given}") from None
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise InvalidInputError(f"Not a regular file: {given}")


class _Search:
    """One search, done by ripgrep or by ourselves; paths are relative to `_folder` until shown."""

    def __init__(self, ctx: DaemonContext, given: GrepInput, target: Path) -> None:
        self._ctx = ctx
        self._given = given
        self._limit = min(given.limit, MAX_LIMIT)
        self._file = None if target.is_dir() else target.name
        self._folder = target if self._file is None else target.parent
        base = ctx.repo
        inside = self._folder.is_relative_to(base)
        where = str(self._folder.relative_to(base)) if inside else str(self._folder)
        self._prefix = "" if where == "." else f"{where}/"
        self._prune = {"node_modules", ".git"} - set(
            target.relative_to(ctx.settings.app_root).parts
        )
        self._target = target
        glob = given.glob
        self._glob = None if glob is None else compile_pattern(_anywhere(names.meant(glob)))

    def by_ripgrep(self) -> GrepResult:
        """Ask `rg`; stop it when there are enough lines."""
        gate.check()
        given = self._given
        argv = ["rg", "--no-config", "--color=never", "--sort=path", "--max-columns=0"]
        argv += ["--no-messages", "--no-ignore-dot", "--encoding=none", "--crlf", "--no-mmap"]
        argv += ["--ignore-case"] if given.ignore_case else ["--case-sensitive"]
        if not self._ignoring:
            argv += ["--no-ignore"]
        if given.glob is not None:
            argv += ["--hidden"]
            argv += [f"--glob={names.meant(given.glob)}"] if _PLAIN.fullmatch(given.glob) else []
        argv += [f"--glob=!**/{name}/**" for name in sorted(self._prune)]
        if given.output_mode == "content":
            argv += ["--json", f"--context={min(given.context, 1000)}"]
        else:
            argv += ["--null", "-l" if given.output_mode == "files" else "-c", "--with-filename"]
        argv += ["-e", given.pattern, "--", f"./{self._file or ''}"]
        with subprocess.Popen(
            argv,
            cwd=self._folder,
            env=child_environment(self._ctx.settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            from threading import Timer

            timer = Timer(TIMEOUT_S, process.kill)
            timer.start()
            try:
                assert process.stdout is not None
                assert process.stderr is not None
                read = self._content if given.output_mode == "content" else self._lines
                result, enough = read(process.stdout)
                if enough:
                    process.kill()
                complaint = process.stderr.read().decode(errors="replace").strip()
                code = process.wait()
            finally:
                timer.cancel()
        if not enough and code < 0:
            raise InvalidInputError(
                f"the search took longer than {TIMEOUT_S:g} s",
                hint="Narrow it with path or glob.",
            )
        if code > 1 and not enough and not result.results and complaint:
            raise InvalidInputError(complaint[:2000])
        return result

    def _lines(self, out: IO[bytes]) -> tuple[GrepResult, bool]:
        found: list[str] = []
        count = 0
        files = self._given.output_mode == "files"
        for record in _records(out, b"\0" if files else b"\n"):
            path, _, number = os.fsdecode(record).partition("\0")
            path = path.removeprefix("./")
            if not self._wanted(path):
                continue
            found.append(self._shown(path) if files else f"{self._shown(path)}:{int(number)}")
            count += 1 if files else int(number)
            if len(found) >= self._limit:
                return GrepResult("\n".join(found), count), True
        return GrepResult("\n".join(found), count), False

    def _content(self, out: IO[bytes]) -> tuple[GrepResult, bool]:
        collected = _Collected(self._limit, grouped=self._given.context > 0)
        pending: list[Line] = []
        for record in _records(out, b"\n"):
            message = msgspec.json.decode(record)
            kind, data = message["type"], message["data"]
            if kind in {"match", "context"}:
                path = os.fsdecode(_bytes(data["path"])).removeprefix("./")
                if not self._wanted(path):
                    continue
                text = _bytes(data["lines"]).decode(errors="replace")
                text = text.removesuffix("\n").removesuffix("\r")
                pending.append((self._shown(path), data["line_number"], text, kind == "match"))
                if len(pending) > 2 * self._limit + 1000:
                    collected.take(pending)
                    pending = []
            elif kind == "end":
                if data.get("binary_offset") is None:
                    collected.take(pending)
                pending = []
            if collected.full:
                return collected.result(), True
        return collected.result(), False

    def _wanted(self, path: str) -> bool:
        if self._file is not None:
            return not _binary(self._folder / path)
        return self._glob is None or self._glob.fullmatch(path) is not None

    def _shown(self, path: str) -> str:
        return names.shown(self._prefix + path)

    def by_python(self) -> GrepResult:
        """Read the files ourselves."""
        given = self._given
        try:
            regex = re.compile(given.pattern, re.IGNORECASE if given.ignore_case else 0)
        except (re.error, RecursionError, OverflowError) as error:
            raise InvalidInputError(f"regex does not parse: {error}") from error
        collected = _Collected(self._limit, grouped=given.context > 0)
        out: list[str] = []
        count = 0
        until_s = time.monotonic() + TIMEOUT_S
        for path in self._files():
            shown = self._shown(path)
            if given.output_mode == "content":
                try:
                    collected.take(list(self._in_file(path, shown, regex, until_s)))
                except _BinaryError:
                    continue
                if collected.full:
                    break
                continue
            number = self._matches(path, regex, until_s)
            if not number:
                continue
            files = given.output_mode == "files"
            out.append(shown if files else f"{shown}:{number}")
            count += 1 if files else number
            if len(out) >= self._limit:
                break
        if given.output_mode == "content":
            return collected.result()
        return GrepResult("\n".join(out), count)

    def _matches(self, path: str, regex: re.Pattern[str], until_s: float) -> int:
        """How many lines of a file match; 1 is enough where only files are asked for."""
        number = 0
        try:
            for line in _lines_of(self._folder / path, until_s):
                if regex.search(line):
                    number += 1
                    if self._given.output_mode == "files":
                        break
        except _BinaryError:
            return 0
        return number

    def _in_file(
        self, path: str, shown: str, regex: re.Pattern[str], until_s: float
    ) -> Iterator[Line]:
        """Lines that match with those around them; never many more than can be shown."""
        context = self._given.context
        before: deque[tuple[int, str]] = deque(maxlen=context)
        after = found = 0
        for number, line in enumerate(_lines_of(self._folder / path, until_s), start=1):
            if found > self._limit:
                continue  # only whether it is binary is still open
            if regex.search(line):
                for earlier, text in before:
                    yield shown, earlier, text, False
                before.clear()
                yield shown, number, line, True
                after = context
                found += 1
            elif after:
                after -= 1
                yield shown, number, line, False
            else:
                before.append((number, line))

    def _files(self) -> Iterator[str]:
        """Paths as ripgrep goes through them."""
        if self._file is not None:
            yield self._file
            return
        found = list(walk_files(self._folder, prune=self._prune))
        if self._glob is not None:
            found = [path for path in found if self._glob.fullmatch(path)]
        else:
            found = [path for path in found if not (path.startswith(".") or "/." in path)]
        if self._ignoring:
            ignored = self._ignored(found, self._folder)
            found = [path for path in found if path not in ignored]
        yield from sorted(found, key=lambda path: os.fsencode(path).split(b"/"))

    @cached_property
    def _ignoring(self) -> bool:
        """Whether it counts what git ignores: not where a folder was named that git ignores."""
        if self._given.glob is not None or self._file is not None:
            return False
        target = self._target
        return target == self._ctx.repo or not self._ignored([target.name], target.parent)

    def _ignored(self, paths: list[str], folder: Path) -> set[str]:
        """Which of them, in this folder, git ignores; none where there is no repository."""
        if not paths:
            return set()
        gate.check()
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", "check-ignore", "--no-index", "-z", "--stdin"],
            cwd=folder,
            env=child_environment(self._ctx.settings, {"GIT_OPTIONAL_LOCKS": "0"}),
            input=b"".join(os.fsencode(f"./{path}") + b"\0" for path in paths),
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return {os.fsdecode(path).removeprefix("./") for path in done.stdout.split(b"\0") if path}


class _Collected:
    """Lines of content in the way of grep: `path:12:text`, context with `-`, groups by `--`."""

    def __init__(self, limit: int, *, grouped: bool) -> None:
        self.lines: list[str] = []
        self.matches = 0
        self._limit = limit
        self._grouped = grouped
        self._last: tuple[str, int] | None = None

    @property
    def full(self) -> bool:
        return len(self.lines) >= self._limit

    def take(self, found: list[Line]) -> None:
        for path, number, text, is_match in found:
            if self._grouped and self._last is not None and self._last != (path, number - 1):
                self.lines.append("--")
            self._last = (path, number)
            if self.full:
                return
            mark = ":" if is_match else "-"
            self.lines.append(f"{path}{mark}{number}{mark}{text[:MAX_LINE_CHARACTERS]}")
            self.matches += is_match

    def result(self) -> GrepResult:
        return GrepResult("\n".join(self.lines[: self._limit]), self.matches)


class _BinaryError(Exception):
    """The file holds a NUL byte: nothing of it counts."""


def _lines_of(path: Path, until_s: float) -> Iterator[str]:
    """A file's lines without their ends, in flat memory; one that cannot be read has none.

    Of a line over 4 MiB the rest is left out. `_BinaryError` where a block holds a NUL byte.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return
        rest = b""
        while block := file.read(BLOCK_BYTES):
            if b"\0" in block:
                raise _BinaryError
            if time.monotonic() > until_s:
                raise InvalidInputError(
                    f"the search took longer than {TIMEOUT_S:g} s",
                    hint="Narrow it with path or glob.",
                )
            *whole, last = block.split(b"\n")
            if not whole:
                rest = rest if len(rest) > MAX_LINE_BYTES else rest + last
                continue
            yield _line(rest + whole[0])
            yield from map(_line, whole[1:])
            rest = last
        if rest:
            yield _line(rest)


def _line(data: bytes) -> str:
    return data.removesuffix(b"\r").decode(errors="replace")


def _binary(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"\0" in file.read(BLOCK_BYTES)
    except OSError:
        return True


def _records(out: IO[bytes], end: bytes) -> Iterator[bytes]:
    """What stands between `end` bytes; one over 64 MiB is left out, for want of memory."""
    rest: list[bytes] = []
    size = 0
    while block := out.read1(BLOCK_BYTES):  # type: ignore[attr-defined]
        *whole, last = block.split(end)
        for part in whole:
            if size <= MAX_RECORD_BYTES:
                yield b"".join((*rest, part))
            rest, size = [], 0
        size += len(last)
        if size <= MAX_RECORD_BYTES:
            rest.append(last)
        else:
            rest.clear()


def _bytes(value: dict[str, str]) -> bytes:
    return value["text"].encode() if "text" in value else base64.b64decode(value["bytes"])


def _anywhere(glob: str) -> str:
    """A glob without a slash names files wherever they lie."""
    glob = glob.removeprefix("./")
    return glob.lstrip("/") if "/" in glob else f"**/{glob}"


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    return [
        Route(("POST",), "/grep", grep, GrepInput, GrepResult, summary="Search files' contents")
    ]
