"""Everything that a local store holds, as it lies there and unpacked; read by the oracle."""

from collections.abc import Iterator
from pathlib import Path

from tests.snapshots.oracle import read_pack


def contents_of(store: Path) -> Iterator[tuple[str, bytes]]:
    """Each object's name and bytes, and those of each blob in the packs."""
    for path in sorted(store.rglob("*")):
        if not path.is_file():
            continue
        name, data = str(path.relative_to(store)), path.read_bytes()
        yield name, data
        if path.parent.name in {"packs", "trees"}:
            for blob in read_pack(data).blobs():
                yield f"{name} (a blob)", blob
