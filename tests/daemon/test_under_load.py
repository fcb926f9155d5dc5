"""`/health` answers whatever else runs."""

import os
import threading
import time
from pathlib import Path

from tests.daemon_process import DaemonProcess


def test_health_answers_whatever_runs(daemon: DaemonProcess, repo: Path) -> None:
    for number in range(2000):
        (repo / f"f{number}").write_bytes(os.urandom(40_000))
    daemon.post("/bash", {"command": "yes", "mode": "background"})
    daemon.post("/pty", {"command": "yes"})
    working = [
        threading.Thread(target=daemon.create),
        threading.Thread(
            target=daemon.post, args=("/grep", {"pattern": "q[0-9a-f]{3}z", "output_mode": "count"})
        ),
        threading.Thread(target=daemon.post, args=("/glob", {"pattern": "**/*"})),
    ]
    for thread in working:
        thread.start()
    slowest_s = 0.0
    while any(thread.is_alive() for thread in working):
        begun_s = time.monotonic()
        assert daemon.healthy()
        slowest_s = max(slowest_s, time.monotonic() - begun_s)
        time.sleep(0.02)
    for thread in working:
        thread.join()
    assert slowest_s < 5, "the promise is 500 ms; ten times that, since test machines are busy"
