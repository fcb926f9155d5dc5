"""The fast way through a folder of plain files and sub-folders, which nearly every folder is.

Gives columns instead of one object an entry, checked as a whole. Never refuses anything itself:
what it is not sure of is for `limpet.snapshots.node.decode_node`, which says what is wrong. Pure.
"""

import struct
from itertools import accumulate, compress, pairwise
from operator import lt
from typing import Final, NamedTuple

from limpet.snapshots.blobs import HASH_BYTES, MAX_BLOB_BYTES, BlobHash, names_in
from limpet.snapshots.node import EMPTY_FILE, FILE, FOLDER, HEADER, MAX_MODE, SIGNATURE, Entry

_KINDS: Final = bytes((EMPTY_FILE, FILE, FOLDER))
_IS_FILE: Final = bytes(kind in {EMPTY_FILE, FILE} for kind in range(256))
_IS_FOLDER: Final = bytes(kind == FOLDER for kind in range(256))
_IS_BLOB: Final = bytes(kind == FILE for kind in range(256))
_EMPTY_FILES: Final = bytes((EMPTY_FILE,))


class FileColumns(NamedTuple):
    """A folder's files, by name. `hashes` has one for each file that is not empty."""

    names: list[bytes]
    modes: list[int]
    mtimes: list[int]
    sizes: list[int]
    hashes: list[BlobHash]
    folders: list[Entry]
    """The sub-folders, by name."""


def file_columns(blob: bytes) -> FileColumns | None:
    """The columns of a whole, valid node of files and folders; None for every other blob."""
    if len(blob) < HEADER.size:
        return None
    signature, level, zeros, count = HEADER.unpack_from(blob)
    names_at = HEADER.size + 20 * count
    if signature != SIGNATURE or level or zeros != bytes(3) or names_at > len(blob):
        return None
    kinds = blob[HEADER.size : HEADER.size + count]
    lengths = blob[HEADER.size + count : HEADER.size + 2 * count]
    hashes_at = names_at + sum(lengths)
    text = blob[names_at:hashes_at]
    if (
        kinds.translate(None, _KINDS)
        or len(blob) != hashes_at + HASH_BYTES * (count - kinds.count(EMPTY_FILE))
        or 0 in lengths
        or b"/" in text
        or b"\0" in text
    ):
        return None
    columns = struct.unpack_from(f"<{count}H{count}q{count}Q", blob, HEADER.size + 2 * count)
    modes, mtimes, sizes = columns[:count], columns[count : 2 * count], columns[2 * count :]
    names = [text[start:end] for start, end in pairwise(accumulate(lengths, initial=0))]
    of_blobs = list(compress(sizes, kinds.translate(_IS_BLOB)))
    if (
        max(modes, default=0) > MAX_MODE
        or not all(map(lt, names, names[1:]))
        or b"." in names
        or b".." in names
        or sum(sizes) != sum(of_blobs)
        or (of_blobs and not 0 < min(of_blobs) <= max(of_blobs) <= MAX_BLOB_BYTES)
    ):
        return None
    hashes = names_in(blob[hashes_at:])
    if FOLDER not in kinds:
        return FileColumns(names, list(modes), list(mtimes), list(sizes), hashes, [])
    is_folder, is_file = kinds.translate(_IS_FOLDER), kinds.translate(_IS_FILE)
    hashed = kinds.translate(None, _EMPTY_FILES)
    nodes = compress(hashes, hashed.translate(_IS_FOLDER))
    looks = compress(zip(names, modes, mtimes, strict=True), is_folder)
    return FileColumns(
        list(compress(names, is_file)),
        list(compress(modes, is_file)),
        list(compress(mtimes, is_file)),
        list(compress(sizes, is_file)),
        list(compress(hashes, hashed.translate(_IS_BLOB))),
        [
            Entry(name, FOLDER, mode, mtime_ns, 0, node)
            for (name, mode, mtime_ns), node in zip(looks, nodes, strict=True)
        ],
    )
