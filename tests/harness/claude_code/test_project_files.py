"""The real CLI reads the project's instructions by itself, as `project_instructions` counts on."""

from pathlib import Path

import pytest

from tests.harness.claude_code.staging import staged
from tests.harness.driving import put, replies

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("files", "read"),
    [
        ({"AGENTS.md": "Use tabs."}, {"Use tabs."}),
        ({"AGENTS.md": "Use tabs.", "CLAUDE.md": "Use spaces."}, {"Use spaces."}),
        ({"AGENTS.md": "Use tabs.", "CLAUDE.md": "@AGENTS.md"}, {"Use tabs."}),
    ],
)
async def test_which_files_it_reads(files: dict[str, str], read: set[str], tmp_path: Path) -> None:
    async with staged(tmp_path, replies({"text": "Done."})) as stage:
        put(stage.repo, files)
        await stage.take()
        asked = stage.asked(0)
    assert {words for words in ("Use tabs.", "Use spaces.") if words in asked} == read
    assert all(asked.count(words) == 1 for words in read)
