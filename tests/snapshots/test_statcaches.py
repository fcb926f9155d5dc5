"""Which stat cache of a workspace is the newest."""

import os
from pathlib import Path

from limpet.snapshots.statcache import StatCaches

OLD, NEW = "a" * 64, "0" * 64


def note(caches: StatCaches, digest: str, at_s: int) -> None:
    with caches.create() as writer:
        writer.commit(digest)
    os.utime(caches.folder / digest, (at_s, at_s))


def test_the_newest_is_what_was_noted_last(tmp_path: Path) -> None:
    caches = StatCaches(tmp_path / "statcache")
    note(caches, OLD, 1000)
    note(caches, NEW, 2000)
    (caches.folder / ".new-0011223344556677").touch()  # a writer's that died
    assert caches.newest() == NEW
    note(caches, OLD, 3000)
    assert caches.newest() == OLD


def test_where_nothing_was_noted_there_is_no_newest(tmp_path: Path) -> None:
    caches = StatCaches(tmp_path / "statcache")
    assert caches.newest() is None
    caches.folder.mkdir()
    assert caches.newest() is None
