"""What ignore files leave out is nowhere: not saved, not walked, not there after a restore."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limpet.snapshots.ignore_rules import RuleFile, parse_rules, rule_for
from limpet.snapshots.ignoring import MAX_FILE_BYTES, MAX_RULES
from limpet.snapshots.receipt import Receipt
from limpet.snapshots.tar_write import stream_tar
from limpet.snapshots.tree import changed_since, settled_clock_ns
from limpet.snapshots.workspace_size import WorkspaceTooLargeError
from tests.snapshots.engine import Engine
from tests.snapshots.ignore_files import NAME
from tests.snapshots.saves import Saves, State
from tests.snapshots.test_delta import Standing, make
from tests.snapshots.test_ignore_rules import rules
from tests.snapshots.test_patch import Sandbox
from tests.snapshots.test_tar_live import names_in, whole
from tests.snapshots.test_tree import as_nobody
from tests.snapshots.trees import Folder, build, describe, scratch_folder, trees

IGNORE = NAME.decode()


@pytest.fixture
def saves(tmp_path: Path) -> Saves:
    made = Saves(tmp_path)
    made.workspace.mkdir()
    return made


def paths(state: State) -> set[str]:
    """Everything that a state holds but ignore files and the folders they lie in."""
    found = {path.decode().removeprefix("/") for path in state.tree if path}
    return {path for path in found if not path.endswith(IGNORE)}


def ignored(receipt: Receipt) -> list[tuple[str, str]]:
    return [(remark.path, remark.reason) for remark in receipt.ignored]


def test_what_is_left_out_is_neither_saved_nor_walked_and_the_receipt_says_so(saves: Saves) -> None:
    make(saves.workspace, {
        "repo/data/deep/a": b"a", "repo/src/b.ts": b"b", "repo/src/c.log": b"12345",
        IGNORE: b"# not needed\n/repo/data/\n*.log\n",
    })  # fmt: skip
    with socket.socket(socket.AF_UNIX) as special:
        special.bind(str(saves.workspace / "repo/data/socket"))
        state = saves.save()
    assert paths(state) == {"repo", "repo/src", "repo/src/b.ts"}
    receipt = state.receipt
    assert receipt.complete
    assert receipt.skipped == ()  # the socket was never met
    assert (receipt.counts["ignored"], receipt.counts["ignored_bytes"]) == (2, 5)
    assert ignored(receipt) == [
        ("repo/data", "/repo/data/ in .limpetignore, line 2"),
        ("repo/src/c.log", "*.log in .limpetignore, line 3"),
    ]
    assert saves.save().unchanged
    assert saves.last is not None
    assert ignored(saves.last.receipt) == ignored(receipt)


LOGIN_FILES = {
    "home/.claude/.credentials.json": b"1", "home/.netrc": b"22", "home/.codex/auth.json": b"333",
}  # fmt: skip


def test_logins_stay_out_and_the_sessions_beside_them_do_not(saves: Saves, tmp_path: Path) -> None:
    make(saves.workspace, {
        **LOGIN_FILES, "home/.claude/projects/a.jsonl": b"{}", "repo/.netrc": b"a fixture",
        "home/.claude/.credentials.json.d/a": b"",
    })  # fmt: skip
    state = saves.save()
    assert not paths(state) & set(LOGIN_FILES)
    assert paths(state) >= {"home/.claude/projects/a.jsonl", "repo/.netrc"}
    told = [(path, "a login, which stays out of snapshots") for path in sorted(LOGIN_FILES)]
    assert ignored(state.receipt) == told
    assert state.receipt.counts["ignored_bytes"] == 6
    assert state.receipt.complete
    assert saves.save().unchanged
    stream = stream_tar(saves.workspace)
    assert not set(names_in(whole(stream), tmp_path)) & set(LOGIN_FILES)
    assert ignored(stream.receipt) == told


def test_a_login_that_a_user_takes_in_is_saved(saves: Saves) -> None:
    make(saves.workspace, {**LOGIN_FILES, IGNORE: b"!/home/.netrc\n*.log\n"})
    assert paths(saves.save()) & set(LOGIN_FILES) == {"home/.netrc"}


def test_a_tar_leaves_out_the_same_and_says_the_same(saves: Saves, tmp_path: Path) -> None:
    make(saves.workspace, {"repo/data/a": b"a", "b": b"b", "c": b"123", IGNORE: b"data\nc\n"})
    stream = stream_tar(saves.workspace)
    names = names_in(whole(stream), tmp_path)
    assert sorted(names) == ["./", IGNORE, "b", "repo/"]
    packed = saves.save().receipt
    assert ignored(stream.receipt) == ignored(packed)
    assert stream.receipt.counts == packed.counts
    assert Receipt.from_dict(stream.receipt.as_dict()) == stream.receipt


def test_rules_that_come_and_go_count_from_the_next_save_on(saves: Saves) -> None:
    make(saves.workspace, {"a/x": b"1", "a/y": b"2", "b/x": b"3"})
    everything = paths(saves.save())
    (saves.workspace / IGNORE).write_bytes(b"x\n")
    assert paths(saves.save()) == {"a", "a/y", "b"}
    (saves.workspace / "b" / IGNORE).write_bytes(b"!x\n")
    assert paths(saves.save()) == {"a", "a/y", "b", "b/x"}
    (saves.workspace / "b" / IGNORE).write_bytes(b"#!x\n")
    assert paths(saves.save()) == {"a", "a/y", "b"}
    (saves.workspace / IGNORE).write_bytes(b"/a/\n!x\n")
    state = saves.save()
    assert paths(state) == {"b", "b/x"}
    assert state.root == saves.full().root
    (saves.workspace / IGNORE).unlink()
    state = saves.save()
    assert paths(state) == everything
    assert state.root == saves.full().root


def test_ignore_files_repositories_and_logs_of_databases_are_never_left_out(saves: Saves) -> None:
    make(saves.workspace, {
        IGNORE: b".*\n*.pack\nobjects\n*-wal\n*-journal\nconfig\n!keep\nwhole\n",
        "repo/.git/config": b"c", "repo/.git/objects/a.pack": b"o", "repo/.git/refs/x": b"r",
        "repo/.git/.limpetignore": b"*\n", "repo/.git/info/.limpetignore": b"*\n",
        "bare/objects/a.pack": b"o", "bare/refs/config": b"r", "bare/config": b"c",
        "repo/worktree/.git": b"gitdir: ../.git\n", "repo/config": b"left out",
        "half/.git/config": b"c", "whole/.git/config": b"left out", "whole/.limpetignore": b"!*\n",
        "repo/db": b"d", "repo/db-wal": b"w", "repo/db-journal": b"j",
        "repo/gone-wal": b"left out", "keep/.limpetignore": b".limpetignore\n",
    })  # fmt: skip
    state = saves.save()
    kept = {path.decode()[1:] for path, (kind, *_) in state.tree.items() if kind == "file"}
    assert kept == {
        IGNORE, "repo/.git/config", "repo/.git/objects/a.pack", "repo/.git/refs/x",
        "repo/.git/.limpetignore", "repo/.git/info/.limpetignore",
        "bare/objects/a.pack", "bare/refs/config", "bare/config",
        "half/.git/config", "repo/worktree/.git", "repo/db", "repo/db-wal", "repo/db-journal",
        "keep/.limpetignore",
    }  # fmt: skip
    assert state.root == saves.full().root
    tar = stream_tar(saves.workspace)
    whole(tar)
    assert tar.receipt.files == len(kept)


def test_a_folder_that_cannot_be_read_is_no_fault_once_it_is_left_out(tmp_path: Path) -> None:
    tree = Folder({b"closed": Folder({}, 0o000)})
    workspace = build(tmp_path / "workspace", tree)
    (workspace / IGNORE).write_bytes(b"closed\n")
    for folder in (tmp_path, *tmp_path.parents):
        folder.chmod(folder.stat().st_mode | 0o011)
    tmp_path.chmod(0o777)

    def save() -> None:
        saves = Saves(tmp_path)
        assert saves.save().receipt.complete
        tar = stream_tar(workspace)
        whole(tar)
        assert tar.receipt.complete

    as_nobody(save)


UNFIT = {
    "it is larger than 65,536 bytes": b"*\n" + b"#" * MAX_FILE_BYTES,
    "it is no plain text": b"*\n\0",
    "with it more than 1,000 rules would be in force": b"*\n" * MAX_RULES + b"!a\n",
}


@pytest.mark.parametrize("why", [*UNFIT, "it is a link", "Permission denied"])
def test_a_file_that_cannot_be_followed_leaves_nothing_out_and_is_told(
    saves: Saves, why: str
) -> None:
    make(saves.workspace, {"a": b"1", "repo/a": b"2", "repo/below/a": b"3", IGNORE: b"a\n"})
    (saves.workspace / "repo/below" / IGNORE).write_bytes(b"b\n")
    unfit = saves.workspace / "repo" / IGNORE
    if why == "it is a link":
        unfit.symlink_to(f"../{IGNORE}")
    else:
        unfit.write_bytes(UNFIT.get(why, b"a\n"))
    told = (f"repo/{IGNORE}", f"not followed, so nothing is left out from here on: {why}")

    def save() -> None:
        state = saves.save()
        tar = stream_tar(saves.workspace)
        whole(tar)
        assert {"repo/a", "repo/below/a"} <= paths(state)
        assert "a" not in paths(state)
        for receipt in (state.receipt, tar.receipt):
            assert ignored(receipt) == [told, ("a", "a in .limpetignore, line 1")]
            assert receipt.counts["ignore_files_not_followed"] == 1

    if why != "Permission denied":
        save()
        return
    unfit.chmod(0)
    saves.folder.chmod(0o777)
    for folder in saves.folder.parents:
        folder.chmod(folder.stat().st_mode | 0o011)
    as_nobody(save)


def test_what_is_no_file_is_no_ignore_file(saves: Saves) -> None:
    make(saves.workspace, {f"{IGNORE}/a": b"1", "repo/b": b"2", "b": b"3"})
    os.mkfifo(saves.workspace / "repo" / IGNORE)
    state = saves.save()
    assert {"b", "repo/b"} <= paths(state)
    assert b"/.limpetignore/a" in state.tree
    assert [path for path, _ in ignored(state.receipt)] == [f"repo/{IGNORE}"]


def test_rules_that_are_not_utf8_are_followed_byte_by_byte_and_told(saves: Saves) -> None:
    make(saves.workspace, {"\udcff\udcfe": b"1", "b": b"2", IGNORE: b"\xff*\n"})
    state = saves.save()
    assert paths(state) == {"b"}
    assert ignored(state.receipt) == [
        (IGNORE, "not UTF-8: its rules are compared with names byte by byte"),
        (r"\xff\xfe", r"\xff* in .limpetignore, line 1"),
    ]


def test_a_receipt_names_a_hundred_and_counts_all(saves: Saves) -> None:
    for number in range(3):
        make(saves.workspace, {f"{number}/{name:03}.log": b"12" for name in range(150)})
    (saves.workspace / IGNORE).write_bytes(b"*.log\n")
    receipt = saves.save().receipt
    assert (receipt.counts["ignored"], receipt.counts["ignored_bytes"]) == (450, 900)
    assert [path for path, _ in ignored(receipt)] == [f"0/{name:03}.log" for name in range(100)]


def test_the_second_look_with_all_standing_still_counts_once(
    saves: Saves, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limpet.snapshots.delta.FROZEN_AT_MOST_S", 600.0)
    make(saves.workspace, {"a": b"1", "b.log": b"2", IGNORE: b"*.log\n"})

    def change() -> None:
        make(saves.workspace, {"c.log": b"3", "d": b"4"})

    state = saves.save(freezer=Standing(change))
    assert paths(state) == {"a", "d"}
    assert not state.receipt.live
    assert state.receipt.counts["ignored"] == 2


def test_work_in_what_is_left_out_is_no_unsaved_work(saves: Saves) -> None:
    make(saves.workspace, {"a": b"1", "data/b": b"2", IGNORE: b"data\n"})
    since = settled_clock_ns(saves.folder)
    assert not changed_since(saves.workspace, since)
    make(saves.workspace, {"data/b": b"3", "data/deep/c": b"4"})
    assert not changed_since(saves.workspace, since)
    make(saves.workspace, {"a": b"5"})
    assert changed_since(saves.workspace, since)


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(present=trees(), target=trees(), here=rules, there=rules, cached=st.booleans())
def test_after_a_warm_restore_there_is_the_snapshot_and_nothing_else(
    present: Folder, target: Folder, here: bytes, there: bytes, cached: bool
) -> None:
    with scratch_folder() as where:
        for tree in (present, target):
            tree.entries.pop(b"tmp", None)
        engine = Engine(where / "other")
        build(engine.workspace, target)
        (engine.workspace / IGNORE).write_bytes(there)
        engine.restore(engine.save(), where / "cold")
        source = where / "other/workspace"
        sandbox = Sandbox(where, present, Folder())
        (sandbox.workspace / IGNORE).write_bytes(here)
        sandbox.become(source, where / "cold")
        if cached:
            sandbox.remember()
        sandbox.patch()
        sandbox.check()
        before = describe(sandbox.workspace, leave_out=(b".limpet-root",))
        sandbox.remember()
        assert sandbox.base == sandbox.target.root.digest.lower()
        assert describe(sandbox.workspace, leave_out=(b".limpet-root",)) == before


def test_what_is_left_out_goes_when_an_older_snapshot_comes_back(tmp_path: Path) -> None:
    tree = Folder()
    sandbox = Sandbox(tmp_path, tree, tree)
    make(
        sandbox.workspace,
        {"data/a": b"1", "src/b.log": b"2", "src/c": b"3", IGNORE: b"data\n*.log\n"},
    )
    sandbox.remember()
    sandbox.patch()
    sandbox.check()


def test_too_large_a_workspace_is_told_the_rule_that_mends_it(saves: Saves) -> None:
    make(saves.workspace, {
        "repo/.git/objects/x": bytes(900), "repo/src/a": bytes(100), "repo/data/raw/b": bytes(5000),
        "repo/data/c": bytes(10), "repo/node_modules/big/d": bytes(700), "home/e": bytes(980),
        "repo/node_modules/f": bytes(600), "odd [x]\n/g": bytes(400),
    })  # fmt: skip
    with pytest.raises(WorkspaceTooLargeError) as caught:
        saves.save(limit_bytes=4000)
    assert "repo/data/raw (5,000 bytes)" in caught.value.message
    assert caught.value.hint.splitlines()[1:] == ["/repo/data/raw/"]
    with pytest.raises(WorkspaceTooLargeError) as caught:
        saves.save(limit_bytes=2040)
    lines = caught.value.hint.splitlines()[1:]
    assert lines == ["/repo/data/raw/", "/repo/node_modules/", r"/odd \[x]?/"]
    (saves.workspace / IGNORE).write_text("\n".join(lines))
    state = saves.save(limit_bytes=2040)
    assert {"repo/src/a", "home/e", "repo/data/c"} <= paths(state)
    assert not any("node_modules" in path or "odd" in path for path in paths(state))


def test_where_nothing_may_be_left_out_no_rule_is_named(saves: Saves) -> None:
    make(saves.workspace, {"repo/.git/objects/x": bytes(900), "home/e": bytes(800), "f": bytes(9)})
    with pytest.raises(WorkspaceTooLargeError) as caught:
        saves.save(limit_bytes=100)
    assert (
        caught.value.hint == "Delete what is not needed, or move it to tmp/, which is never saved."
    )


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=3))
def test_the_rule_for_a_folder_leaves_it_out(parts: list[bytes]) -> None:
    parts = [part.replace(b"/", b"a").replace(b"\0", b"b") for part in parts]
    path = b"/".join(parts)
    line = rule_for(path)
    assert len(line.splitlines()) == 1
    [rule] = parse_rules(line.encode() + b"\n")
    file = RuleFile(b"", [rule])
    assert file.last_match(path, parts[-1], is_folder=True) is rule
    assert file.last_match(path, parts[-1], is_folder=False) is None
