import os
from pathlib import Path

import pytest

from limpet.runners.daemon_log import KEPT_LOG_BYTES, MAX_LOG_BYTES, DaemonLog


def test_a_fresh_log_keeps_the_one_before(tmp_path: Path) -> None:
    for text in (b"first\n", b"second\n"):
        log = DaemonLog.create(tmp_path)
        os.write(log.descriptor, text)
        log.close()
    logs = tmp_path / "state/logs"
    assert (logs / "daemon.log").read_text() == "second\n"
    assert (logs / "daemon.log.1").read_text() == "first\n"


def test_the_tail_is_the_last_whole_lines(tmp_path: Path) -> None:
    log = DaemonLog.create(tmp_path)
    assert log.tail() == ""
    os.write(log.descriptor, b"first line\nsecond line\nthird \xff line\n")
    assert log.tail(30).splitlines() == ["second line", "third \ufffd line"]
    log.close()


def test_a_log_that_grew_is_cut_to_its_end_and_appended_to(tmp_path: Path) -> None:
    log = DaemonLog.create(tmp_path)
    daemons_own = os.dup(log.descriptor)
    for number in range(MAX_LOG_BYTES // 64 + 10):
        os.write(daemons_own, f"{number:063d}\n".encode())
    log.trim()
    os.write(daemons_own, b"after\n")
    lines = (tmp_path / "state/logs/daemon.log").read_text().splitlines()
    assert lines[0] == "[the log was cut here]"
    assert lines[-1] == "after"
    assert int(lines[-2]) == MAX_LOG_BYTES // 64 + 9
    assert sum(map(len, lines)) < KEPT_LOG_BYTES + 100
    os.close(daemons_own)
    log.close()


@pytest.mark.parametrize("place", ["state", "state/logs", "state/logs/daemon.log"])
@pytest.mark.parametrize("trap", ["link", "file", "fifo"])
def test_what_the_sandbox_puts_in_its_place_is_never_written_through(
    tmp_path: Path, place: str, trap: str
) -> None:
    root, victim = tmp_path / "root", tmp_path / "victim"
    (root / place).parent.mkdir(parents=True)
    victim.mkdir()
    if trap == "link":
        (root / place).symlink_to(victim)
    elif trap == "file":
        (root / place).write_text("in the way")
    else:
        os.mkfifo(root / place)
    log = DaemonLog.create(root)
    os.write(log.descriptor, b"said\n")
    log.close()
    assert (root / "state/logs/daemon.log").read_text() == "said\n"
    assert not list(victim.iterdir())


@pytest.mark.parametrize("trap", ["link", "fifo", "folder"])
def test_a_log_is_not_reopened_when_it_is_none(tmp_path: Path, trap: str) -> None:
    logs = tmp_path / "root/state/logs"
    logs.mkdir(parents=True)
    (tmp_path / "victim").write_text("precious")
    if trap == "link":
        (logs / "daemon.log").symlink_to(tmp_path / "victim")
    elif trap == "fifo":
        os.mkfifo(logs / "daemon.log")
    else:
        (logs / "daemon.log").mkdir()
    assert DaemonLog.reopen(tmp_path / "root") is None


def test_a_root_that_is_gone_has_no_log(tmp_path: Path) -> None:
    assert DaemonLog.reopen(tmp_path / "none") is None
