"""The log of a task on disk: its bound is in bytes, whatever the letters."""

import asyncio
from pathlib import Path

import pytest

from limpet.daemon.task_log import MAX_LOG_BYTES, TaskLog

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("letter", ["x", "é", "🐚"])
async def test_a_log_holds_ten_mebibytes_and_says_when_it_is_full(
    tmp_path: Path, letter: str
) -> None:
    log = TaskLog(tmp_path / "task1", "yes")
    for _ in range(30):
        log.write(letter * 500_000)
    log.close()
    async with asyncio.timeout(60):
        while log._flushing or log._fd is not None:
            await asyncio.to_thread(lambda: None)
    size = (tmp_path / "task1").stat().st_size
    assert MAX_LOG_BYTES // 2 < size < MAX_LOG_BYTES + 1000
    assert b"the log is full" in (tmp_path / "task1").read_bytes()
