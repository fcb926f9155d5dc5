"""Ours and the peers, each saving a workspace into one bucket and bringing it back."""

import asyncio
import os
import queue
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from limpet import __version__
from limpet.control.sandboxes.streams import from_thread
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.delta import stream_delta
from limpet.snapshots.lineage import BranchRef, Head
from limpet.snapshots.repository import SnapshotRepository
from limpet.snapshots.restore_tree import restore_stream
from limpet.snapshots.statcache import StatCaches
from limpet.stores.base import SandboxStore
from limpet.stores.degradable import DegradableStore
from limpet.stores.pack_cache import CachedStore, PackCache
from limpet.stores.settings import BUCKET, ENDPOINT, FORCE_PATH_STYLE, PREFIX, open_store

ORG: Final = OrgId("bench")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where everybody saves, each below a prefix of its own."""

    endpoint: str
    name: str
    credentials: Mapping[str, str]


class Tool(Protocol):
    """One that saves into a bucket."""

    name: str

    def save(self, workspace: Path) -> None:
        """The workspace as it is now."""
        ...

    def restore(self, into: Path) -> None:
        """What was saved last, into a folder that is not there yet."""
        ...


class Limpet:
    """Ours: daemon and control plane, without the HTTP between them."""

    def __init__(self, bucket: Bucket, prefix: str, scratch: Path, *, cached: bool) -> None:
        self.name = "Limpet, packs at hand" if cached else "Limpet"
        self.ref = BranchRef(ORG, AgentId("agent"), Branch("main"))
        self.head: Head | None = None
        self._scratch = scratch / prefix
        environ = {
            BUCKET: bucket.name, ENDPOINT: bucket.endpoint, FORCE_PATH_STYLE: "1", PREFIX: prefix,
        }  # fmt: skip
        os.environ.update(bucket.credentials)
        store: SandboxStore = DegradableStore(open_store(environ, scratch))
        if cached:
            store = CachedStore(store, PackCache(self._scratch / "packs", 4 << 30))
        self.repository = SnapshotRepository(store, self._scratch / "cache")

    def version(self) -> str:
        return f"limpet {__version__}"

    def save(self, workspace: Path) -> None:
        stream = stream_delta(
            workspace, caches=StatCaches(self._scratch / "stats"),
            base=self.head.blake3 if self.head else None,
            fields={"activity_seq": 1, "boot_id": "bench"},
        )  # fmt: skip

        async def store() -> Head:
            saved = await self.repository.save_packed(
                self.ref, from_thread(stream), base=self.head, reason="idle",
                parent=self.head.snapshot if self.head else None, fencing=1,
                expected_generation=self.head.generation if self.head else 0,
            )  # fmt: skip
            return saved.head

        self.head = asyncio.run(store())

    def restore(self, into: Path) -> None:
        assert self.head is not None
        chunks = Chunks(self.repository.open_packed(self.head))
        restore_stream(chunks, into, expect_root=self.head.blake3)

    def fork(self, number: int, *, agent: str) -> Head:
        """Begin another branch with the last snapshot."""
        assert self.head is not None
        ref = BranchRef(ORG, AgentId(agent), Branch(f"fork-{number}"))
        return asyncio.run(
            self.repository.adopt(
                self.head, ref=ref, reason="fork", parent=None, fencing=1, expected_generation=0
            )
        )


class Restic:
    """restic's own S3 backend, with its defaults."""

    name = "restic"

    def __init__(self, bucket: Bucket, prefix: str, scratch: Path) -> None:
        self._environ = {
            **os.environ, **bucket.credentials, "RESTIC_PASSWORD": "bench",
            "RESTIC_REPOSITORY": f"s3:{bucket.endpoint}/{bucket.name}/{prefix}",
            "RESTIC_CACHE_DIR": str(scratch / prefix / "cache"),
        }  # fmt: skip
        self._run("init")

    def save(self, workspace: Path) -> None:
        self._run("backup", "--quiet", ".", cwd=workspace)

    def restore(self, into: Path) -> None:
        self._run("restore", "--quiet", "latest", "--target", str(into))

    def _run(self, *argv: str, cwd: Path | None = None) -> None:
        _run(["restic", *argv], self._environ, cwd)


class Rclone:
    """rclone with its defaults: the tree file by file, or one tar of it."""

    def __init__(self, bucket: Bucket, prefix: str, _scratch: Path, *, tar: bool) -> None:
        self.name = "tar | rclone" if tar else "rclone"
        self._tar = tar
        self._environ = {
            **_without_clouds(), "RCLONE_CONFIG_B_TYPE": "s3", "RCLONE_CONFIG_B_PROVIDER": "Minio",
            "RCLONE_CONFIG_B_ENDPOINT": bucket.endpoint, "RCLONE_CONFIG": os.devnull,
            "RCLONE_CONFIG_B_ACCESS_KEY_ID": bucket.credentials["AWS_ACCESS_KEY_ID"],
            "RCLONE_CONFIG_B_SECRET_ACCESS_KEY": bucket.credentials["AWS_SECRET_ACCESS_KEY"],
            "RCLONE_S3_NO_CHECK_BUCKET": "true",
        }  # fmt: skip
        self._to = f"b:{bucket.name}/{prefix}"

    def save(self, workspace: Path) -> None:
        if self._tar:
            self._shell(
                f'set -o pipefail; tar -C "$1" -cf - . | rclone rcat {self._to}.tar', workspace
            )
        else:
            _run(["rclone", "sync", "--links", str(workspace), self._to], self._environ, None)

    def restore(self, into: Path) -> None:
        if self._tar:
            into.mkdir()
            self._shell(f'set -o pipefail; rclone cat {self._to}.tar | tar -C "$1" -xf -', into)
        else:
            _run(["rclone", "copy", "--links", self._to, str(into)], self._environ, None)

    def _shell(self, script: str, folder: Path) -> None:
        _run(["bash", "-c", script, "bash", str(folder)], self._environ, None)


def _without_clouds() -> dict[str, str]:
    """The environment without what is there for other clients of S3."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def _run(argv: Sequence[str], environ: Mapping[str, str], cwd: Path | None) -> None:
    done = subprocess.run(argv, env=environ, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stderr[-500:]}")


class Chunks:
    """An asynchronous stream read from a thread that blocks: one loop, a few chunks ahead."""

    def __init__(self, opening: object) -> None:
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(8)
        threading.Thread(target=lambda: asyncio.run(self._pump(opening)), daemon=True).start()

    async def _pump(self, opening: object) -> None:
        try:
            chunks: AsyncIterator[bytes] = await opening  # type: ignore[misc]
            async for chunk in chunks:
                self._queue.put(chunk)
            self._queue.put(None)
        except BaseException as error:  # noqa: BLE001 (raised where it is read)
            self._queue.put(error)

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._queue.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk
