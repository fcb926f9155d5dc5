"""What a whole tree holds, in numbers: counted once, carried on by what a save adds and takes."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Self

from limpet.snapshots.node import EMPTY_FILE, FILE, HARD_LINK, LISTED_FILE, Entry

_FILES = frozenset({EMPTY_FILE, FILE, LISTED_FILE})


@dataclass(slots=True)
class TreeCounts:
    """Counts of a tree, the workspace folder itself left out; of a folder that is at two places
    each time. A head carries them, so that a save need not walk what did not change.
    """

    entries: int = 0
    files: int = 0
    bytes: int = 0
    """Of all files, holes counted; a hard link counts nothing."""
    data_bytes: int = 0
    """The same without the holes."""
    names_bytes: int = 0
    """Of all names, and of what links say."""
    hard_links: int = 0

    def take(self, entries: Iterable[Entry], times: int = 1) -> None:
        """Count these entries `times` times: 1 for what is there, -1 for what is there no more."""
        for entry in entries:
            self.entries += times
            self.names_bytes += times * (len(entry.name) + len(entry.target or b""))
            if entry.kind in _FILES:
                self.files += times
                self.bytes += times * entry.size
                data_bytes = entry.size
                if entry.content is not None and entry.content.segments:
                    data_bytes = sum(length for _, length in entry.content.segments)
                self.data_bytes += times * data_bytes
            elif entry.kind == HARD_LINK:
                self.hard_links += times

    def take_files(self, names_bytes: int, sizes: Sequence[int]) -> None:
        """Count files without holes; `names_bytes` are those of all their names."""
        size_bytes = sum(sizes)
        self.entries += len(sizes)
        self.files += len(sizes)
        self.names_bytes += names_bytes
        self.bytes += size_bytes
        self.data_bytes += size_bytes

    def as_dict(self) -> dict[str, int]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: dict[str, int]) -> Self:
        """What `as_dict` gave; `KeyError`, `TypeError` or `ValueError` for anything else."""
        counts = cls(**{one.name: int(told[one.name]) for one in fields(cls)})
        if min(counts.as_dict().values()) < 0:
            raise ValueError("a tree holds no less than nothing")
        return counts
