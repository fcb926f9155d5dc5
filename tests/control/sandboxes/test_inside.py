"""Looking into snapshots while no sandbox runs: list, read, download, compare."""

import io
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from limpet.control.sandboxes.unpacked_tars import KEPT
from limpet.errors import InvalidInputError, NotFoundError, SnapshotDamagedError
from limpet.ids import SnapshotId
from limpet.snapshots.diff import Change
from limpet.snapshots.tar_write import stream_tar
from tests.control.sandboxes.conftest import Box

pytestmark = pytest.mark.anyio
LARGE = "seq 1 400000 > repo-large.txt"


async def saved(box: Box) -> tuple[SnapshotId, SnapshotId]:
    """Two snapshots of a sandbox that is gone."""
    await box.start()
    await box.write("a.txt", "one\ntwo\nthree\n")
    await box.write("moved.txt", "the same under another name, later\n")
    await box.service.exec(
        box.key.org,
        await box.handle(),
        "mkdir -p deep/er && echo x > deep/er/x && ln -s a.txt link && echo KEY=1 > .env && "
        "seq 1 400000 > large.txt && truncate -s 3000000 holes && printf end >> holes && "
        "ln a.txt hard && printf '\\0\\1' > binary",
    )
    first = await box.save()
    await box.write("a.txt", "one\n2\nthree\n")
    await box.service.exec(
        box.key.org, await box.handle(), "mv moved.txt renamed.txt && rm -r deep && mkdir new"
    )
    second = await box.save()
    await box.stop()
    await box.lose()
    return SnapshotId(first.id), SnapshotId(second.id)


async def listed(box: Box, snapshot: SnapshotId, path: bytes, **how: bool) -> list[bytes]:
    inside = box.service.inside
    place = await inside.find(box.key, snapshot, path)
    found, more = await inside.listing(
        place, recursive=how.get("recursive", False), after=0, limit=99
    )
    assert not more
    return [path for path, _ in found]


async def content(box: Box, snapshot: SnapshotId, path: bytes, **part: int) -> bytes:
    place = await box.service.inside.find(box.key, snapshot, path)
    chunks = await box.service.inside.content(place, **part)
    return b"".join([chunk async for chunk in chunks])


async def changes(box: Box, new: SnapshotId, **how: object) -> dict[str, Change]:
    options: dict[str, object] = {"path": b"", "text": False, "times": False, "expanded": False}
    compared = await box.service.inside.compare(
        box.key,
        new,
        None,
        **{**options, **how},
        most=100,  # type: ignore[arg-type]
    )
    return {one.path.decode(): one for one in compared.changes}


async def test_folders_are_listed_page_by_page(box: Box) -> None:
    first, second = await saved(box)
    assert b"repo/deep/er/x" in await listed(box, first, b"", recursive=True)
    assert await listed(box, first, b"repo/deep") == [b"repo/deep/er"]
    inside = box.service.inside
    place = await inside.find(box.key, first, b"repo")
    names = []
    after, more = 0, True
    while more:
        page, more = await inside.listing(place, recursive=False, after=after, limit=2)
        names += [path for path, _ in page]
        after += len(page)
    assert names == await listed(box, first, b"repo")
    with pytest.raises(NotFoundError):
        await inside.find(box.key, second, b"repo/deep")
    with pytest.raises(InvalidInputError, match="no folder"):
        await listed(box, first, b"repo/a.txt")


async def test_files_are_read_whole_and_in_parts(box: Box) -> None:
    first, second = await saved(box)
    assert await content(box, first, b"repo/a.txt") == b"one\ntwo\nthree\n"
    assert await content(box, second, b"repo/a.txt") == b"one\n2\nthree\n"
    large = "".join(f"{n}\n" for n in range(1, 400_001)).encode()
    assert await content(box, first, b"repo/large.txt") == large
    part = await content(box, first, b"repo/large.txt", offset=1_000_000, limit=700_000)
    assert part == large[1_000_000:1_700_000]
    assert await content(box, first, b"repo/holes") == bytes(3_000_000) + b"end"
    tail = await content(box, first, b"repo/holes", offset=2_999_998, limit=9)
    assert tail == b"\0\0end"
    assert await content(box, first, b"repo/hard") == b"one\ntwo\nthree\n"
    for path, why in ((b"repo/link", "is a link"), (b"repo/deep", "is a folder")):
        with pytest.raises(InvalidInputError, match=why):
            await content(box, first, path)


async def test_a_folder_comes_as_a_tar(box: Box) -> None:
    first, _ = await saved(box)
    place = await box.service.inside.find(box.key, first, b"repo/deep")
    chunks = await box.service.inside.folder_tar(place)
    whole = b"".join([chunk async for chunk in chunks])
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        assert sorted(tar.getnames()) == [".", "er", "er/x"]


async def test_two_snapshots_are_compared(box: Box) -> None:
    _, second = await saved(box)
    found = await changes(box, second)
    told = {path: (one.kind, one.old_path) for path, one in found.items() if "/" in path}
    assert told == {
        "repo/a.txt": ("changed", None),
        "repo/deep": ("removed", None),
        "repo/new": ("added", None),
        "repo/renamed.txt": ("renamed", b"repo/moved.txt"),
        **{path: (one.kind, None) for path, one in found.items() if path == "repo/hard"},
    }
    below = await changes(box, second, path=b"repo/deep", expanded=True)
    assert set(below) == {"repo/deep/er", "repo/deep/er/x"}
    assert set(await changes(box, second, path=b"repo/a.txt")) == {"repo/a.txt"}
    with pytest.raises(NotFoundError):
        await changes(box, second, path=b"repo/never")


async def test_text_is_compared_line_by_line_and_the_rest_is_not(box: Box) -> None:
    first, second = await saved(box)
    compared = await box.service.inside.compare(
        box.key, second, first, path=b"", text=True, times=False, expanded=True, most=100
    )
    diff = compared.diffs[b"repo/a.txt"]
    assert diff is not None
    assert diff.splitlines()[2:] == ["@@ -1,3 +1,3 @@", " one", "-two", "+2", " three"]
    backwards = await box.service.inside.compare(
        box.key, first, second, path=b"", text=True, times=False, expanded=True, most=100
    )
    assert "+x" in (backwards.diffs[b"repo/deep/er/x"] or "")


async def test_the_first_snapshot_is_compared_with_nothing(box: Box) -> None:
    first, _ = await saved(box)
    compared = await box.service.inside.compare(
        box.key, first, None, path=b"repo/binary", text=True, times=False, expanded=False, most=9
    )
    assert compared.before is None
    [change] = compared.changes
    assert (change.kind, change.path) == ("added", b"repo/binary")
    assert compared.diffs == {b"repo/binary": None}


async def test_more_changes_than_fit_are_said_to_be_more(box: Box) -> None:
    _, second = await saved(box)
    compared = await box.service.inside.compare(
        box.key, second, None, path=b"", text=False, times=False, expanded=True, most=2
    )
    assert len(compared.changes) == 2
    assert compared.truncated


async def saved_as_tar(
    box: Box, folder: Path, generation: int = 0, parent: SnapshotId | None = None
) -> SnapshotId:
    """What a daemon of the first versions saves."""

    async def chunks() -> AsyncIterator[bytes]:
        for chunk in stream_tar(folder):
            yield chunk

    head = await box.house.repository.save_tar(
        box.ref, chunks(), reason="idle", parent=parent, fencing=1, expected_generation=generation
    )
    return head.snapshot


async def test_a_plain_tar_can_be_looked_into_and_compared(box: Box, tmp_path: Path) -> None:
    _, second = await saved(box)
    work = tmp_path / "work" / "repo"
    work.mkdir(parents=True)
    (work / "a.txt").write_text("one\n2\nthree\nfour\n")
    (work / "new").mkdir()
    (work / "sub").mkdir()
    (work / "sub" / "large").write_bytes(b"0123456789" * 200_000)
    os.link(work / "a.txt", work / "hard")
    tar = await saved_as_tar(box, tmp_path / "work", generation=2, parent=second)
    store = set((box.house.data_dir / "sandbox-snapshots").rglob("*"))
    assert await listed(box, tar, b"repo") == [
        b"repo/a.txt",
        b"repo/hard",
        b"repo/new",
        b"repo/sub",
    ]
    assert await content(box, tar, b"repo/hard") == b"one\n2\nthree\nfour\n"
    assert await content(box, tar, b"repo/sub/large", offset=1_234_567, limit=5) == b"78901"
    found = await changes(box, tar, text=True)
    assert found["repo/a.txt"].kind == "changed"
    assert found["repo/renamed.txt"].kind == "removed"
    with pytest.raises(NotFoundError):
        await listed(box, tar, b"none")
    assert set((box.house.data_dir / "sandbox-snapshots").rglob("*")) == store


async def test_only_the_tars_that_were_looked_into_last_take_up_room(
    box: Box, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for number in range(KEPT + 2):
        (work / "a.txt").write_text(f"{number}")
        tar = await saved_as_tar(box, work, generation=number)
        assert await content(box, tar, b"a.txt") == str(number).encode()
    scratch = box.house.data_dir / "imports"
    assert len(list(scratch.iterdir())) == KEPT


async def test_a_damaged_tar_is_told_when_one_looks_into_it(box: Box, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "a.txt").write_bytes(os.urandom(50_000))
    tar = await saved_as_tar(box, work)
    box.damage(tar)
    for _ in range(2):
        with pytest.raises(SnapshotDamagedError):
            await listed(box, tar, b"")
