"""What a cache and one comparison tell of a workspace is what a walk of it tells."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limpet.snapshots import as_before, survey
from limpet.snapshots.as_before import folders_as_before
from limpet.snapshots.native import Listing
from limpet.snapshots.remarks import Remarks
from limpet.snapshots.statcache import StatCache
from limpet.snapshots.survey import Looking, Survey
from tests.snapshots.edits import Edit, carry_out, rounds
from tests.snapshots.saves import Saves
from tests.snapshots.trees import Folder, build, scratch_folder, trees

FOLDERS = 40


def nothing() -> None:
    """Asked now and then."""


def saved(where: Path) -> Saves:
    """A workspace with some folders, and a repository, as it was saved."""
    saves = Saves(where)
    for number in range(FOLDERS):
        (saves.workspace / f"{number}/inner").mkdir(parents=True)
        (saves.workspace / f"{number}/inner/file").touch()
    for name in ("objects/aa", "refs/heads", "zone"):
        (saves.workspace / ".git" / name).mkdir(parents=True)
        (saves.workspace / ".git" / name / "file").touch()
    saves.save()
    return saves


def cache_of(saves: Saves) -> StatCache:
    assert saves.last is not None
    cache = saves.caches.open(saves.last.digest)
    assert cache is not None
    return cache


def told(found: Survey) -> list[tuple[object, ...]]:
    """All that a survey says."""
    late = [one.path for one in found.late_roots]
    return [
        (found.changed, found.mode, found.mtime_ns, late),
        *(
            (one.path, one.records, one.row, one.always_look, one.late, one.drops, one.size_bytes,
             one.lost, one.number, one.left_out, [child.path for child in one.below])
            for one in found.folders
        ),
    ]  # fmt: skip


@settings(
    max_examples=int(os.environ.get("LIMPET_FUZZ_EXAMPLES", "120")),
    deadline=None,
    suppress_health_check=[*HealthCheck],
)
@given(trees(), rounds, st.booleans())
def test_a_survey_says_the_same_with_a_comparison_before_it(
    tree: Folder, every: list[list[Edit]], settled: bool
) -> None:
    with scratch_folder() as folder, pytest.MonkeyPatch.context() as patch:
        saves = Saves(folder)
        build(saves.workspace, tree)
        saves.save()
        if settled:
            saves.save()
        for edit in every[0]:
            carry_out(saves.workspace, edit)
        fd = os.open(saves.workspace, os.O_RDONLY)
        with cache_of(saves) as cache:
            looking = Looking(fd, cache, frozenset({b"tmp"}))
            compared = told(survey.survey(looking, Remarks()))
            patch.setattr(survey, "folders_as_before", lambda *_: b"")
            assert compared == told(survey.survey(looking, Remarks()))
        os.close(fd)


def test_what_is_as_it_was_is_not_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves = saved(tmp_path)
    listed = []
    scan = survey.scan_folder

    def count(fd: int) -> Listing:
        listed.append(fd)
        return scan(fd)

    monkeypatch.setattr(survey, "scan_folder", count)
    for _ in range(100):  # until all that was just written has settled
        listed.clear()
        assert saves.save().unchanged
        if len(listed) == 1:  # the top, of which something is left out
            break
    assert len(listed) == 1
    (saves.workspace / "7/inner/file").write_text("changed")
    listed.clear()
    assert not saves.save().unchanged
    assert 2 <= len(listed) < 10


def test_what_git_names_is_compared_after_what_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[bytes] = []
    compare = as_before.compare_listings

    def note(fd: int, paths: list[bytes], data: object, first: int) -> bytes:
        compared.extend(paths)
        return compare(fd, paths, data, first)  # type: ignore[arg-type]

    monkeypatch.setattr(as_before, "compare_listings", note)
    monkeypatch.setattr(as_before, "_AT_ONCE", 8)
    saves = saved(tmp_path)
    with cache_of(saves) as cache:
        fd = os.open(saves.workspace, os.O_RDONLY)
        same = folders_as_before(cache, fd, nothing)
        os.close(fd)
        assert sorted(compared) == sorted(path for path, _ in cache.rows())
        assert len(same) == len(cache)
    objects = {b".git/objects", b".git/objects/aa"}
    assert set(compared[-2:]) == objects


def test_nothing_is_said_of_a_workspace_with_ignore_files(tmp_path: Path) -> None:
    saves = saved(tmp_path)
    (saves.workspace / "3/.limpetignore").write_text("file\n")
    saves.save()
    with cache_of(saves) as cache:
        fd = os.open(saves.workspace, os.O_RDONLY)
        assert folders_as_before(cache, fd, nothing) == b""
        os.close(fd)


@pytest.mark.parametrize("in_thread", [False, True])
def test_whoever_has_enough_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_thread: bool
) -> None:
    monkeypatch.setattr(as_before, "_AT_ONCE", 1)
    saves = saved(tmp_path)
    there = threading.Event()

    def go_on() -> None:
        if (threading.current_thread() is threading.main_thread()) is not in_thread:
            there.set()
            raise InterruptedError("enough")
        there.wait(10)

    threads = threading.active_count()
    fd = os.open(saves.workspace, os.O_RDONLY)
    with cache_of(saves) as cache, pytest.raises(InterruptedError, match="enough"):
        folders_as_before(cache, fd, go_on)
    os.close(fd)
    assert threading.active_count() == threads
