"""How the golden repository was made: `python -m tests.snapshots.golden.make <a new folder>`.

Kept for the day on which a version 2 needs one of its own. It is not run by tests: the bytes in
`store` and `streams` are what version 1 wrote once, and stay as they are for ever.
"""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path

from limpet.ids import AgentId, Branch, OrgId, SnapshotId
from limpet.snapshots.heads import HeadStore
from limpet.snapshots.lineage import BranchRef, Head
from limpet.snapshots.repository import SaveSupersededError
from limpet.snapshots.tar_write import stream_tar
from limpet.stores.keys import legacy_tar_key, pack_key
from tests.snapshots import oracle
from tests.snapshots.engine import Engine, over
from tests.snapshots.golden import listing
from tests.snapshots.packed_streams import save_stream
from tests.snapshots.packed_trees import pack_folder
from tests.snapshots.trees import File, Folder, Hard, Link, build

REF = BranchRef(OrgId("org"), AgentId("Agent Ü"), Branch("feature/Größe"))
TEMPLATE_REF = BranchRef(OrgId("org"), AgentId("from-template"), Branch("main"))
MIB = 1 << 20


def first_state() -> Folder:
    """Everything that a workspace may hold."""
    many = {b"entry-%05d" % n: File(b"%d" % n, 0o644, 10**18 + n) for n in range(300)}
    return Folder(
        {
            b"a-file": File(b"the content of a file\n"),
            b"empty": File(b""),
            b"executable": File(b"#!/bin/sh\n", 0o755),
            b"read-only": File(b"do not write", 0o400),
            b"no-mode": File(b"nobody may", 0o000),
            b"sticky": Folder({}, 0o1777, -1),
            b"empty-folder": Folder({}, 0o700, 0),
            b"closed": Folder({b"inside": File(b"within a read-only folder")}, 0o500),
            b"many": Folder(many),
            b"nested": Folder({b"x": Folder({b"y": Folder({b"z": File(b"deep")})})}),
            b"link": Link(b"a-file"),
            b"link-out": Link(b"/etc/hostname"),
            b"link-dangling": Link(b"no\nsuch\xff"),
            b"hard-1": Hard(b"a-file"),
            b"hard-of-link": Hard(b"link"),
            b"later": Folder({b"hard-2": Hard(b"a-file"), b"hard-empty": Hard(b"empty")}),
            b"large": File(b"limpet! " * (MIB // 8) * 66 + b"end"),
            b"sparse": File(
                segments=[(0, b"begin"), (40 * MIB, b"middle" * 1000)], size=60 * MIB, mode=0o600
            ),
            b"hole": File(segments=[], size=9 * MIB),
            b"\xff\xfe not UTF-8 \x01\n\t": File(b"odd"),
            "漢字 é e\u0301".encode(): File("UTF-8 ✓".encode()),
            b"n" * 255: File(b"255 bytes of name"),
            b" ": File(b"a blank"),
            b"-rf": File(b"a dash"),
            b"old": File(b"before 1970", mtime_ns=-1_234_567_890_123_456_789),
            b"far": File(b"in 2200", mtime_ns=7_258_118_400_000_000_001),
        },
        mode=0o750,
    )


def make(folder: Path) -> None:
    (folder / "work").mkdir(parents=True)
    engine = Engine(folder / "work", REF)
    workspace = build(engine.workspace, first_state())
    engine.save(reason="idle")
    (workspace / "a-file").write_bytes(b"changed")
    for number in range(100, 110):
        (workspace / "many" / f"entry-{number:05}").unlink()
    (workspace / "many" / "entry-00200x").write_bytes(b"one more")
    os.utime(workspace / "many", ns=(5, 5))
    second = engine.save(reason="interval")
    (workspace / "large").unlink()
    for number in range(110, 300):
        (workspace / "many" / f"entry-{number:05}").unlink()
    (workspace / "many" / "entry-00001").write_bytes(b"")
    asyncio.run(_save_tar(engine))
    shutil.rmtree(workspace / "later")
    (workspace / "hard-1").unlink()
    fourth = engine.save(reason="manual", from_head=False)
    asyncio.run(_side_lineage(engine, fourth))
    asyncio.run(_cut_small(engine))
    asyncio.run(_template(engine, second))
    asyncio.run(_legacy(engine))
    _streams(engine, fourth, folder / "streams")
    (folder / "work" / "store").rename(folder / "store")
    _listing(folder)
    (workspace / "closed").chmod(0o700)
    shutil.rmtree(folder / "work")


async def _save_tar(engine: Engine) -> None:
    before = engine.head
    assert before is not None
    engine.head = await engine.repository.save_tar(
        REF,
        over(stream_tar(engine.workspace)),
        reason="before-restore",
        parent=before.snapshot,
        fencing=2,
        expected_generation=before.generation,
        name="as a plain tar",
    )


async def _side_lineage(engine: Engine, base: Head) -> None:
    """A lost race, and a second save on the side."""
    for expected, lineage, text in ((base.generation - 1, None, b"lost"), (1, "side", b"again")):
        (engine.workspace / "on-the-side").write_bytes(text)
        side = engine.head if lineage else base
        assert side is not None
        try:
            saved = await engine.repository.save_packed(
                REF,
                over(engine.delta(base=side)),
                base=side,
                reason="stop",
                parent=side.snapshot,
                fencing=3,
                lineage=side.lineage,
                expected_generation=expected,
            )
            engine.head = saved.head
        except SaveSupersededError as error:
            engine.head = error.head


async def _cut_small(engine: Engine) -> None:
    """A state that somebody else cut: a file of 200 blobs, which has chunk tables."""
    other = build(
        engine.folder / "other",
        Folder({b"cut": File(bytes(range(256)) * 40), b"z": Folder({b"cut-too": Hard(b"cut")})}),
    )
    await engine.repository.save_packed(
        BranchRef(OrgId("org"), AgentId("cut"), Branch("main")),
        over(iter([save_stream(pack_folder(other, cut_bytes=51))])),
        base=None,
        reason="import",
        parent=None,
        fencing=0,
        expected_generation=0,
    )


async def _template(engine: Engine, head: Head) -> None:
    """A head whose packs lie in the templates' space."""
    assert head.packed is not None
    for kind, refs in (("data", head.packed.packs), ("tree", head.packed.trees)):
        for ref in refs:
            chunks = await engine.store.get(pack_key(REF.org, kind, ref.name))  # type: ignore[arg-type]
            assert chunks is not None
            shared = pack_key(REF.org, kind, ref.name, shared=True)  # type: ignore[arg-type]
            await engine.store.put(shared, chunks)
    packed = replace(
        head.packed,
        packs=tuple(replace(ref, shared=True) for ref in head.packed.packs),
        trees=tuple(replace(ref, shared=True) for ref in head.packed.trees),
        stored_bytes=0,
        counts=None,
    )
    await HeadStore(engine.store).create(
        replace(
            head,
            ref=TEMPLATE_REF,
            generation=1,
            snapshot=SnapshotId("20260101t000000z-golden"),
            parent=None,
            reason="start",
            packed=packed,
        )
    )


async def _legacy(engine: Engine) -> None:
    """A tar of the older layout."""
    small = build(engine.folder / "small", Folder({b"a": File(b"1"), b"b": Hard(b"a")}))
    key = legacy_tar_key(OrgId("org"), AgentId("older"), Branch("main"))
    await engine.store.put(key, over(stream_tar(small)))


def _streams(engine: Engine, head: Head, into: Path) -> None:
    into.mkdir()
    (engine.workspace / "a-file").write_bytes(b"changed once more")
    (into / "save").write_bytes(b"".join(engine.delta(base=engine.head)))
    (into / "restore").write_bytes(b"".join(engine.stream(head)))

    async def plan() -> AsyncIterator[bytes]:
        return await engine.repository.open_packed(head, flow="plan")

    async def read() -> bytes:
        return b"".join([chunk async for chunk in await plan()])

    (into / "plan").write_bytes(asyncio.run(read()))


def _listing(folder: Path) -> None:
    store = folder / "store"
    told = {}
    for path in sorted(_heads(store)):
        key = path.relative_to(store).as_posix()
        read = oracle.read_snapshot(store, key)
        rows = listing.of_items(read.items) if read.items is not None else None
        told[key] = rows if rows is not None else listing.of_tar(read.tar or b"")
    for name in ("restore",):
        items = oracle.read_restore((folder / "streams" / name).read_bytes())
        told[f"streams/{name}"] = listing.of_items(items)
    text = "{\n" + ",\n".join(
        json.dumps(key) + ": [\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"
        for key, rows in told.items()
    )
    (folder / "listing.json").write_text(text + "\n}\n")


def _heads(store: Path) -> Iterable[Path]:
    return (path for path in store.rglob("*") if path.is_file() and "/heads/" in str(path))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
