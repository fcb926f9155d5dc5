"""An agent's start command starts its sandbox's app, from the next start on."""

from pathlib import Path

import pytest

from tests.control.sandboxes.live_page import LivePage, live_page

pytestmark = pytest.mark.anyio

# Several lines, a variable and an operator: a shell has to run it.
COMMAND = """\
mkdir -p other && echo 'by the command' > other/index.html &&
exec python3 -u -m http.server --bind "$HOST" --directory other "$PORT"
"""


async def started_again(page: LivePage, start_command: str | None) -> str:
    """The preview's page after the agent was changed and its sandbox began anew."""
    change = await page.app.api("PATCH", f"/agents/{page.agent}", {"start_command": start_command})
    stop = await page.app.api("POST", f"/sandboxes/{page.handle}/stop", {})
    start = await page.app.api("POST", "/vm/start", {"virtualMcpId": page.agent})
    assert [status for status, _ in (change, stop, start)] == [200, 200, 200]
    await page.until_phase("running")
    async with page.get("/", headers={"Accept": "text/html"}) as answer:
        return str(await answer.text())


async def test_a_sandbox_starts_its_app_by_the_agents_command_until_that_is_taken_away(
    tmp_path: Path,
) -> None:
    async with live_page(tmp_path) as page:
        assert "by the command" in await started_again(page, COMMAND)
        assert "hello" in await started_again(page, None)
