"""What an org's packs hold, kept locally so that equal content need not be stored twice.

A hint and no more: it may be lost, stale or wrong, and whoever finds something here looks into the
pack's own index before relying on it. SQLite, a file an org; blocking, for several threads at once.
"""

import contextlib
import sqlite3
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from limpet.ids import OrgId
from limpet.snapshots.blobs import HASH_BYTES, KIND_CODES, KINDS_BY_CODE, BlobHash, BlobKind
from limpet.snapshots.pack import PackIndex, PackName, PackRef
from limpet.stores.keys import safe_org

_VERSION: Final = 1
_AT_ONCE: Final = 400
_START: Final = struct.Struct(f"<q{HASH_BYTES - 8}x")
_SCHEMA: Final = """
CREATE TABLE packs (
    id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL,
    index_size INTEGER NOT NULL, shared INTEGER NOT NULL, UNIQUE (kind, name, shared)
);
CREATE TABLE blobs (
    start INTEGER NOT NULL, pack INTEGER NOT NULL, PRIMARY KEY (start, pack)
) WITHOUT ROWID;
CREATE TABLE listed (at_s REAL NOT NULL);
"""


class BlobIndex:
    """One org's index, in a file, or in memory when `path` is None.

    What SQLite fails at is of no consequence: then nothing is known, or nothing is remembered.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._database = self._open()

    def find(self, kind: BlobKind, names: Sequence[BlobHash]) -> dict[BlobHash, list[PackRef]]:
        """For each blob the packs that may hold it; those that none may hold are left out."""
        by_start = {_start(name): name for name in names}
        starts = list(by_start)
        found: dict[BlobHash, list[PackRef]] = {}
        with self._using() as database:
            for first in range(0, len(starts), _AT_ONCE):
                some = starts[first : first + _AT_ONCE]
                rows = database.execute(
                    "SELECT start, name, size, index_size, shared FROM blobs"  # noqa: S608
                    " JOIN packs ON packs.id = blobs.pack"
                    f" WHERE start IN ({','.join('?' * len(some))}) AND kind = ?",
                    (*some, KIND_CODES[kind]),
                )
                for start, *told in rows:
                    found.setdefault(by_start[start], []).append(_ref(*told))
        return found

    def add(self, kind: BlobKind, ref: PackRef, index: PackIndex) -> None:
        """Remember what a pack holds."""
        with self._using() as database:
            row = database.execute(
                "INSERT OR IGNORE INTO packs (kind, name, size, index_size, shared)"
                " VALUES (?, ?, ?, ?, ?) RETURNING id",
                (KIND_CODES[kind], ref.name, ref.size_bytes, ref.index_bytes, ref.shared),
            ).fetchone()
            if row is not None:
                starts = sorted({start for (start,) in _START.iter_unpack(index.hashes)})
                # Many in one statement: Python's lock is let go of for each.
                for first in range(0, len(starts), _AT_ONCE):
                    some = starts[first : first + _AT_ONCE]
                    rows = ",".join(["(?, ?)"] * len(some))
                    pairs = [number for start in some for number in (start, row[0])]
                    database.execute(f"INSERT OR IGNORE INTO blobs VALUES {rows}", pairs)  # noqa: S608

    def forget(self, kind: BlobKind, refs: Iterable[PackRef]) -> None:
        """These packs are not there any more."""
        with self._using() as database:
            for ref in refs:
                where = (KIND_CODES[kind], ref.name, ref.shared)
                which = "SELECT id FROM packs WHERE kind = ? AND name = ? AND shared = ?"
                database.execute(f"DELETE FROM blobs WHERE pack IN ({which})", where)  # noqa: S608
                database.execute(
                    "DELETE FROM packs WHERE kind = ? AND name = ? AND shared = ?", where
                )

    def packs(self) -> set[tuple[BlobKind, PackRef]]:
        """Every pack that is known."""
        found: set[tuple[BlobKind, PackRef]] = set()
        with self._using() as database:
            rows = database.execute("SELECT kind, name, size, index_size, shared FROM packs")
            found.update((KINDS_BY_CODE[kind], _ref(*told)) for kind, *told in rows)
        return found

    def listed_at_s(self) -> float:
        """When all packs were listed last, in seconds since 1970; 0 for never."""
        found: list[float] = []
        with self._using() as database:
            found += (at_s for (at_s,) in database.execute("SELECT at_s FROM listed"))
        return max(found, default=0.0)

    def note_listing(self, at_s: float) -> None:
        """All packs were listed, and are known."""
        with self._using() as database:
            database.execute("DELETE FROM listed")
            database.execute("INSERT INTO listed VALUES (?)", (at_s,))

    def close(self) -> None:
        """Let go of the file; what is in memory stays."""
        if self._path is not None:
            with self._lock, contextlib.suppress(sqlite3.Error):
                self._database.close()

    # -- inside --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """One transaction, alone."""
        with self._lock:
            try:
                with self._database:
                    yield self._database
            except sqlite3.OperationalError:
                pass  # busy, full, read-only: what is not remembered is only stored again
            except sqlite3.DatabaseError:
                self._begin_anew()

    def _open(self) -> sqlite3.Connection:
        if self._path is not None:
            with contextlib.suppress(sqlite3.Error, OSError):
                return _opened(self._path)
            with contextlib.suppress(sqlite3.Error, OSError):
                _delete(self._path)
                return _opened(self._path)
        return _opened(None)

    def _begin_anew(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._database.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                _delete(self._path)
        self._database = self._open()


class BlobIndexes:
    """The indexes of all orgs, in files below `folder`; in memory when it is None."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._in_memory: dict[OrgId, BlobIndex] = {}

    def open(self, org: OrgId) -> BlobIndex:
        """The org's index; who opened it must close it. Blocks."""
        if self._folder is None:
            index = self._in_memory.get(org)
            if index is None:
                index = self._in_memory[org] = BlobIndex(None)
            return index
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return BlobIndex(self._folder / f"{safe_org(org)}.blobs.sqlite3")


def _start(name: bytes) -> int:
    """The first eight bytes of a hash: enough for a hint."""
    return int.from_bytes(name[:8], "little", signed=True)


def _ref(name: str, size: int, index_size: int, shared: int) -> PackRef:
    return PackRef(PackName(name), size, index_size, bool(shared))


def _opened(path: Path | None) -> sqlite3.Connection:
    database = sqlite3.connect(path or ":memory:", timeout=30, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")
        with database:
            database.execute("BEGIN IMMEDIATE")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if version not in {0, _VERSION}:
                raise sqlite3.DatabaseError("an index of another version")
            if not version:
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {_VERSION}")
    except BaseException:
        database.close()
        raise
    return database


def _delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
