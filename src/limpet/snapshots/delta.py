"""One save of a workspace as a packed stream: what its base does not have, and the new root.

Where the sandbox's processes can be frozen the save looks twice: once while everything runs, which
finds and sends nearly all, and once more, frozen for a second at most, for what changed meanwhile.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Final, Protocol, Self

from limpet.errors import LimpetError, NotFoundError
from limpet.snapshots.lineage import root_fields
from limpet.snapshots.node import Root
from limpet.snapshots.outgoing import Outgoing
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.scan import Scan
from limpet.snapshots.statcache import StatCache, StatCaches
from limpet.snapshots.survey import open_workspace
from limpet.snapshots.tar_format import Progress
from limpet.snapshots.tree import NOT_SAVED, RESERVED, is_empty
from limpet.snapshots.wire import StreamWriter
from limpet.snapshots.workspace_size import check_size

FROZEN_AT_MOST_S: Final = 1.0
_HELD_AT_MOST_BYTES: Final = 32 << 20
"""What is found while all stands still is sent later, from memory."""
_TOGETHER_BYTES: Final = 512 << 10
"""Frames go together as far as they come to this: each step of who reads them costs by itself."""


class Freezer(Protocol):
    """Stops every process of the sandbox for a moment. `thaw` may be called at any time."""

    def freeze(self) -> bool:
        """Stop them; False when that is not possible, and then they all run."""
        ...

    def thaw(self) -> None:
        """Let them go on."""
        ...


class _TooLongError(Exception):
    """All stood still for as long as it may."""


def stream_delta(
    workspace: Path,
    *,
    caches: StatCaches,
    base: str | None,
    fields: Mapping[str, object],
    exclude_top: Collection[str] = NOT_SAVED,
    freezer: Freezer | None = None,
    limit_bytes: int | None = None,
    on_progress: Progress | None = None,
) -> "DeltaStream":
    """The workspace as a save stream, to be iterated once.

    `base` is the root digest of the state that the other side holds; it is built upon only when
    `caches` knows it. `fields` go into the stream's header. `limit_bytes` bounds the sizes of all
    files together: beyond it the first step of the iteration raises `WorkspaceTooLargeError`.
    Raises `NotFoundError` when the workspace does not exist.
    """
    if not workspace.is_dir():
        raise NotFoundError(f"The workspace {workspace} does not exist.")
    names = frozenset(exclude_top) | {RESERVED}
    return DeltaStream(workspace, caches, base, fields, names, freezer, limit_bytes, on_progress)


class DeltaStream:
    """An iterator over the stream's bytes. After the last, `root` and `receipt` say what was saved.

    `empty` tells whether there was nothing at all to save when the stream was made.
    """

    def __init__(
        self,
        workspace: Path,
        caches: StatCaches,
        base: str | None,
        fields: Mapping[str, object],
        exclude_top: frozenset[str],
        freezer: Freezer | None,
        limit_bytes: int | None,
        on_progress: Progress | None,
    ) -> None:
        self.empty = is_empty(workspace, exclude_top=exclude_top)
        self._workspace = workspace
        self._caches = caches
        self._base = base
        self._fields = fields
        self._exclude_top = frozenset(os.fsencode(name) for name in exclude_top)
        self._freezer = freezer
        self._limit_bytes = limit_bytes
        self._on_progress = on_progress
        self._sent_bytes = 0
        self._done: tuple[Root, Receipt] | None = None
        self._chunks = self._run()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Give up: let go of what is open. A finished stream is closed already."""
        self._chunks.close()  # type: ignore[attr-defined]

    @property
    def root(self) -> Root:
        """The state that was saved; `LimpetError` before the stream has ended."""
        return self._ended()[0]

    @property
    def receipt(self) -> Receipt:
        """What was saved; `LimpetError` before the stream has ended."""
        return self._ended()[1]

    @property
    def unchanged(self) -> bool:
        """Whether the state is the base's."""
        return self.root.digest == self._base

    def _ended(self) -> tuple[Root, Receipt]:
        if self._done is None:
            raise LimpetError("What a save did is known once the whole stream was read.")
        return self._done

    def _run(self) -> Iterator[bytes]:
        started_s = time.monotonic()
        writer = StreamWriter("save")
        with contextlib.ExitStack() as opened:
            cache = self._open(self._base, opened)
            outgoing = Outgoing(cache)
            opened.callback(outgoing.close)
            workspace_fd = open_workspace(self._workspace)
            opened.callback(os.close, workspace_fd)
            scan = Scan(workspace_fd, self._exclude_top, cache, outgoing, spare=self._caches.folder)
            if self._limit_bytes is not None:
                check_size(scan, self._limit_bytes)
            yield self._sent(
                writer.header({"base": None if cache is None else self._base, **self._fields})
            )
            ready: list[bytes] = []
            for _ in scan.run():
                ready += outgoing.ready()
                if sum(map(len, ready)) >= _TOGETHER_BYTES:
                    yield self._sent(writer.frames(*ready))
                    ready.clear()
            live = True
            if self._keep(scan) and not scan.unchanged and self._freezer is not None:
                known = self._open(scan.root.digest, opened)
                if known is not None:
                    again = self._look_frozen(self._freezer, workspace_fd, known, outgoing, ready)
                    if again is not None:
                        scan, live = again, False
                        self._keep(scan)
            for frames in _together(chain(ready, outgoing.drain())):
                yield self._sent(writer.frames(*frames))
            receipt = scan.remarks.receipt(
                "save",
                entries=scan.entries,
                files=scan.tally.files,
                bytes=scan.tally.size_bytes,
                duration_ms=int((time.monotonic() - started_s) * 1000),
            )
            receipt = dataclasses.replace(receipt, blake3=scan.root.digest, live=live)
            end = writer.end({"root": root_fields(scan.root), "receipt": receipt.as_dict()})
            self._sent_bytes += len(end)
            receipt = dataclasses.replace(receipt, size_bytes=self._sent_bytes)
            self._done = scan.root, receipt
            yield end

    def _open(self, digest: str | None, opened: contextlib.ExitStack) -> StatCache | None:
        cache = self._caches.open(digest) if digest else None
        return None if cache is None else opened.enter_context(cache)

    def _look_frozen(
        self,
        freezer: Freezer,
        workspace_fd: int,
        known: StatCache,
        outgoing: Outgoing,
        ready: list[bytes],
    ) -> Scan | None:
        """Look again with every process stopped; None when that cannot be, or took too long.

        What is to be sent goes to `ready`: who reads the stream may be slow.
        """
        try:
            if not freezer.freeze():
                return None
            thaw_at_s = time.monotonic() + FROZEN_AT_MOST_S

            def go_on() -> None:
                if time.monotonic() > thaw_at_s or sum(map(len, ready)) > _HELD_AT_MOST_BYTES:
                    raise _TooLongError

            with contextlib.suppress(_TooLongError):
                spare = self._caches.folder
                again = Scan(
                    workspace_fd, self._exclude_top, known, outgoing, spare=spare, go_on=go_on
                )
                with contextlib.closing(again.run()) as steps:
                    for _ in steps:
                        ready.extend(outgoing.ready())
                        go_on()
                return again
            return None
        finally:
            freezer.thaw()

    def _keep(self, scan: Scan) -> bool:
        """Keep what was seen for the next save; without it that reads more, and is as right."""
        try:
            scan.write_cache(self._caches)
        except OSError:
            scan.remarks.count("not_cached")
            return False
        return True

    def _sent(self, chunk: bytes) -> bytes:
        self._sent_bytes += len(chunk)
        if self._on_progress is not None:
            self._on_progress(self._sent_bytes, 0)
        return chunk


def _together(frames: Iterable[bytes]) -> Iterator[list[bytes]]:
    held: list[bytes] = []
    for frame in frames:
        held.append(frame)
        if sum(map(len, held)) >= _TOGETHER_BYTES:
            yield held
            held = []
    if held:
        yield held
