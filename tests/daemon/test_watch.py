"""What anyone changes is told once it is quiet for 300 ms, and is work."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from limpet.daemon.activity import Activity
from limpet.daemon.events import Broadcaster
from limpet.daemon.watch import Watcher, watched
from tests.daemon.test_events import parse

pytestmark = pytest.mark.anyio

Seen = Callable[[str], Awaitable[list[str]]]


@pytest.fixture(params=["inotify", "polling"])
async def activity(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Activity:
    if request.param == "polling":
        monkeypatch.setenv("LIMPET_WITHOUT", "inotify")
    return Activity()


@pytest.fixture
async def seen(tmp_path: Path, activity: Activity) -> AsyncIterator[Seen]:
    """Waits for a path to be told, gives every path told until then."""
    for folder in ("repo/src", "repo/node_modules/x", "repo/.git", "home/.cache", "tmp"):
        (tmp_path / folder).mkdir(parents=True)
    events = Broadcaster("boot")
    watcher = Watcher(tmp_path, events, activity, poll_s=0.1)
    await watcher.start()
    stream = events.subscribe()
    told: list[str] = []

    async def seen_until(path: str) -> list[str]:
        async with asyncio.timeout(20):
            while path not in told:
                told.extend(
                    data["path"]
                    for _, event, data in parse(await anext(stream))
                    if event == "file-changed"
                )
        return told

    yield seen_until
    await watcher.stop()


async def test_writes_in_old_and_new_folders_are_told(tmp_path: Path, seen: Seen) -> None:
    repo = tmp_path / "repo"
    (repo / "src/a.ts").write_text("a")
    (repo / "deep/er").mkdir(parents=True)
    (repo / "deep/er/b.ts").write_text("b")
    assert "src/a.ts" in await seen("deep/er/b.ts")
    (repo / "deep").rename(repo / "moved")
    (repo / "moved/er/c.ts").write_text("c")
    await seen("moved/er/c.ts")
    (repo / "src/a.ts").unlink()
    (repo / "last").touch()
    await seen("last")


async def test_what_is_nobodys_business_is_not_told(
    tmp_path: Path, seen: Seen, activity: Activity
) -> None:
    before = activity.seq
    for path in (
        "repo/node_modules/x/a.js", "repo/.git/index", "home/.cache/b", "tmp/c",
        "repo/src/.limpet-1234",
    ):  # fmt: skip
        (tmp_path / path).write_text("x")
    assert activity.seq == before
    (tmp_path / "repo/last").touch()
    told = await seen("last")
    assert not [p for p in told if p != "last"]
    assert activity.seq > before


async def test_a_file_without_a_name_is_nobodys_business(
    tmp_path: Path, seen: Seen, activity: Activity
) -> None:
    with tempfile.TemporaryFile(dir=tmp_path / "repo") as file:
        os.fchmod(file.fileno(), 0o640)  # as one asks a file system for its clock
    (tmp_path / "repo/#12").write_text("this one has a name")
    assert await seen("#12") == ["#12"]
    assert activity.seq == 1
    (tmp_path / "repo/#12").unlink()
    (tmp_path / "repo/last").touch()
    assert "#12" in (await seen("last"))[1:]


async def test_a_file_beside_the_repo_is_work_and_not_told(
    tmp_path: Path, seen: Seen, activity: Activity
) -> None:
    before = activity.seq
    (tmp_path / "home/.bash_history").write_text("ls")
    async with asyncio.timeout(20):
        while activity.seq == before:
            await asyncio.sleep(0.01)
    (tmp_path / "repo/last").touch()
    assert all("bash_history" not in path for path in await seen("last"))


@pytest.mark.parametrize(
    ("path", "told"),
    [("repo/a", True), ("repo/tmp/a", True), ("tmp/a", False), ("repo/x/node_modules/y", False)],
)
def test_which_paths_count(path: str, told: bool) -> None:
    assert watched(path) is told


async def test_a_save_counts_what_was_changed_before_it_as_done_before_it(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    events, activity = Broadcaster("boot"), Activity()
    watcher = Watcher(tmp_path, events, activity)
    await watcher.start()
    try:
        (tmp_path / "repo" / "a.txt").write_text("by a program, unseen so far")
        watcher.settle()
        assert (activity.seq, activity.last_what) == (1, "files changed")
        watcher.note("repo/b.txt")
        watcher.settle()
        assert activity.seq == 2
        watcher.settle()
        assert activity.seq == 2, "nothing was left to tell"
    finally:
        await watcher.stop()
