"""One save of a workspace as a packed stream: what its base does not have, and the new root.

Where the sandbox's processes can be frozen the save looks twice: once while everything runs, which
finds and sends nearly all, and once more, frozen for a second at most, for what changed meanwhile.
"""

import contextlib
import dataclasses
import os
import time
from collections.abc import Collection, Generator, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol, Self

from limpet.errors import LimpetError, NotFoundError
from limpet.snapshots.lineage import root_fields
from limpet.snapshots.node import Root
from limpet.snapshots.outgoing import Outgoing
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.scan import Scan
from limpet.snapshots.statcache import StatCaches
from limpet.snapshots.survey import SurveyedFolder, open_workspace
from limpet.snapshots.tar_format import Progress, show
from limpet.snapshots.tree import NOT_SAVED, RESERVED, is_empty
from limpet.snapshots.wire import StreamWriter

FROZEN_AT_MOST_S: Final = 1.0
_LARGEST_SHOWN: Final = 10


class WorkspaceTooLargeError(LimpetError):
    """The workspace holds more than may be saved; nothing was sent."""

    code = "workspace_too_large"
    status = 413


class Freezer(Protocol):
    """Stops every process of the sandbox for a moment. `thaw` may be called at any time."""

    def freeze(self) -> bool:
        """Stop them; False when that is not possible, and then they all run."""
        ...

    def thaw(self) -> None:
        """Let them go on."""
        ...


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
        cache = self._caches.open(self._base) if self._base else None
        outgoing = Outgoing(cache)
        writer = StreamWriter("save")
        workspace_fd = open_workspace(self._workspace)
        try:
            scan = Scan(workspace_fd, self._exclude_top, cache, outgoing)
            self._check_size(scan)
            yield self._sent(writer.header({"base": self._base if cache else None, **self._fields}))
            yield from self._through(scan, outgoing, writer)
            live = not scan.unchanged
            scan.write_cache(self._caches)
            if live and self._freezer is not None:
                again = yield from self._frozen(scan, workspace_fd, outgoing, writer)
                if again is not None:
                    again.remarks.dropped += scan.remarks.dropped
                    scan, live = again, False
            for frame in outgoing.drain():
                yield self._sent(writer.frame(frame))
            receipt = scan.remarks.receipt(
                "save",
                entries=scan.entries,
                files=scan.files,
                bytes=scan.size_bytes,
                duration_ms=int((time.monotonic() - started_s) * 1000),
            )
            receipt = dataclasses.replace(receipt, blake3=scan.root.digest, live=live)
            end = writer.end({"root": root_fields(scan.root), "receipt": receipt.as_dict()})
            self._sent_bytes += len(end)
            receipt = dataclasses.replace(receipt, size_bytes=self._sent_bytes)
            self._done = scan.root, receipt
            yield end
        finally:
            os.close(workspace_fd)
            outgoing.close()
            if cache is not None:
                cache.close()

    def _through(self, scan: Scan, outgoing: Outgoing, writer: StreamWriter) -> Iterator[bytes]:
        for _ in scan.run():
            for frame in outgoing.ready():
                yield self._sent(writer.frame(frame))

    def _frozen(
        self, scan: Scan, workspace_fd: int, outgoing: Outgoing, writer: StreamWriter
    ) -> "Generator[bytes, None, Scan | None]":
        """Look again with every process stopped; gives that scan, or None when it took too long."""
        assert self._freezer is not None
        known = self._caches.open(scan.root.digest)
        if known is None or not self._freezer.freeze():
            return None
        thaw_at_s = time.monotonic() + FROZEN_AT_MOST_S
        ready: list[bytes] = []
        in_time = True
        try:
            again = Scan(workspace_fd, self._exclude_top, known, outgoing)
            with contextlib.closing(again.run()) as steps:
                for _ in steps:
                    # Nothing is sent while all stands still: who reads the stream may be slow.
                    ready.extend(outgoing.ready())
                    in_time = time.monotonic() < thaw_at_s
                    if not in_time:
                        break
        finally:
            self._freezer.thaw()
            known.close()
        for frame in ready:
            yield self._sent(writer.frame(frame))
        if not in_time:
            return None
        again.write_cache(self._caches)
        return again

    def _sent(self, chunk: bytes) -> bytes:
        self._sent_bytes += len(chunk)
        if self._on_progress is not None:
            self._on_progress(self._sent_bytes, 0)
        return chunk

    def _check_size(self, scan: Scan) -> None:
        if self._limit_bytes is None or scan.size_bytes <= self._limit_bytes:
            return
        largest = largest_folders(scan.folders)
        listed = ", ".join(f"{show(path) or '.'} ({size:,} bytes)" for path, size in largest)
        raise WorkspaceTooLargeError(
            f"The workspace holds {scan.size_bytes:,} bytes; {self._limit_bytes:,} may be saved. "
            f"Its largest folders: {listed}",
            hint="Delete what is not needed, or move it to tmp/, which is never saved.",
        )


def largest_folders(folders: list[SurveyedFolder]) -> list[tuple[bytes, int]]:
    """The ten folders that hold the most, with what is below them; each the innermost such one.

    A folder is passed over when one below it holds most of the same bytes.
    """
    totals = [folder.size_bytes for folder in folders]
    heaviest = [0] * len(folders)
    for number in range(len(folders) - 1, 0, -1):
        parent = folders[number].parent
        totals[parent] += totals[number]
        heaviest[parent] = max(heaviest[parent], totals[number])
    found = [
        (total, folders[number].path)
        for number, total in enumerate(totals)
        if total and 10 * heaviest[number] < 9 * total
    ]
    return [(path, total) for total, path in sorted(found, reverse=True)[:_LARGEST_SHOWN]]
