"""The sandbox's half of a save and of a restore, in a process of its own, as a daemon is.

In one process both halves would take turns with one interpreter's lock, which no user's do. The
process is there before anything is timed. A stream goes over a socket, without HTTP.
"""

import asyncio
import contextlib
import multiprocessing
import socket
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any, Final

from limpet.memory import share_one_arena
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.delta import stream_delta
from limpet.snapshots.patch import PatchPlan, apply_patch, fetch, plan_patch
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.root import SandboxRoot
from limpet.snapshots.seeding import Seeding
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.swap import new_staging_folder

_PIECE: Final = 1 << 20


class SandboxHalf:
    """Does one thing after another for who holds the other half. Close it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._commands, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self._answer()  # it is there

    def close(self) -> None:
        """End the process."""
        self._commands.close()
        self._process.join()

    async def save(self, workspace: Path, caches: Path, base: str | None) -> AsyncIterator[bytes]:
        """The save stream of a workspace; `caches` is where its stat caches lie."""
        stream = self._begin("save", workspace, caches, base)
        stream.setblocking(False)
        loop = asyncio.get_running_loop()
        with stream:
            while piece := await loop.sock_recv(stream, _PIECE):
                yield piece
        self._answer()

    def restore(self, chunks: Callable[[], Any], into: Path, root: str) -> None:
        """Restore a stream into a folder that is not there; `root` is the digest it must have.

        `chunks` gives an awaitable of an asynchronous iterator of the stream.
        """
        self._send("restore", chunks, into, root)

    def note(self, root: SandboxRoot) -> None:
        """Write down, for the next save, what the last restore made."""
        self._commands.send(("note", root))
        self._answer()

    def plan(self, chunks: Callable[[], Any], root: SandboxRoot, base: str, wanted: str) -> Any:
        """Plan to make the workspace another state; gives what it needs, None when it has all."""
        return self._send("plan", chunks, root, base, wanted)

    def fetch(self, chunks: Callable[[], Any]) -> None:
        """Take in what the plan needs."""
        self._send("fetch", chunks)

    def apply(self, root: SandboxRoot) -> None:
        """Do what was planned."""
        self._commands.send(("apply", root))
        self._answer()

    # -- inside --------------------------------------------------------------------------------

    def _begin(self, *command: object) -> socket.socket:
        """Begin something that reads or writes a stream; gives our end of it."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _PIECE)
        self._commands.send(command)
        assert self._process.pid is not None
        with theirs:
            send_handle(self._commands, theirs.fileno(), self._process.pid)
        return ours

    def _send(self, what: str, chunks: Callable[[], Any], *more: object) -> Any:
        stream = self._begin(what, *more)
        stream.setblocking(False)

        async def send() -> None:
            loop = asyncio.get_running_loop()
            async for chunk in await chunks():
                await loop.sock_sendall(stream, chunk)

        with stream, contextlib.suppress(ConnectionError):  # then the answer says why
            asyncio.run(send())
        return self._answer()

    def _answer(self) -> Any:
        failed, told = self._commands.recv()
        if failed:
            raise RuntimeError(f"The sandbox's half failed:\n{told}")
        return told


class _Half:
    """What happens in the process."""

    def __init__(self) -> None:
        self._seeding: Seeding | None = None
        self._plan: PatchPlan | None = None

    def save(self, stream: socket.socket, workspace: Path, caches: Path, base: str | None) -> None:
        for chunk in stream_delta(
            workspace, caches=StatCaches(caches), base=base,
            fields={"activity_seq": 1, "boot_id": "bench"},
        ):  # fmt: skip
            stream.sendall(chunk)

    def restore(self, stream: socket.socket, into: Path, root: str) -> None:
        def keep(seeding: Seeding) -> None:
            self._seeding = seeding

        restore_stream(_pieces(stream), into, expect_root=root, on_restored=keep)

    def note(self, root: SandboxRoot) -> None:
        assert self._seeding is not None
        self._seeding.settle(root.workspace, root.state)
        self._seeding.write(_caches(root), root.workspace)

    def plan(
        self, stream: socket.socket, root: SandboxRoot, base: str, wanted: str
    ) -> frozenset[BlobHash] | None:
        plan = self._plan = plan_patch(
            root.workspace, _pieces(stream), caches=_caches(root),
            plan_folder=new_staging_folder(root), base=base, expect_root=wanted,
        )  # fmt: skip
        if not plan.worthwhile:
            raise RuntimeError("a patch was not worthwhile: nothing was measured")
        return None if plan.whole else plan.needs

    def fetch(self, stream: socket.socket) -> None:
        assert self._plan is not None
        fetch(self._plan, _pieces(stream))

    def apply(self, root: SandboxRoot) -> None:
        assert self._plan is not None
        apply_patch(root, self._plan)


def _caches(root: SandboxRoot) -> StatCaches:
    return StatCaches(root.state / "statcache")


def _pieces(stream: socket.socket) -> Iterator[bytes]:
    while piece := stream.recv(_PIECE):
        yield piece


def _serve(commands: Connection) -> None:
    share_one_arena()  # as a daemon does
    half = _Half()
    commands.send((False, None))
    while True:
        try:
            what, *more = commands.recv()
        except EOFError:
            return
        try:
            if what in {"note", "apply"}:
                told = getattr(half, what)(*more)
            else:
                with socket.socket(fileno=recv_handle(commands)) as stream:
                    told = getattr(half, what)(stream, *more)
            commands.send((False, told))
        except Exception:  # noqa: BLE001 (raised again by who asked)
            commands.send((True, traceback.format_exc()))
