"""`/grep`: with ripgrep where it is installed, else the same answers from Python.

Both look into what git does not ignore and into no hidden files; with a `glob`, into everything
that matches it. Neither looks into `.git`, or into `node_modules` unless the path lies in it, nor
at files that hold a NUL byte, and neither follows links.
"""

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec
from starlette.requests import Request

from limpet.daemon.capabilities import has
from limpet.daemon.children import child_environment
from limpet.daemon.context import DaemonContext
from limpet.daemon.files import workspace_of
from limpet.daemon.gate import gate
from limpet.daemon.patterns import compile_pattern, walk_files
from limpet.daemon.routes import Route, RouteError
from limpet.errors import InvalidInputError

TIMEOUT_S = 30.0
MAX_LIMIT = 100_000
MAX_LINE_CHARACTERS = 2000
PROBE_BYTES = 8192

Mode = Literal["files", "count", "content"]


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
    if not os.path.exists(target):  # noqa: PTH110 - Path.exists raises for names too long
        raise InvalidInputError(f"File not found: {given.path}")
    search = _Search(ctx, given, target)
    return await asyncio.to_thread(search.by_ripgrep if has("ripgrep") else search.by_python)


class _Search:
    def __init__(self, ctx: DaemonContext, given: GrepInput, target: Path) -> None:
        self._ctx = ctx
        self._given = given
        self._target = target
        self._limit = min(given.limit, MAX_LIMIT)
        self._shown = str(target.relative_to(ctx.repo)) if target.is_relative_to(ctx.repo) else None
        inside = set(target.relative_to(ctx.settings.app_root).parts)
        self._prune = {"node_modules", ".git"} - inside

    def by_ripgrep(self) -> GrepResult:
        """Ask `rg`; stop it when there are enough lines."""
        gate.check()
        given = self._given
        argv = ["rg", "--no-config", "--color=never", "--sort=path", "--max-columns=0"]
        argv += ["--no-require-git", "--no-messages"]
        argv += ["-i"] if given.ignore_case else []
        if given.glob is not None:
            compile_pattern(given.glob)
            argv.append(f"--glob={_for_ripgrep(given.glob)}")
        argv += [f"--glob=!**/{name}/**" for name in sorted(self._prune)]
        if given.output_mode == "content":
            argv += ["--json", f"--context={min(given.context, 1000)}"]
        else:
            argv += ["--null", "-l" if given.output_mode == "files" else "-c", "--with-filename"]
        argv += ["-e", given.pattern, "--", self._shown or str(self._target)]
        with subprocess.Popen(
            argv,
            cwd=self._ctx.repo,
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
                result, enough = read(iter(process.stdout))
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
        if code > 1 and not enough and not result.results:
            if "regex" in complaint or "glob" in complaint or "error:" in complaint:
                raise InvalidInputError(complaint[:2000])
            raise RouteError(complaint[:2000] or f"the search ended with {code}", status=500)
        return result

    def _lines(self, lines: Iterator[bytes]) -> tuple[GrepResult, bool]:
        out: list[str] = []
        count = 0
        for line in _split(lines, self._given.output_mode == "files"):
            path, _, number = line.partition("\0")
            path = path.removeprefix("./")
            out.append(path if not number else f"{path}:{number}")
            count += int(number) if number else 1
            if len(out) >= self._limit:
                return GrepResult("\n".join(out), count), True
        return GrepResult("\n".join(out), count), False

    def _content(self, lines: Iterator[bytes]) -> tuple[GrepResult, bool]:
        collected = _Collected(self._limit, grouped=self._given.context > 0)
        pending: list[tuple[str, int, str, bool]] = []
        for line in lines:
            message = msgspec.json.decode(line)
            kind, data = message["type"], message["data"]
            if kind in {"match", "context"}:
                text = _text(data["lines"]).removesuffix("\n").removesuffix("\r")
                path = _text(data["path"]).removeprefix("./")
                pending.append((path, data["line_number"], text, kind == "match"))
                if len(pending) + len(collected.lines) > 2 * self._limit + 1000:
                    collected.take(pending)
                    pending = []
            elif kind == "end":
                if data.get("binary_offset") is None:
                    collected.take(pending)
                pending = []
            if collected.full:
                return collected.result(), True
        return collected.result(), False

    def by_python(self) -> GrepResult:
        """Read the files ourselves."""
        given = self._given
        try:
            flags = re.IGNORECASE if given.ignore_case else 0
            regex = re.compile(given.pattern, flags)
        except re.error as error:
            raise InvalidInputError(f"regex does not parse: {error}") from error
        collected = _Collected(self._limit, grouped=given.context > 0)
        out: list[str] = []
        count = 0
        for path in self._files():
            lines = _read_lines(self._ctx.repo / path)
            matching = [i for i, line in enumerate(lines) if regex.search(line)]
            if not matching:
                continue
            if given.output_mode == "content":
                collected.take(_with_context(path, lines, matching, given.context))
                if collected.full:
                    break
                continue
            if given.output_mode == "files":
                out.append(path)
                count += 1
            else:
                out.append(f"{path}:{len(matching)}")
                count += len(matching)
            if len(out) >= self._limit:
                break
        if given.output_mode == "content":
            return collected.result()
        return GrepResult("\n".join(out), count)

    def _files(self) -> Iterator[str]:
        """Paths as ripgrep would show them: relative to the repo where they lie in it."""
        if self._target.is_file():
            yield self._shown or str(self._target)
            return
        glob = self._given.glob
        regex = compile_pattern(_anywhere(glob)) if glob is not None else None
        ignored = self._ignored() if glob is None else None
        prefix = "" if self._shown == "." else f"{self._shown or self._target}/"
        found = walk_files(self._target, prune=self._prune)
        for relative in sorted(found, key=lambda p: p.split("/")):
            hidden = relative.startswith(".") or "/." in relative
            if hidden and regex is None:
                continue
            if regex is not None and not regex.fullmatch(relative):
                continue
            path = prefix + relative
            if ignored is None or path not in ignored:
                yield path

    def _ignored(self) -> set[str]:
        """What git ignores below the target, as far as git can tell."""
        gate.check()
        done = subprocess.run(
            ["git", "ls-files", "-z", "-o", "-i", "--exclude-standard", "--", str(self._target)],
            cwd=self._ctx.repo,
            env=child_environment(self._ctx.settings, {"GIT_OPTIONAL_LOCKS": "0"}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        return set(os.fsdecode(done.stdout).split("\0"))


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

    def take(self, found: list[tuple[str, int, str, bool]]) -> None:
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


def _with_context(
    path: str, lines: list[str], matching: list[int], context: int
) -> list[tuple[str, int, str, bool]]:
    wanted: dict[int, bool] = {}
    for index in matching:
        for near in range(max(0, index - context), min(len(lines), index + context + 1)):
            wanted.setdefault(near, False)
        wanted[index] = True
    return [(path, i + 1, lines[i], wanted[i]) for i in sorted(wanted)]


def _read_lines(path: Path) -> list[str]:
    try:
        if not path.is_file():
            return []
        data = path.read_bytes()
    except OSError:
        return []
    if b"\0" in data:
        return []
    lines = data.decode(errors="replace").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _split(chunks: Iterator[bytes], by_nul: bool) -> Iterator[str]:
    """Records of rg's plain output: with `-l`, a NUL ends each; with `-c`, a line end."""
    if not by_nul:
        for line in chunks:
            yield os.fsdecode(line.rstrip(b"\n"))
        return
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\0")
        for part in whole:
            yield os.fsdecode(part)


def _text(value: dict[str, str]) -> str:
    if "text" in value:
        return value["text"]
    import base64

    return base64.b64decode(value["bytes"]).decode(errors="replace")


def _for_ripgrep(glob: str) -> str:
    """The glob so that ripgrep reads it as we do: from the start of the path, or any file name."""
    return glob.removeprefix("!").removeprefix("./")


def _anywhere(glob: str) -> str:
    """A glob without a slash names files wherever they lie."""
    glob = _for_ripgrep(glob)
    return glob.lstrip("/") if "/" in glob else f"**/{glob}"


def routes(_: DaemonContext) -> list[Route]:
    """Routes of this module."""
    return [
        Route(("POST",), "/grep", grep, GrepInput, GrepResult, summary="Search files' contents")
    ]
