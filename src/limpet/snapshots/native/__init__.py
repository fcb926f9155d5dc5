"""The floor of the engine: list a folder, read small files, make files, hash blobs, each in one
call.

Compiled where a compiler was there when Limpet was installed, else in Python; `LIMPET_WITHOUT` with
`native` in it forces the second (see limpet.snapshots.kernel). Both give the same results.
"""

import os
from typing import Final, Literal

from limpet.snapshots.native.new_files import NameColumn, NewFiles, WriteJobs, Written
from limpet.snapshots.native.records import (
    CHANGED,
    ENTRY,
    Columns,
    EntryStat,
    Listing,
    Listings,
    ReadFiles,
    columns_of,
    pack_records,
    parse_records,
)

__all__ = [
    "CHANGED", "ENTRY", "KIND", "Columns", "EntryStat", "Listing", "Listings", "NameColumn",
    "NewFiles", "ReadFiles", "WriteJobs", "Written", "columns_of", "compare_listings",
    "hash_blobs", "pack_records", "parse_records", "read_files", "scan_folder", "write_files",
]  # fmt: skip


def _choose() -> Literal["compiled", "plain"]:
    if "native" in os.environ.get("LIMPET_WITHOUT", "").split(","):
        return "plain"
    try:
        import limpet.snapshots.native.compiled  # noqa: F401
    except ImportError:
        return "plain"
    return "compiled"


KIND: Final = _choose()

if KIND == "compiled":
    from limpet.snapshots.native.compiled import (
        compare_listings,
        hash_blobs,
        read_files,
        scan_folder,
        write_files,
    )
else:
    from limpet.snapshots.native.plain import (
        compare_listings,
        hash_blobs,
        read_files,
        scan_folder,
        write_files,
    )
