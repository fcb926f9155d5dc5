"""The engine's streams and repositories, read by the oracle: what it sees is what was saved."""

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from limpet.snapshots.lineage import Head
from limpet.stores.keys import head_key
from tests.snapshots import oracle
from tests.snapshots.engine import Engine, objects
from tests.snapshots.trees import Folder, build, describe, scratch_folder, trees

LEFT_OUT = (b"tmp", b".limpet-root")
many = settings(max_examples=80, deadline=None, suppress_health_check=[*HealthCheck])


def described(items: tuple[oracle.Item, ...]) -> dict[bytes, tuple[object, ...]]:
    """As `describe` tells a folder, without the top one."""
    found: dict[bytes, tuple[object, ...]] = {}
    names: dict[bytes, list[bytes]] = {}
    for item in items:
        path = b"/" + item.path
        if item.kind == "folder":
            found[path] = ("folder", item.mode, item.mtime_ns)
        elif item.kind == "symlink":
            found[path] = ("link", item.target, item.mtime_ns)
        elif item.kind == "file":
            found[path] = ("file", whole(item), item.mode, item.mtime_ns)
        else:
            assert item.target is not None
            first = b"/" + item.target
            found[path] = found[first]
            names.setdefault(first, [first]).append(path)
    for shared in names.values():
        for name in shared:
            found[name] += (tuple(sorted(shared)),)
    return found


def whole(item: oracle.Item) -> bytes:
    """A file's content, its holes filled with zeros."""
    content = bytearray(item.size)
    for offset, piece in item.data or ():
        content[offset : offset + len(piece)] = piece
    return bytes(content)


def key_of(head: Head) -> str:
    ref = head.ref
    return head_key(ref.org, ref.agent, ref.branch, head.generation, head.lineage)


def read_by_the_oracle(engine: Engine, head: Head) -> oracle.Snapshot:
    return oracle.read_snapshot(engine.folder / "store", key_of(head))


@many
@given(trees())
def test_a_saved_tree_is_read_from_the_store_as_it_lay_on_disk(tree: Folder) -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        build(engine.workspace, tree)
        head = engine.save()
        read = read_by_the_oracle(engine, head)
        assert read.items is not None
        saw = describe(engine.workspace, leave_out=LEFT_OUT)
        status = engine.workspace.stat()
        root = read.head["root"]
        assert isinstance(root, dict)
        looks = (stat.S_IMODE(status.st_mode) & 0o1777, status.st_mtime_ns)
        assert (root["mode"], root["mtime_ns"]) == looks
        del saw[b""]
        assert described(read.items) == saw
        assert tuple(oracle.read_restore(b"".join(engine.stream(head)))) == read.items


@many
@given(trees(), trees())
def test_a_delta_sends_what_the_base_has_not_and_is_read_with_it(
    first: Folder, second: Folder
) -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        build(engine.workspace, first)
        base = engine.save()
        build(engine.workspace / "more", second)
        stream = oracle.read_stream(b"".join(engine.delta(base=base)))
        assert stream.header["base"] == base.blake3
        before = oracle.read_stream(b"".join(engine.stream(base)))
        sent = {kind: stream.blobs(kind) for kind in (oracle.DATA, oracle.TREE)}
        held = {kind: before.blobs(kind) for kind in sent}
        assert not set(sent[oracle.TREE]) & set(held[oracle.TREE])
        both = {kind: oracle.Blobs({**held[kind], **sent[kind]}) for kind in sent}
        root = stream.end["root"]
        assert isinstance(root, dict)
        items = oracle.read_tree(root, both[oracle.TREE], both[oracle.DATA])
        saw = describe(engine.workspace, leave_out=LEFT_OUT)
        del saw[b""]
        assert described(tuple(items)) == saw


def test_large_sparse_and_many_are_read_too() -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        (engine.workspace / "large").write_bytes(os.urandom(24 << 20))
        (engine.workspace / "many").mkdir()
        for number in range(2000):
            (engine.workspace / "many" / f"{number:05}").write_text(str(number))
        with (engine.workspace / "sparse").open("wb") as out:
            out.truncate(1 << 34)
            out.seek(1 << 30)
            out.write(b"in the middle")
        read = read_by_the_oracle(engine, engine.save())
        assert read.items is not None
        by_path = {item.path: item for item in read.items}
        assert len(read.items) == 2003
        assert whole(by_path[b"large"]) == (engine.workspace / "large").read_bytes()
        sparse = by_path[b"sparse"]
        assert sparse.size == 1 << 34
        assert b"in the middle" in b"".join(piece for _, piece in sparse.data or ())


@pytest.mark.parametrize("what", ["heads", "packs", "trees"])
def test_the_oracle_refuses_every_object_with_a_changed_byte(what: str) -> None:
    with scratch_folder() as folder:
        engine = Engine(folder)
        engine.workspace.mkdir()
        (engine.workspace / "a").write_bytes(b"content " * 20)
        head = engine.save()
        [path] = [one for one in objects(folder / "store") if f"/{what}/" in str(one)]
        body = path.read_bytes()
        for at in range(len(body)):
            changed = body[:at] + bytes([body[at] ^ 0x20]) + body[at + 1 :]
            if what == "heads" and _means_the_same(changed, body):
                continue
            _overwrite(path, changed)
            with pytest.raises(oracle.RefusedError):
                read_by_the_oracle(engine, head)
        _overwrite(path, body)
        read_by_the_oracle(engine, head)


def _means_the_same(changed: bytes, body: bytes) -> bool:
    try:
        return bool(json.loads(changed) == json.loads(body))
    except ValueError:
        return False


def _overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def test_the_oracle_imports_nothing_of_limpet() -> None:
    source = Path(oracle.__file__).read_text()
    assert "import limpet" not in source
    assert "from limpet" not in source
    assert "from tests" not in source
