"""The first snapshot of a branch: one of the operator's space with some files changed."""

import asyncio
from pathlib import Path

import pytest

from limpet.errors import InvalidInputError
from limpet.ids import AgentId, Branch, OrgId
from limpet.snapshots.edited_tree import Edit, Moved
from limpet.snapshots.repository import BranchRef, Head, SaveSupersededError
from limpet.stores.keys import TEMPLATES_ORG
from tests.snapshots.engine import REF, Engine, objects
from tests.snapshots.trees import describe

TEMPLATE = BranchRef(TEMPLATES_ORG, AgentId("webapp"), Branch("0123"))


@pytest.fixture
def template(tmp_path: Path) -> Engine:
    engine = Engine(tmp_path, TEMPLATE)
    (engine.workspace / "repo/.git/refs/heads").mkdir(parents=True)
    (engine.workspace / "repo/.git/HEAD").write_text("ref: refs/heads/main\n")
    (engine.workspace / "repo/.git/refs/heads/main").write_text("a4bb65c\n")
    (engine.workspace / "repo/empty").touch()
    for number in range(300):
        (engine.workspace / f"repo/file-{number}").write_text(f"content {number}\n" * 100)
    engine.save()
    return engine


def begun(engine: Engine, edits: dict[bytes, Edit], ref: BranchRef = REF) -> Head:
    assert engine.head is not None
    return asyncio.run(engine.repository.begin(engine.head, edits, ref=ref, fencing=3))


def restored(engine: Engine, head: Head, into: str) -> Path:
    engine.restore(head, engine.folder / into)
    return engine.folder / into


def test_what_is_edited_differs_and_nothing_else(template: Engine) -> None:
    head = begun(
        template,
        {
            b"repo/.git/HEAD": b"ref: refs/heads/limpet/calm\n",
            b"repo/.git/refs/heads/limpet/calm": Moved(b"repo/.git/refs/heads/main"),
            b"repo/empty": None,
            b"new/deep/file": b"",
        },
    )
    assert (head.ref, head.generation, head.fencing, head.reason) == (REF, 1, 3, "template")
    into = restored(template, head, "into")
    assert (into / "repo/.git/HEAD").read_text() == "ref: refs/heads/limpet/calm\n"
    assert (into / "repo/.git/refs/heads/limpet/calm").read_text() == "a4bb65c\n"
    assert not (into / "repo/.git/refs/heads/main").exists()
    assert not (into / "repo/empty").exists()
    assert (into / "new/deep/file").read_bytes() == b""
    before, after = describe(template.workspace), describe(into)
    for path in before.keys() & after.keys():
        if path.startswith(b"/repo/file-"):
            assert before[path] == after[path]


def test_it_stores_only_what_was_edited_and_that_in_the_org_s_own_space(template: Engine) -> None:
    before = set(objects(template.folder / "store"))
    begun(template, {b"repo/new": b"mine"})
    new = set(objects(template.folder / "store")) - before
    assert {path.relative_to(template.folder / "store").parts[1] for path in new} == {"org"}
    assert sum(path.stat().st_size for path in new) < 30_000


def test_without_edits_it_is_the_same_state_and_stores_only_a_head(template: Engine) -> None:
    before = set(objects(template.folder / "store"))
    head = begun(template, {})
    assert template.head is not None
    assert head.blake3 == template.head.blake3
    (new,) = set(objects(template.folder / "store")) - before
    assert "heads" in new.parts


def test_saves_go_on_from_it(template: Engine) -> None:
    head = begun(template, {b"repo/new": b"mine"})
    mine = Engine(template.folder, REF, head)
    mine.workspace = restored(template, head, "into")
    (mine.workspace / "repo/work").write_text("work")
    (mine.workspace / "repo/file-7").unlink()
    saved = mine.save()
    assert describe(restored(mine, saved, "back")) == describe(mine.workspace)
    assert mine.last is not None
    assert mine.last.stored_bytes < 30_000


def test_a_branch_that_has_begun_begins_no_more(template: Engine) -> None:
    begun(template, {b"repo/new": b"mine"})
    with pytest.raises(SaveSupersededError):
        begun(template, {b"repo/new": b"other"})


def test_another_org_s_snapshot_is_no_template(template: Engine) -> None:
    head = begun(template, {})
    other = BranchRef(OrgId("other"), REF.agent, REF.branch)
    with pytest.raises(InvalidInputError, match="another org"):
        asyncio.run(template.repository.begin(head, {}, ref=other, fencing=1))


@pytest.mark.parametrize(
    "edits", [{b"a": Moved(b"repo/none")}, {b"large": bytes((1 << 20) + 1)}]
)  # fmt: skip
def test_an_edit_that_cannot_be_is_refused(template: Engine, edits: dict[bytes, Edit]) -> None:
    before = objects(template.folder / "store")
    with pytest.raises(InvalidInputError):
        begun(template, edits)
    assert objects(template.folder / "store") == before
