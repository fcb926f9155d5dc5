"""What a snapshot holds, as JSON: the form in which the golden repository's content is kept.

Paths and targets are bytes as latin-1; of contents there is the hash, holes being zeros, and where
the data lies, which not every file system tells.
"""

import io
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from blake3 import blake3

from tests.snapshots import oracle

Row = dict[str, Any]


def of_items(items: Iterable[oracle.Item]) -> list[Row]:
    """What the oracle read, in the order of a walk."""
    return [_of_item(item) for item in items]


def _of_item(item: oracle.Item) -> Row:
    content = None
    if item.data is not None:
        whole = bytearray(item.size)
        for offset, piece in item.data:
            whole[offset : offset + len(piece)] = piece
        content = bytes(whole)
    row = _row(item.path, item.kind, item.mode, item.mtime_ns, content=content, target=item.target)
    if item.data is not None:
        row["segments"] = [[offset, len(piece)] for offset, piece in item.data]
    return row


def of_folder(top: Path) -> list[Row]:
    """What lies on disk, in the order of a walk, without segments."""
    return list(_below(os.fsencode(top), b"", {}))


def without_segments(rows: Iterable[Row]) -> list[Row]:
    """The same without what only the format tells."""
    return [{name: value for name, value in row.items() if name != "segments"} for row in rows]


def _below(top: bytes, above: bytes, met: dict[tuple[int, int], bytes]) -> Iterator[Row]:
    folders = []
    for name in sorted(os.listdir(top)):
        path = above + name
        place = top + b"/" + name
        status = os.lstat(place)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            folders.append((place, path, mode, status.st_mtime_ns))
            continue
        first = met.setdefault((status.st_dev, status.st_ino), path)
        if first != path:
            yield _row(path, "hard link", 0, 0, target=first)
        elif stat.S_ISLNK(status.st_mode):
            yield _row(path, "symlink", 0, status.st_mtime_ns, target=os.readlink(place))  # noqa: PTH115
        else:
            with open(place, "rb") as file:  # noqa: PTH123 (no Path has a name that is no text)
                content = file.read()
            yield _row(path, "file", mode, status.st_mtime_ns, content=content)
    for place, path, mode, mtime_ns in folders:
        yield _row(path, "folder", mode, mtime_ns)
        yield from _below(place, path + b"/", met)


def of_tar(tar: bytes) -> list[Row]:
    """What Python's own reader finds in a plain tar of ours, in the order of a walk."""
    rows = []
    with tarfile.open(fileobj=io.BytesIO(tar), errors="surrogateescape") as opened:
        for member in opened:
            path = os.fsencode(member.name.rstrip("/"))
            mtime = member.pax_headers.get("mtime", str(int(member.mtime)))
            mtime_ns = int(Decimal(mtime) * 10**9)
            if path in {b".", b""}:
                continue
            if member.isdir():
                rows.append(_row(path, "folder", member.mode, mtime_ns))
            elif member.issym():
                rows.append(_row(path, "symlink", 0, mtime_ns, target=os.fsencode(member.linkname)))
            elif member.islnk():
                rows.append(_row(path, "hard link", 0, 0, target=os.fsencode(member.linkname)))
            else:
                file = opened.extractfile(member)
                assert file is not None
                rows.append(_row(path, "file", member.mode, mtime_ns, content=file.read()))
    return sorted(rows, key=_in_walk)


def _in_walk(row: Row) -> tuple[list[tuple[bool, str]], bool]:
    *above, name = row["path"].split("/")
    return [*((True, part) for part in above), (row["kind"] == "folder", name)], False


def _row(
    path: bytes,
    kind: str,
    mode: int,
    mtime_ns: int,
    *,
    content: bytes | None = None,
    target: bytes | None = None,
) -> Row:
    row: Row = {"path": path.decode("latin-1"), "kind": kind, "mode": mode, "mtime_ns": mtime_ns}
    if content is not None:
        row["size"] = len(content)
        row["blake3"] = blake3(content).hexdigest()
    if target is not None:
        row["target"] = target.decode("latin-1")
    return row
