"""Tree blobs at hand: the folders of one snapshot, kept compressed, decoded as they are asked for.

The same on both sides: filled from tree packs by the repository, from a stream by a daemon.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from limpet.errors import SnapshotDamagedError
from limpet.snapshots.blobs import BlobHash
from limpet.snapshots.frame import DecodedFrame, decode_frame
from limpet.snapshots.node import (
    FOLDER,
    LEVEL_OFFSET,
    BadNodeError,
    Branches,
    Content,
    Entry,
    Folder,
    Reference,
    decode_chunk_table,
    decode_node,
)
from limpet.snapshots.tree import NOT_SAVED, RESERVED

MAX_DEPTH: Final = 10_000
MAX_ENTRIES: Final = 1_000_000
MAX_PATH_BYTES: Final = 1 << 20
_DECODED_KEPT: Final = 8
_TOP_REFUSED: Final = frozenset({RESERVED.encode(), *(name.encode() for name in NOT_SAVED)})


@dataclass(frozen=True, slots=True)
class WalkedFolder:
    """A folder met by `TreeBlobs.walk`. Its path is relative, without a final slash."""

    path: bytes
    node: BlobHash
    entries: list[Entry]
    looks: Entry | None = None
    """Its entry in the folder above; None for the one where the walk began."""

    def path_of(self, name: bytes) -> bytes:
        """The path of one of its entries."""
        return self.path + b"/" + name if self.path else name


class TreeBlobs:
    """Tree blobs by name. Not for several threads at once."""

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._places: dict[BlobHash, tuple[int, int]] = {}
        self._decoded: OrderedDict[int, DecodedFrame] = OrderedDict()
        self.raw_bytes = 0

    def add_frame(self, frame: bytes) -> DecodedFrame:
        """Take a tree frame in; `SnapshotDamagedError` when it is damaged or holds data."""
        decoded = decode_frame(frame)
        if decoded.kind != "tree":
            raise SnapshotDamagedError("A frame of data lies among the folders")
        number = len(self._frames)
        self._frames.append(frame)
        for index, name in enumerate(decoded.hashes):
            self._places.setdefault(name, (number, index))
        self.raw_bytes += len(decoded.raw)
        self._keep(number, decoded)
        return decoded

    def reader(self) -> "TreeBlobs":
        """The same blobs for another thread. Nothing may be added to either any more."""
        other = TreeBlobs()
        other._frames, other._places, other.raw_bytes = self._frames, self._places, self.raw_bytes
        return other

    def copy(self) -> "TreeBlobs":
        """The same blobs; what is added to the copy is not in this."""
        other = TreeBlobs()
        other._frames, other._places = list(self._frames), dict(self._places)
        other.raw_bytes = self.raw_bytes
        return other

    def __contains__(self, name: BlobHash) -> bool:
        return name in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[BlobHash]:
        return iter(self._places)

    def blob(self, name: BlobHash) -> bytes:
        """A tree blob; `SnapshotDamagedError` when it is not here."""
        place = self._places.get(name)
        if place is None:
            raise SnapshotDamagedError(f"The folder blob {name.hex()[:16]} is missing")
        number, index = place
        decoded = self._decoded.get(number)
        if decoded is None:
            decoded = decode_frame(self._frames[number])
            self._keep(number, decoded)
        else:
            self._decoded.move_to_end(number)
        return decoded.blob(index)

    def entries(self, node: BlobHash) -> list[Entry]:
        """All entries of a folder, by name, whatever number of nodes it has."""
        top = decode_node(self.blob(node))
        if isinstance(top, Folder):
            return list(top.entries)
        found: list[Entry] = []
        self._gather(top, found)
        before = b""
        for entry in found:
            if entry.name <= before:
                raise BadNodeError("A big folder's names are not in order")
            before = entry.name
        return found

    def nodes_of(self, node: BlobHash) -> Iterator[BlobHash]:
        """The node itself and the nodes that it is cut into; not those of its sub-folders."""
        yield node
        blob = self.blob(node)
        if blob[LEVEL_OFFSET : LEVEL_OFFSET + 1] == b"\0":
            return
        decoded = decode_node(blob)
        if isinstance(decoded, Branches):
            for child in decoded.children:
                yield from self.nodes_of(child)

    def chunks(self, content: Content) -> Iterator[Reference]:
        """The data blobs of a listed file, in order."""
        if not content.tables:
            yield from content.references
            return
        for table in content.references:
            references = decode_chunk_table(self.blob(table.name))
            if sum(one.length for one in references) != table.length:
                raise BadNodeError("A chunk table is not as long as the file says")
            yield from references

    def walk(self, root: BlobHash, *, whole: bool = True) -> Iterator[WalkedFolder]:
        """Every folder, parents first: its entries by name, then each of its sub-folders by name.

        `whole` unless `root` is a folder within a workspace. Raises `SnapshotDamagedError`
        (`BadNodeError`) for what is missing, too deep, too many, or where a workspace's root holds
        what is never saved. Equal folders are met once for each place.
        """
        count = 0
        todo: list[tuple[bytes, int, BlobHash, Entry | None]] = [(b"", 0, root, None)]
        while todo:
            path, depth, node, looks = todo.pop()
            entries = self.entries(node)
            count += len(entries)
            if count > MAX_ENTRIES:
                raise BadNodeError(f"The snapshot holds more than {MAX_ENTRIES:,} entries")
            if whole and not depth and any(entry.name in _TOP_REFUSED for entry in entries):
                raise BadNodeError("The snapshot holds a name that is never saved")
            yield WalkedFolder(path, node, entries, looks)
            folders = [entry for entry in entries if entry.kind == FOLDER]
            if folders and (depth >= MAX_DEPTH or len(path) > MAX_PATH_BYTES):
                raise BadNodeError(f"The snapshot is more than {MAX_DEPTH:,} folders deep")
            for entry in reversed(folders):
                assert entry.hash is not None
                below = path + b"/" + entry.name if path else entry.name
                todo.append((below, depth + 1, entry.hash, entry))

    def find(self, root: BlobHash, path: bytes) -> Entry | None:
        """The entry at a relative path, or None."""
        node: BlobHash | None = root
        found: Entry | None = None
        for part in path.split(b"/"):
            if node is None:
                return None
            found = next((one for one in self.entries(node) if one.name == part), None)
            if found is None:
                return None
            node = found.hash if found.kind == FOLDER else None
        return found

    def _gather(self, branches: Branches, found: list[Entry]) -> None:
        for first, child in zip(branches.firsts, branches.children, strict=True):
            node = decode_node(self.blob(child))
            if isinstance(node, Folder):
                if branches.level != 1 or not node.entries or node.entries[0].name != first:
                    raise BadNodeError("A big folder's nodes do not fit together")
                found += node.entries
                continue
            if node.level != branches.level - 1 or node.firsts[0] != first:
                raise BadNodeError("A big folder's nodes do not fit together")
            self._gather(node, found)

    def _keep(self, number: int, decoded: DecodedFrame) -> None:
        self._decoded[number] = decoded
        self._decoded.move_to_end(number)
        if len(self._decoded) > _DECODED_KEPT:
            self._decoded.popitem(last=False)
