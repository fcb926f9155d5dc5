"""A check and a repair of a damaged store, for the calls that are killed or failed one by one.

The newest snapshot can be had at any time, before the repair, wherever it ends, and after it; what
a check names only becomes less; and another repair ends as one that was let be.
"""

import asyncio
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

from limpet.ids import OrgId
from limpet.snapshots.lineage import Head, encode_head
from limpet.snapshots.repair import repair
from limpet.snapshots.repository import SnapshotRepository
from limpet.snapshots.tar_write import stream_tar
from limpet.stores.local import LocalStore
from tests.snapshots.damaging import changed_at, findings, frames_in, key_of
from tests.snapshots.engine import REF, Engine, objects, over
from tests.snapshots.trees import Description, describe

_FIRST = b"only in the first"


def prepare(folder: Path) -> None:
    """Four snapshots. The first lost a file and has a pack of folders without a header; the second
    lost nothing, though it lies in the pack that is damaged; the third is a tar that was cut; the
    last has nothing in common with them.
    """
    engine = Engine(folder)
    work = engine.workspace
    work.mkdir(parents=True)
    heads: list[Head] = []
    looked: list[Description] = []
    for number in range(4):
        if number in {0, 3}:
            (work / "kept").write_bytes(os.urandom(600_000))
        if number == 0:
            (work / "first").write_bytes(_FIRST + os.urandom(600_000))
        (work / "docs").mkdir(exist_ok=True)
        (work / "docs" / "changing").write_text(f"from {number} on " * 30)
        heads.append(_save_tar(engine) if number == 2 else engine.save(from_head=number == 1))
        looked.append(describe(work))
        (work / "first").unlink(missing_ok=True)
    store = folder / "store"
    head = store / key_of(heads[0])
    head.write_bytes(encode_head(replace(heads[0], name="the first")))
    _damage(store, heads)
    with_repair = folder / "reference"
    shutil.copytree(store, with_repair / "store")
    act_repair(with_repair)
    told = (heads, looked, _damaged(store), _lasting(with_repair / "store"), _contents(store))
    (folder / "known.pickle").write_bytes(pickle.dumps(told))
    shutil.rmtree(with_repair)


def _save_tar(engine: Engine) -> Head:
    assert engine.head is not None
    engine.head = asyncio.run(
        engine.repository.save_tar(
            REF,
            over(stream_tar(engine.workspace)),
            reason="manual",
            parent=engine.head.snapshot,
            fencing=1,
            expected_generation=engine.head.generation,
        )
    )
    return engine.head


def _damage(store: Path, heads: list[Head]) -> None:
    first, second, _, last = (head.packed for head in heads)
    assert first is not None
    assert second is not None
    assert last is not None
    [pack] = [store / f"v1/org/packs/{ref.name}" for ref in first.packs]
    body = pack.read_bytes()
    [start] = [at for at, length in frames_in(body) if _FIRST in body[at : at + length]]
    pack.write_bytes(changed_at(body, start + 300_000))
    [tree] = [store / f"v1/org/trees/{ref.name}" for ref in set(first.trees) - set(last.trees)]
    tree.write_bytes(bytes(16) + tree.read_bytes()[16:])
    [tar] = (store / "v1/org/tars/agent/main~").iterdir()
    tar.write_bytes(tar.read_bytes()[:-1])


def act_check(folder: Path) -> None:
    findings(folder / "store")


def judge_check(folder: Path, worked: bool) -> None:
    *_, before = _known(folder)
    assert worked
    assert _contents(folder / "store") == before, "a check changes nothing"


def act_repair(folder: Path) -> None:
    asyncio.run(repair(LocalStore(folder / "store"), OrgId("org")))


def judge_repair(folder: Path, worked: bool) -> None:
    heads, looked, damaged, lasting, _ = _known(folder)
    store = folder / "store"
    _assert_the_newest_is_whole(folder, heads[3], looked[3])
    now = _damaged(store)
    assert now <= damaged, now - damaged
    assert not (worked and now), "a repair that ended well left damage"
    act_repair(folder)
    assert _damaged(store) == set()
    assert _lasting(store) == lasting
    _assert_the_newest_is_whole(folder, heads[3], looked[3])
    assert _restored(folder, heads[1]) == looked[1]
    [side] = asyncio.run(SnapshotRepository(LocalStore(store)).side_lineages(REF))
    rest = {path: look for path, look in looked[0].items() if path != b"/first"}
    assert _restored(folder, side) == rest


def _assert_the_newest_is_whole(folder: Path, newest: Head, looked: Description) -> None:
    head = asyncio.run(SnapshotRepository(LocalStore(folder / "store")).head(REF))
    assert head is not None
    assert head.snapshot == newest.snapshot
    assert _restored(folder, head) == looked


def _restored(folder: Path, wanted: Head) -> Description:
    engine = Engine(folder)
    head = asyncio.run(engine.repository.find(REF, wanted.snapshot))
    assert head is not None, f"{wanted.snapshot} is gone"
    into = folder / "back"
    try:
        engine.restore(head, into)
        return describe(into)
    finally:
        shutil.rmtree(into, ignore_errors=True)


def _known(
    folder: Path,
) -> tuple[
    list[Head], list[Description], set[tuple[str, str]], dict[str, bytes | None], dict[str, bytes]
]:
    return pickle.loads((folder / "known.pickle").read_bytes())  # type: ignore[no-any-return]


def _damaged(store: Path) -> set[tuple[str, str]]:
    return {(one.kind, one.key) for one in findings(store) if one.damage}


def _contents(store: Path) -> dict[str, bytes]:
    """Every object; a name that begins with a dot is none."""
    return {
        path.relative_to(store).as_posix(): path.read_bytes()
        for path in objects(store)
        if not path.name.startswith(".")
    }


def _lasting(store: Path) -> dict[str, bytes | None]:
    """The same, but for the ids and times of side heads."""
    return {key: None if "~side-" in key else body for key, body in _contents(store).items()}
