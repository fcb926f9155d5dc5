"""The SDK's transport when the CLI is there no more."""

import json
from pathlib import Path

import pytest

from limpet.harness.claude_code.pipe_transport import CliBrokeError, PipeTransport
from tests.harness.folder_tools import FolderTools

pytestmark = pytest.mark.anyio


async def test_an_answer_that_nobody_is_there_to_take_fails_nothing(tmp_path: Path) -> None:
    async with FolderTools(tmp_path).process(["/bin/sh", "-c", "exit 3"], env={}) as process:
        await process.wait()
        transport = PipeTransport(process)
        await transport.connect()
        for subtype in ("success", "error"):
            answer = {"type": "control_response", "response": {"subtype": subtype}}
            await transport.write(f"{json.dumps(answer)}\n")
        with pytest.raises(CliBrokeError, match="exit code 3"):
            await transport.write('{"type": "user"}\n')
        with pytest.raises(CliBrokeError, match="exit code 3"):
            async for _ in transport.read_messages():
                pass
