"""A file of 3 GB goes in and out again, and the daemon never holds more than a little of it."""

from collections.abc import Iterator
from pathlib import Path

import blake3
import pytest
import urllib3

from tests.daemon_process import TOKEN, DaemonProcess

pytestmark = pytest.mark.long

SIZE = 3 * 1024**3
BLOCK = bytes(range(256)) * 8192
MOST_MB = 60


@pytest.mark.timeout(900)
def test_3_gb_are_uploaded_and_downloaded_in_flat_memory(daemon: DaemonProcess, repo: Path) -> None:
    sent, got = blake3.blake3(), blake3.blake3()

    def body() -> Iterator[bytes]:
        for number in range(SIZE // len(BLOCK)):
            block = number.to_bytes(8, "big") + BLOCK[8:]
            sent.update(block)
            yield block

    before = peak_mb(daemon)
    answer = daemon.request("PUT", "/upload?path=huge", body())
    assert answer.status == 200, answer.data
    assert answer.json()["size"] == SIZE == (repo / "huge").stat().st_size
    for block in downloaded(daemon, "huge"):
        got.update(block)
    assert got.digest() == sent.digest()
    assert peak_mb(daemon) - before < MOST_MB
    daemon.post("/unlink", {"path": "huge"})


def downloaded(daemon: DaemonProcess, path: str) -> Iterator[bytes]:
    """The file's bytes as they come; not one missing at the end."""
    with urllib3.PoolManager(retries=False, timeout=120.0) as http:
        answer = http.request(
            "GET",
            f"{daemon.url}/_sandbox/download?path={path}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            preload_content=False,
        )
        assert answer.status == 200
        assert int(answer.headers["content-length"]) == SIZE
        yield from answer.stream(1024 * 1024)


def peak_mb(daemon: DaemonProcess) -> int:
    """The most memory that it has ever had."""
    lines = Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024
