"""Looking into snapshots with no sandbox running: list, read, download, compare.

Trees are held by the repository; contents are fetched blob by blob, only those that are asked for.
"""

import difflib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from anyio import to_thread

from limpet.control.sandboxes.events import SandboxKey
from limpet.control.sandboxes.history import History
from limpet.control.sandboxes.unpacked_tars import UnpackedTars
from limpet.errors import InvalidInputError, NotFoundError
from limpet.ids import SnapshotId
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.diff import Change, Side, diff_trees, expand
from limpet.snapshots.frame import encode_frame
from limpet.snapshots.node import FILE, FOLDER, HARD_LINK, LISTED_FILE, SYMLINK, Entry
from limpet.snapshots.node_encode import encode_folder
from limpet.snapshots.repository import Head, SnapshotRepository
from limpet.snapshots.snapshot_trees import packed_of
from limpet.snapshots.tar_export import Exported, export_tar
from limpet.snapshots.tar_format import show
from limpet.snapshots.trees import TreeBlobs

MAX_TEXT_BYTES: Final = 1 << 20
"""Larger files are not compared line by line."""
MAX_DIFF_BYTES: Final = 2 << 20
"""Of all the text diffs of one answer."""
_PROBED_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of a snapshot; the workspace itself has an empty path.

    `repository` is where its contents are read from, and `head` the packed snapshot there.
    """

    repository: SnapshotRepository
    head: Head
    trees: TreeBlobs
    path: bytes
    entry: Entry


@dataclass(frozen=True, slots=True)
class Compared:
    """Two snapshots, and what leads from the one to the other."""

    before: Head | None
    after: Head
    changes: list[Change]
    diffs: dict[bytes, str | None]
    """By path, of changed files: the unified diff, or None when they are no text."""
    truncated: bool


class Inside:
    """Reads what snapshots hold."""

    def __init__(
        self, repository: SnapshotRepository, history: History, tars: UnpackedTars
    ) -> None:
        self._repository = repository
        self._history = history
        self._tars = tars

    async def find(self, key: SandboxKey, snapshot: SnapshotId, path: bytes) -> Place:
        """The entry at a path; `NotFoundError` when the snapshot has none."""
        head = await self._history.one(key, snapshot)
        return await self._place(head, path)

    async def listing(
        self, place: Place, *, recursive: bool, after: int, limit: int
    ) -> tuple[list[tuple[bytes, Entry]], bool]:
        """Entries of a folder with their paths, by name, and whether there are more of them."""
        if place.entry.kind != FOLDER:
            raise InvalidInputError(f"{show(place.path)!r} is no folder")
        found = await to_thread.run_sync(
            lambda: list(islice(_entries(place, recursive), after, after + limit + 1))
        )
        return found[:limit], len(found) > limit

    async def content(
        self, place: Place, *, offset: int = 0, limit: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes of a file from `offset` on, at most `limit` of them; holes are zeros."""
        entry = await self._resolved(place)
        size = entry.size
        end = size if limit is None else min(size, offset + limit)
        return self._bytes(place, entry, offset, end)

    async def folder_tar(self, place: Place) -> AsyncIterator[bytes]:
        """A folder as a plain tar."""
        head = place.head
        assert head.packed is not None
        exported = Exported(place.trees, head.packed.root.node, place.path, place.entry)

        def read(names: Iterable[BlobHash]) -> AsyncIterator[tuple[BlobHash, bytes]]:
            return place.repository.read_blobs(head, names)

        return export_tar(exported, read, head.receipt.as_dict())

    async def size_of(self, place: Place) -> int:
        """How many bytes the file has; `InvalidInputError` when it is none."""
        return (await self._resolved(place)).size

    async def compare(
        self,
        key: SandboxKey,
        snapshot: SnapshotId,
        other: SnapshotId | None,
        *,
        path: bytes,
        text: bool,
        times: bool,
        expanded: bool,
        most: int,
    ) -> Compared:
        """What leads from `other`, or else from the parent, to `snapshot`.

        A snapshot without a parent is compared with nothing at all, a fork with what it was made
        from, which is the same.
        """
        after = await self._history.one(key, snapshot)
        before = await self._before(key, after, other)
        new = await self._side(after, path)
        old = await self._side(before, path) if before else None
        if new is None and old is None:
            raise NotFoundError(f"Neither snapshot has {show(path)!r}")
        folder = await self._is_folder(after, path) or (
            before is not None and await self._is_folder(before, path)
        )
        prefix = path if folder else path.rpartition(b"/")[0]
        old, new = old or _folder_of([]), new or _folder_of([])

        def changes() -> tuple[list[Change], bool]:
            found: Iterable[Change] = diff_trees(old, new, times=times)
            if expanded:
                found = (one for change in found for one in expand(change, old, new))
            listed = [_below(prefix, one) for one in islice(found, most + 1)]
            return listed[:most], len(listed) > most

        listed, truncated = await to_thread.run_sync(changes)
        diffs = await self._text_diffs(before, after, old, new, listed) if text else {}
        return Compared(before, after, listed, diffs, truncated)

    # -- inside --------------------------------------------------------------------------------

    async def _place(self, head: Head, path: bytes) -> Place:
        repository, packed = await self._packed(head)
        trees = await repository.trees(packed)
        root = packed_of(packed).root
        if not path:
            entry = Entry(b"", FOLDER, root.mode, root.mtime_ns, 0, root.node)
            return Place(repository, packed, trees, path, entry)
        found = await to_thread.run_sync(trees.find, root.node, path)
        if found is None:
            raise NotFoundError(f"{head.snapshot} has no {show(path)!r}")
        return Place(repository, packed, trees, path, found)

    async def _packed(self, head: Head) -> tuple[SnapshotRepository, Head]:
        """The snapshot as a packed one, and who holds it."""
        if head.packed is not None:
            return self._repository, head
        return await self._tars.packed(head)

    async def _side(self, head: Head, path: bytes) -> Side | None:
        try:
            place = await self._place(head, path)
        except NotFoundError:
            return None
        if place.entry.kind == FOLDER and place.entry.hash is not None:
            return Side(place.trees, place.entry.hash)
        name = path.rpartition(b"/")[2]
        return _folder_of([place.entry._replace(name=name)])

    async def _is_folder(self, head: Head, path: bytes) -> bool:
        try:
            return (await self._place(head, path)).entry.kind == FOLDER
        except NotFoundError:
            return False

    async def _before(self, key: SandboxKey, after: Head, other: SnapshotId | None) -> Head | None:
        if other is not None:
            return await self._history.one(key, other)
        if after.parent is None:
            return after if after.made_from is not None else None
        try:
            return await self._history.one(key, after.parent)
        except NotFoundError:
            raise NotFoundError(
                f"The snapshot before {after.snapshot} is gone",
                hint="Say which one to compare it with.",
            ) from None

    async def _resolved(self, place: Place) -> Entry:
        """The file that an entry is, hard links followed."""
        entry = place.entry
        if entry.kind == HARD_LINK:
            assert place.head.packed is not None
            assert entry.target is not None
            root = place.head.packed.root.node
            found = await to_thread.run_sync(place.trees.find, root, entry.target)
            if found is None:
                raise NotFoundError(f"{show(entry.target)!r} is missing in the snapshot")
            entry = found
        if entry.kind == FOLDER:
            raise InvalidInputError(f"{show(place.path)!r} is a folder")
        if entry.kind == SYMLINK:
            assert entry.target is not None
            raise InvalidInputError(
                f"{show(place.path)!r} is a link to {show(entry.target)!r}",
                hint="Links are not followed in snapshots: read what it leads to.",
            )
        return entry

    async def _bytes(
        self, place: Place, entry: Entry, start: int, end: int
    ) -> AsyncIterator[bytes]:
        wanted = [
            piece
            for piece in _pieces(place.trees, entry)
            if piece.offset < end and piece.offset + piece.length > start
        ]
        blobs = place.repository.read_blobs(place.head, [one.blob for one in wanted])
        position = start
        index = 0
        async for _, blob in blobs:
            piece = wanted[index]
            index += 1
            async for zeros in _zeros(position, piece.offset):
                yield zeros
            position = max(position, piece.offset)
            upto = min(end, piece.offset + piece.length)
            inner = piece.inner - piece.offset
            yield blob[position + inner : upto + inner]
            position = upto
        async for zeros in _zeros(position, end):
            yield zeros

    async def _text_diffs(
        self, before: Head | None, after: Head, old: Side, new: Side, changes: list[Change]
    ) -> dict[bytes, str | None]:
        diffs: dict[bytes, str | None] = {}
        left = MAX_DIFF_BYTES
        for change in changes:
            if left <= 0 or not _has_text(change):
                continue
            was = await self._text(before, old, change.before)
            now = await self._text(after, new, change.after)
            if was is None or now is None:
                diffs[change.path] = None
                continue
            told = await to_thread.run_sync(_unified, change, was, now)
            left -= len(told)
            diffs[change.path] = told if left > 0 else None
        return diffs

    async def _text(self, head: Head | None, side: Side, entry: Entry | None) -> str | None:
        """A file's text; empty when there is no file; None when it is binary or too large."""
        if entry is None or head is None:
            return ""
        if entry.size > MAX_TEXT_BYTES:
            return None
        repository, packed = await self._packed(head)
        place = Place(repository, packed, side.trees, b"", entry)
        chunks = self._bytes(place, entry, 0, entry.size)
        return text_of(b"".join([chunk async for chunk in chunks]))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A blob, and the part of the file that a run of its bytes from `inner` on is."""

    blob: BlobHash
    offset: int
    length: int
    inner: int


def text_of(content: bytes) -> str | None:
    """The text that the bytes are, or None when they are binary."""
    if b"\0" in content[:_PROBED_BYTES]:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        # A part of a file may begin or end within a character.
        if error.start >= len(content) - 3 and error.reason == "unexpected end of data":
            return content[: error.start].decode()
        return None


def _entries(place: Place, recursive: bool) -> Iterable[tuple[bytes, Entry]]:
    assert place.entry.hash is not None
    prefix = place.path + b"/" if place.path else b""
    if not recursive:
        return ((prefix + one.name, one) for one in place.trees.entries(place.entry.hash))
    return (
        (prefix + folder.path_of(one.name), one)
        for folder in place.trees.walk(place.entry.hash, whole=not place.path)
        for one in folder.entries
    )


def _pieces(trees: TreeBlobs, entry: Entry) -> Iterable[_Piece]:
    if entry.kind == FILE:
        assert entry.hash is not None
        yield _Piece(entry.hash, 0, entry.size, 0)
    if entry.kind != LISTED_FILE:
        return
    assert entry.content is not None
    segments = iter(entry.content.segments or ((0, entry.size),))
    offset, room = next(segments)
    for chunk in trees.chunks(entry.content):
        done = 0
        while done < chunk.length:
            if not room:
                offset, room = next(segments)
            length = min(room, chunk.length - done)
            yield _Piece(chunk.name, offset, length, done)
            offset, room, done = offset + length, room - length, done + length


async def _zeros(start: int, end: int) -> AsyncIterator[bytes]:
    while start < end:
        length = min(end - start, 1 << 20)
        yield bytes(length)
        start += length


def _has_text(change: Change) -> bool:
    content = change.kind != "changed" or "content" in change.what
    entries = [one for one in (change.before, change.after) if one is not None]
    files = all(one.kind not in {FOLDER, SYMLINK, HARD_LINK} for one in entries)
    return files and content and change.kind != "renamed"


def _unified(change: Change, was: str, now: str) -> str:
    path = show(change.path)
    lines = difflib.unified_diff(
        was.splitlines(keepends=True),
        now.splitlines(keepends=True),
        f"a/{path}" if change.before is not None else "/dev/null",
        f"b/{path}" if change.after is not None else "/dev/null",
    )
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _folder_of(entries: list[Entry]) -> Side:
    """A tree of these entries alone."""
    trees = TreeBlobs()

    def emit(blob: bytes, _: BlobHash) -> None:
        trees.add_frame(encode_frame("tree", [blob]))

    return Side(trees, encode_folder(entries, emit))


def _below(prefix: bytes, change: Change) -> Change:
    if not prefix:
        return change
    old_path = None if change.old_path is None else prefix + b"/" + change.old_path
    return replace(change, path=prefix + b"/" + change.path, old_path=old_path)
