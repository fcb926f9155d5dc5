"""A store with some history in it, and every way in which an object of it can be damaged."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from limpet.ids import OrgId
from limpet.snapshots.check import check
from limpet.snapshots.findings import Finding
from limpet.snapshots.frame import decode_frame, read_frame_header
from limpet.snapshots.lineage import Head
from limpet.snapshots.tar_write import stream_tar
from limpet.stores.keys import head_key
from limpet.stores.local import LocalStore
from tests.snapshots.engine import REF, Engine, objects, over
from tests.snapshots.trees import Description, describe

Damage = Callable[[bytes, bytes], bytes | None]
"""From an object's bytes, and another object's of its kind, what lies there instead."""


def changed_at(body: bytes, at: int) -> bytes:
    """The bytes with another one there."""
    return body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :]


def _flip(part: float) -> Damage:
    return lambda body, _: changed_at(body, min(len(body) - 1, int(len(body) * part)))


DAMAGES: dict[str, Damage] = {
    **{f"a byte at {part:.0%} changed": _flip(part) for part in (0, 0.1, 0.3, 0.5, 0.7, 0.9, 1)},
    "cut to nothing": lambda body, _: b"",
    "cut to half": lambda body, _: body[: len(body) // 2],
    "cut by a byte": lambda body, _: body[:-1],
    "its beginning lost": lambda body, _: body[9:],
    "a piece lost": lambda body, _: body[: len(body) // 2] + body[len(body) // 2 + 5 :],
    "a piece put in": lambda body, _: body[: len(body) // 2] + b"?" * 5 + body[len(body) // 2 :],
    "something appended": lambda body, _: body + b"\0",
    "all zeros": lambda body, _: bytes(len(body)),
    "another object's bytes": lambda body, other: other,
    "gone": lambda body, _: None,
}


class Past:
    """A branch's history: three packed snapshots, one plain tar, and one more packed one."""

    def __init__(self, folder: Path) -> None:
        self.engine = Engine(folder)
        self.store = folder / "store"
        self.heads: list[Head] = []
        self.looked: list[Description] = []
        work = self.engine.workspace
        (work / "docs").mkdir(parents=True)
        (work / "docs" / "kept").write_bytes(b"kept since the first " * 40)
        (work / "first").write_bytes(os.urandom(1 << 20))
        (work / "large").write_bytes(os.urandom(4 << 20))
        self._save()
        (work / "first").unlink()
        (work / "second").write_bytes(b"from the second on " * 30)
        self._save()
        (work / "docs" / "third").write_bytes(b"from the third on " * 30)
        os.link(work / "second", work / "docs" / "second-too")
        self._save()
        self._save_tar()
        (work / "fifth").write_bytes(b"from the fifth on " * 30)
        self._save()

    def _save(self) -> None:
        tree = self.engine.head is not None and self.engine.head.kind == "tree"
        self._done(self.engine.save(from_head=tree or self.engine.head is None))

    def _save_tar(self) -> None:
        before = self.engine.head
        assert before is not None
        head = asyncio.run(
            self.engine.repository.save_tar(
                REF,
                over(stream_tar(self.engine.workspace)),
                reason="manual",
                parent=before.snapshot,
                fencing=1,
                expected_generation=before.generation,
            )
        )
        self.engine.head = head
        self._done(head)

    def _done(self, head: Head) -> None:
        self.heads.append(head)
        self.looked.append(describe(self.engine.workspace))

    def objects(self, kind: str) -> list[Path]:
        """The objects of a kind: heads, packs, trees, tars."""
        return [path for path in objects(self.store) if kind in path.relative_to(self.store).parts]

    def lose(self, name: str, number: int, store: Path | None = None) -> Path:
        """Damage the frame that holds the first bytes of a file of one of the snapshots.

        `store` is a copy of this one.
        """
        content = self.looked[number][b"/" + name.encode()][1]
        assert isinstance(content, bytes)
        for path in sorted(((store or self.store) / "v1/org/packs").iterdir()):
            body = path.read_bytes()
            for start, length in frames_in(body):
                if content[:100] in decode_frame(body[start : start + length]).raw:
                    put(path, changed_at(body, start + length // 2))
                    return path
        raise LookupError(name)

    def key(self, path: Path) -> str:
        return path.relative_to(self.store).as_posix()

    def findings(self, *, read_data: bool = True) -> list[Finding]:
        return findings(self.store, read_data=read_data)

    def damage(self, *, read_data: bool = True) -> list[Finding]:
        return [one for one in self.findings(read_data=read_data) if one.damage]


def findings(store: Path, org: str = "org", *, read_data: bool = True) -> list[Finding]:
    async def run() -> list[Finding]:
        found = check(LocalStore(store), OrgId(org), read_data=read_data)
        return [finding async for finding in found]

    return asyncio.run(run())


def frames_in(pack: bytes) -> Iterator[tuple[int, int]]:
    """Where the frames of a pack that is whole begin, and how long each is."""
    at = 16
    while pack[at + 8 : at + 12] == b"LFR1":
        length = read_frame_header(pack, at).length
        yield at, length
        at += length


def key_of(head: Head) -> str:
    ref = head.ref
    return head_key(ref.org, ref.agent, ref.branch, head.generation, head.lineage)


def put(path: Path, body: bytes | None) -> None:
    """Let these bytes lie there, or none."""
    if body is None:
        path.unlink()
    else:
        path.write_bytes(body)


def each_damage(paths: list[Path]) -> Iterator[tuple[str, Path, bytes | None]]:
    """Every damage of every one of these objects."""
    for number, path in enumerate(paths):
        body = path.read_bytes()
        other = paths[number - 1].read_bytes() if len(paths) > 1 else b"something else"
        for name, damage in DAMAGES.items():
            yield name, path, damage(body, other)
