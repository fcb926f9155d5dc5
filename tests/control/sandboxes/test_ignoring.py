"""Ignore files over a real daemon: a save that was refused goes through, and scratch is scratch."""

from typing import Any

import pytest

from limpet.errors import DaemonError
from tests.control.sandboxes.conftest import Box, House

pytestmark = pytest.mark.anyio
LIMIT_BYTES = 1_000_000


async def write_rules(box: Box, rules: str) -> None:
    """As an agent does, beside `repo/`."""
    await box.write("../.limpetignore", rules)


async def test_a_workspace_that_is_too_large_is_saved_once_the_rule_it_was_told_is_there(
    box: Box, house: House
) -> None:
    parts = house.service.parts
    parts.settings = parts.settings.model_copy(update={"max_workspace_bytes": LIMIT_BYTES})
    await box.start()
    await box.write("src/main.ts", "work")
    await box.write("data/rows.csv", "1,2,3\n" * 200_000)
    with pytest.raises(DaemonError, match=r"repo/data \(1,200,000 bytes\)") as caught:
        await box.save()
    told: Any = (await box.view()).last_save_error
    assert told.hint == caught.value.hint
    said, *lines = told.hint.splitlines()
    assert ".limpetignore" in said
    assert lines == ["/repo/data/"]
    await write_rules(box, "\n".join(lines))
    saved = await box.save()
    assert saved.receipt is not None
    assert saved.receipt.complete
    assert saved.receipt.counts["ignored"] == 1
    [remark] = saved.receipt.ignored
    assert (remark.path, remark.reason) == ("repo/data", "/repo/data/ in .limpetignore, line 1")
    view = await box.view()
    assert view.last_save_error is None
    await box.lose()
    await box.start()
    assert await box.read("src/main.ts") == "work"
    assert await box.read("data/rows.csv") is None
    assert (await box.root() / "workspace/.limpetignore").read_text() == "/repo/data/"


async def test_going_back_on_a_running_sandbox_takes_away_what_rules_leave_out(box: Box) -> None:
    await box.start()
    await box.write("large", "x" * 100_000)
    await write_rules(box, "*.log\nscratch/\n")
    first = await box.save()
    await box.write("a", "later")
    await box.write("noise.log", "noise")
    await box.write("scratch/deep/b", "scratch")
    large = (await box.root() / "workspace/repo/large").stat().st_ino
    restored = await box.restore(first.id)
    assert (await box.root() / "workspace/repo/large").stat().st_ino == large  # it was patched
    assert restored.saved_first.receipt.counts["ignored"] == 2
    assert await box.read("a") is None
    assert await box.read("noise.log") is None
    assert not (await box.root() / "workspace/repo/scratch").exists()
    await box.restore(restored.saved_first.id)
    assert await box.read("a") == "later"
    assert await box.read("noise.log") is None


async def test_a_start_whose_files_are_still_here_keeps_what_rules_leave_out(box: Box) -> None:
    await box.start()
    await write_rules(box, "scratch/\n")
    await box.write("a", "work")
    await box.save()
    await box.write("scratch/b", "scratch")
    await box.kill()
    await box.start()
    assert await box.read("scratch/b") == "scratch"
    assert len(await box.snapshots()) == 1
