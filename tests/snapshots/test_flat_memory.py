"""The control plane's memory does not grow with a workspace's size."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from limpet.snapshots.blobs import BlobHash, hash_of
from limpet.snapshots.frame import FrameDraft, encode_frame
from limpet.snapshots.lineage import root_fields
from limpet.snapshots.node import FILE, FOLDER, Entry, Root
from limpet.snapshots.node_encode import encode_folder
from limpet.snapshots.wire import StreamWriter
from tests.snapshots.packed_streams import RECEIPT
from tests.snapshots.trees import scratch_folder

FILES = 60_000
LIMIT_BYTES = 150 << 20
RUN = """
import asyncio, sys
from pathlib import Path
from tests.snapshots import test_flat_memory
asyncio.run(test_flat_memory.run(sys.argv[1], Path(sys.argv[2])))
print(test_flat_memory.peak_bytes())
"""


def peak_bytes() -> int:
    """Of this program alone: what `getrusage` tells counts who started it, too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not tell")


def large_save() -> Iterator[bytes]:
    """A save of many small files, hard to compress, made while it is read."""
    writer = StreamWriter("save")
    yield writer.header({"base": None, "activity_seq": 1, "boot_id": "b"})
    seed = b"".join(hash_of(number.to_bytes(4, "little")) for number in range(40_000))
    folders: list[bytes] = []
    entries: list[Entry] = []
    tops: list[Entry] = []
    draft = FrameDraft("data")
    for number in range(FILES):
        start = number * 7919 % (len(seed) - 4000)
        blob = number.to_bytes(4, "little") + seed[start : start + 3500 + number % 500]
        if not draft.fits(len(blob)):
            yield writer.frames(encode_frame("data", draft.blobs))
            draft = FrameDraft("data")
        draft.add(blob)
        name = b"%05d.js" % (number % 10)
        entries.append(Entry(name, FILE, 0o644, number, len(blob), hash_of(blob)))
        if len(entries) == 10:
            tops.append(_folder(b"p%06d" % number, entries, folders))
            entries = []
    yield writer.frames(encode_frame("data", draft.blobs))
    top = _folder(b"", tops, folders)
    trees = FrameDraft("tree")
    for folder in folders:
        if not trees.fits(len(folder)):
            yield writer.frames(encode_frame("tree", trees.blobs))
            trees = FrameDraft("tree")
        trees.add(folder)
    yield writer.frames(encode_frame("tree", trees.blobs))
    assert top.hash is not None
    yield writer.end({"root": root_fields(Root(top.hash, 0o755, 1)), "receipt": RECEIPT})


def _folder(name: bytes, entries: list[Entry], folders: list[bytes]) -> Entry:
    def emit(blob: bytes, _: BlobHash) -> None:
        folders.append(blob)

    return Entry(name, FOLDER, 0o755, 1, 0, encode_folder(entries, emit))


async def run(what: str, folder: Path) -> None:
    from limpet.ids import AgentId, Branch, OrgId
    from limpet.snapshots.repository import BranchRef, SnapshotRepository
    from limpet.stores.local import LocalStore
    from tests.snapshots.engine import over

    ref = BranchRef(OrgId("acme"), AgentId("a"), Branch("main"))
    repository = SnapshotRepository(LocalStore(folder / "store"), folder / "cache")
    if what == "save":
        await repository.save_packed(
            ref, over(large_save()), base=None, reason="idle", parent=None, fencing=1,
            expected_generation=0,
        )  # fmt: skip
        return
    head = await repository.head(ref)
    assert head is not None
    async for _ in await repository.open_packed(head):
        pass


@pytest.mark.parametrize("what", ["save", "restore"])
def test_many_files_need_little_memory(what: str) -> None:
    root = Path(__file__).parents[2]
    with scratch_folder() as folder:
        for step in ["save"] if what == "save" else ["save", "restore"]:
            ran = subprocess.run(
                [sys.executable, "-c", RUN, step, str(folder)],
                check=True, capture_output=True, text=True, cwd=root,
            )  # fmt: skip
        assert int(ran.stdout) < LIMIT_BYTES
