"""A gigabyte up and a gigabyte down, and a client that does not read: memory stays flat."""

import http.client
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live import poll_until
from tests.previews.conftest import Shown

pytestmark = [pytest.mark.preview, pytest.mark.timeout(900)]
SIZE = 1 << 30
BLOCK = b"x" * (1 << 20)
FLAT_KB = 48 * 1024


def peaks(box: Shown) -> dict[int, tuple[int, int]]:
    """Of the control plane and the daemon: resident now and at most, in KB, by pid."""
    assert box.live.process is not None
    inside = box.live.sandbox_processes(box.live.root_of(box.handle))
    daemons = [p for p in inside if b"limpet.daemon" in Path(f"/proc/{p}/cmdline").read_bytes()]
    pids = [box.live.process.pid, *daemons]
    return {pid: (_kb(pid, "VmRSS"), _kb(pid, "VmHWM")) for pid in pids}


def _kb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name)))


@pytest.fixture
def flat(shown: Callable[[str], Shown]) -> Iterator[Shown]:
    """A sandbox whose two proxies must not grow while the test runs."""
    box = shown("wire")
    ask(box, "GET", "/warm").read()
    before = peaks(box)
    assert len(before) > 1
    yield box
    grown = {pid: peak - before[pid][0] for pid, (_, peak) in peaks(box).items()}
    assert max(grown.values()) < FLAT_KB, grown


def ask(
    box: Shown, method: str, path: str, body: Iterator[bytes] | None = None
) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=600)
    headers = {"Host": f"{box.handle}.localhost:{box.port}"}
    if body is not None:
        headers["Content-Length"] = str(SIZE)
    connection.request(method, path, body, headers)
    return connection.getresponse()


def test_a_large_upload_goes_through(flat: Shown) -> None:
    body = (BLOCK for _ in range(SIZE // len(BLOCK)))
    assert ask(flat, "POST", "/sink", body).read() == str(SIZE).encode()


def test_a_large_download_comes_through(flat: Shown) -> None:
    answer = ask(flat, "GET", f"/pour?{SIZE}")
    size = 0
    while data := answer.read(1 << 20):
        size += len(data)
    assert size == SIZE


def test_a_client_that_does_not_read_is_waited_for(flat: Shown) -> None:
    answer = ask(flat, "GET", f"/pour?{SIZE}")
    assert answer.read(1 << 20) == BLOCK
    settled: list[dict[int, tuple[int, int]]] = []

    def still() -> bool:
        settled.append(peaks(flat))
        time.sleep(0.2)
        return len(settled) > 3 and settled[-1] == settled[-3]

    poll_until("the flow to stand still", still, 120)
    answer.close()
