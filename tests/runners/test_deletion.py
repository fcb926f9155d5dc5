import os
import subprocess
import sys
from pathlib import Path

import pytest

from limpet.runners.deletion import delete_tree


def test_a_missing_tree_is_no_error(tmp_path: Path) -> None:
    delete_tree(tmp_path / "none")


def test_a_tree_goes_with_all_kinds_of_entries_and_odd_names(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b/c").mkdir(parents=True)
    (tree / "a/b/file").write_text("x")
    os.link(tree / "a/b/file", tree / "a/hard")
    os.mkfifo(tree / "fifo")
    (tree / "dangling").symlink_to("nowhere")
    Path(os.fsdecode(os.fsencode(tree) + b"/\xff\xfe\n")).mkdir()
    (tree / ("n" * 255)).mkdir()
    (tree / ("n" * 255) / ("m" * 255)).mkdir()
    delete_tree(tree)
    assert not tree.exists()


def test_a_link_is_deleted_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (victim / "inner").mkdir(parents=True)
    (victim / "file").write_text("kept")
    victim.chmod(0o500)
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "link").symlink_to(victim)
    (tree / "deep/link").symlink_to(victim)
    delete_tree(tree)
    assert (victim / "file").read_text() == "kept"
    assert (victim / "inner").exists()
    assert victim.stat().st_mode & 0o777 == 0o500
    link = tmp_path / "link"
    link.symlink_to(victim)
    with pytest.raises(OSError, match="link"):
        delete_tree(link)


def test_a_tree_deeper_than_any_path_goes(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    here = os.open(tree, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 20, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    delete_tree(tree)
    assert not tree.exists()


def test_folders_without_permissions_go_for_an_ordinary_user_too(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("none", "read", "search", "write"):
        (tree / name / "inner/inmost").mkdir(parents=True)
        (tree / name / "inner/file").write_text("x")
    for name, mode in (("none", 0), ("read", 0o400), ("search", 0o100), ("write", 0o200)):
        (tree / name / "inner/inmost").chmod(mode)
        (tree / name / "inner").chmod(mode)
        (tree / name).chmod(mode)
    tree.chmod(0o500)
    if os.getuid() != 0:
        delete_tree(tree)
    else:  # root may do anything: drop that, keep the owner
        code = f"from limpet.runners.deletion import *; delete_tree(Path({str(tree)!r}))"
        dropped = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--securebits=+noroot"]
        subprocess.run([*dropped, sys.executable, "-c", code], check=True)
    assert not tree.exists()


def test_what_cannot_be_deleted_is_an_error_and_does_not_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    (tree / "busy").mkdir(parents=True)
    (tree / "file").write_text("x")

    def busy(*_args: object, **_kwargs: object) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(os, "rmdir", busy)
    with pytest.raises(OSError, match="busy"):
        delete_tree(tree)
    assert not (tree / "file").exists()
