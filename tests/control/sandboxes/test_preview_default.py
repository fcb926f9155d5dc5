"""Who sees a preview of which nobody has said it."""

from pathlib import Path

import pytest

from tests.control.live_app import live_app
from tests.control.sandboxes.live_page import LivePage

pytestmark = pytest.mark.anyio


async def test_what_nobody_has_set_is_as_the_server_has_it(tmp_path: Path) -> None:
    async with live_app(tmp_path, isolation="none", preview_access="private") as app:
        agent = (await app.agent(title="Blank"))["id"]
        status, started = await app.api("POST", "/vm/start", {"virtualMcpId": agent})
        assert status == 200, started
        handle = started["vmId"]
        at = f"/sandboxes/{handle}/preview"
        try:
            shown = {"access": "private", "is_default": True, "links_until": None}
            assert await app.api("GET", at) == (200, shown)
            host = {"Host": f"{handle}.localhost:{app.port}"}
            assert (await app.raw("GET", "/", headers=host))[0] == 403
            async with LivePage(app, agent, handle).events() as events:
                await app.api("PATCH", at, {"access": "link"})
                await events.until("sandbox", lambda box: box["preview_access"] == "link")
            assert (await app.api("GET", at))[1]["is_default"] is False
            assert (await app.raw("GET", "/", headers=host))[0] == 503
        finally:
            await app.api("POST", "/vm/delete", {"virtualMcpId": agent, "force": True})
