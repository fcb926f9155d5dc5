"""Peak memory: each half of a save and of a restore in a process of its own.

`python -m bench.snapshots.memory PART WORKSPACE STATE` does one and prints its peak in bytes.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from bench.snapshots.ours import REF, repository_of
from limpet.memory import share_one_arena
from limpet.snapshots.delta import stream_delta
from limpet.snapshots.lineage import Head
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.statcache import StatCaches

PARTS: Final = ("scan", "receive", "send", "restore")
TOLD: Final = {
    "scan": "daemon, save",
    "receive": "control plane, save",
    "send": "control plane, restore",
    "restore": "daemon, restore",
}
_PIECE: Final = 256 << 10


def peaks(workspace: Path, scratch: Path) -> dict[str, int]:
    """The peak of each part, in bytes of resident memory, the interpreter's own included."""
    found = {}
    for part in PARTS:
        done = subprocess.run(
            [sys.executable, "-m", "bench.snapshots.memory", part, str(workspace), str(scratch)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found[part] = int(done.stdout)
    return found


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


async def _over(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _receive(scratch: Path) -> None:
    await repository_of(scratch / "state").save_packed(
        REF, _over(_pieces(scratch / "save")), base=None, reason="idle", parent=None, fencing=1,
        expected_generation=0,
    )  # fmt: skip


async def _send(scratch: Path) -> None:
    repository = repository_of(scratch / "state")
    head: Head | None = (await repository.lookup(REF)).head
    assert head is not None
    with (scratch / "restore").open("wb") as out:
        async for piece in await repository.open_packed(head):
            out.write(piece)


def main() -> None:
    """Do one part."""
    share_one_arena()  # as the server and the daemon do
    part, workspace, scratch = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if part == "scan":
        stream = stream_delta(
            workspace, caches=StatCaches(scratch / "caches"), base=None,
            fields={"activity_seq": 1, "boot_id": "bench"},
        )  # fmt: skip
        with (scratch / "save").open("wb") as out:
            for chunk in stream:
                out.write(chunk)
    elif part == "receive":
        asyncio.run(_receive(scratch))
    elif part == "send":
        asyncio.run(_send(scratch))
    else:
        restore_stream(_pieces(scratch / "restore"), scratch / "into")
    status = Path("/proc/self/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None
    print(int(peak[1]) * 1024)


if __name__ == "__main__":
    main()
